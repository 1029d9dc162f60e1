"""Views: tensors that look into another tensor's memory.

A view remembers its base and the steps that lead from there to itself, so that it can be taken
again when the base has changed (inplace.py); the base's storage knows its views, weakly. A step
refers to the one before, so that a view of a view shares all but the last.
Some views autograd can only read through, for it would not know what a change of them means: they
remember why (`REASONS`), and are `Stale` once their base has been changed.
PyTorch: torch/csrc/autograd/variable.h (DifferentiableViewMeta, CreationMeta).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

from ..autograd.grad_mode import mode
from ..autograd.graph import Node
from ..tensor import Tensor


class Step(NamedTuple):
    """How a view is made from the one `before`; from the base, where that is None."""

    before: Step | None
    operation: Callable
    args: tuple
    kwargs: dict
    number: int | None  # of several outputs


def link_view(view: Tensor, source: Tensor, operation, args, kwargs, number=None) -> None:
    """If `view` shares memory with `source`, note so, and how it is made from it (see `Step`)."""
    array, owner = source.array, view.array.base  # NumPy's views refer to the owner of the memory
    if view.array is not array and (
        owner is None or (owner is not array and owner is not array.base)
    ):
        return
    storage = view._storage = source._storage
    if storage.inference:
        return
    reason = ""
    if not mode.enabled:
        reason = "inference" if mode.inference else "no_grad"
    elif number is not None:
        reason = "many"
    base, before, earlier = source._view or (source, None, "")
    view._view = (base, Step(before, operation, args, kwargs, number), reason or earlier)
    if not mode.enabled:
        view._requires_grad = base._requires_grad
    if storage.views is None:
        storage.views = set()
    # The reference takes itself out of the set when the view dies.
    storage.views.add(weakref.ref(view, storage.views.discard))


def take_again(base, step: Step | None):
    """The view of `base`, a Tensor or an array, that `step` and those before it lead to."""
    steps = []
    while step is not None:
        steps.append(step)
        step = step.before
    for _, operation, args, kwargs, number in reversed(steps):
        base = operation(base, *args, **kwargs)
        base = base if number is None else base[number]
    return base


_BLOCKS = (
    " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your "
    "code by moving both the view and the inplace either both inside the {0} block (if you don't "
    "want the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)
REASONS = {
    "no_grad": _BLOCKS.format("no_grad"),
    "inference": _BLOCKS.format("inference_mode"),
    "many": " This view is the output of a function that returns multiple views. Such functions do "
    "not allow the output views to be modified inplace. You should replace the inplace operation "
    "by an out-of-place one.",
    "function": " This view was created inside a custom Function (or because an input was returned "
    "as-is), and to follow its change autograd would have to override the custom backward. You can "
    "fix this by cloning the output of the custom Function.",
}


def forbidden(view: Tensor, change="is being modified inplace") -> RuntimeError:
    """PyTorch's words for a `change` that autograd cannot follow."""
    _, step, reason = view._view
    name = step.operation.node_name.removesuffix("Backward0")
    what = f"Output {step.number or 0} of {name} is a view and"
    if reason in ("no_grad", "inference"):
        what = f"A view was created in {reason} mode and"
        change += " in normal mode" if reason == "inference" else " with grad mode enabled"
    return RuntimeError(f"{what} {change}.{REASONS[reason]}")


class Stale(Node):
    """The node of a view that cannot be taken again although its base has changed.

    Whoever uses the view asks `tensor._node or ...`, and so meets the error in `__bool__`.
    """

    __slots__ = ("error",)

    def __init__(self, view: Tensor):
        super().__init__(None, None, (), (), view.array)
        self.error = forbidden(
            view, "its base or another view of its base has been modified inplace"
        )

    def __bool__(self):
        raise self.error
