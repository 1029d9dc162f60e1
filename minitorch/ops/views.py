"""Views: tensors that look into another tensor's memory.

A view remembers its base and the steps that lead from there to itself, so that it can be taken
again when the base has changed (inplace.py); the base's storage knows its views, weakly.
PyTorch: torch/csrc/autograd/variable.h (DifferentiableViewMeta).
"""

from __future__ import annotations

import weakref

from ..autograd.grad_mode import mode
from ..tensor import Tensor


def link_view(view: Tensor, source: Tensor, step: tuple) -> None:
    """If `view` shares memory with `source`, note so, and that it is made from it by `step`.

    A step is (operation, arguments, keyword arguments, number of the output or None).
    """
    array, owner = source.array, view.array.base  # NumPy's views refer to the owner of the memory
    if view.array is not array and (
        owner is None or (owner is not array and owner is not array.base)
    ):
        return
    storage = view._storage = source._storage
    if not mode.enabled:
        return
    base, steps = source._view or (source, ())
    view._view = (base, (*steps, step))
    if storage.views is None:
        storage.views = set()
    # The reference takes itself out of the set when the view dies.
    storage.views.add(weakref.ref(view, storage.views.discard))


def take_again(base, steps):
    """The view of `base`, a Tensor or an array, that `steps` lead to."""
    for operation, args, kwargs, number in steps:
        base = operation(base, *args, **kwargs)
        base = base if number is None else base[number]
    return base
