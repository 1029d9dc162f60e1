"""Changing a tensor in place without autograd losing its way.

When a tensor that autograd follows is changed in place:
- it gets a new node, the one of the out-of-place operation, and its version is counted up, so that
  whoever saved the old values finds out;
- if it is a view, it is the base that has changed: the base gets the node of "everything as before,
  but for this region" (`overwrite`), and all its views are taken again from there.
PyTorch: CopySlices in torch/csrc/autograd/functions/tensor.h, VariableHooks::rebase_history.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..autograd.graph import RESULT, edge_of
from ..tensor import Storage, Tensor, wrap
from .declare import functions, op
from .views import take_again


@op(method=False, function=False)
def overwrite(base, value, steps):
    """`base`, but for the region that `steps` lead to, which is `value`."""
    out = np.array(base)
    take_again(out, steps)[...] = value
    return out


overwrite.derivatives(
    base=lambda grad, steps: overwrite(grad, 0, steps),
    value=lambda grad, steps: take_again(grad, steps),
)


def alias(tensor: Tensor) -> Tensor:
    """`tensor` as it is now in the graph: what happens to the original later leaves it alone."""
    twin = wrap(tensor.array)
    twin._storage = tensor._storage
    twin._node = tensor._node
    twin._requires_grad = tensor._requires_grad
    if tensor._requires_grad and tensor._node is None:
        twin._accumulator = edge_of(tensor)  # gradients go to the original
    return twin


def check_writable(target: Tensor, tracked: bool) -> None:
    """Raise PyTorch's errors for tensors that must not be changed in place."""
    if tracked:
        base = target._base
        if target._requires_grad and target._node is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if base is not None and base._requires_grad and base._node is None:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
    array = target.array
    if not array.flags.writeable:
        raise RuntimeError(
            "the tensor shares the memory of an array that is read-only. Please clone() the tensor "
            "before performing the operation."
        )
    if 0 in array.strides and array.size and any(_repeats(array)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )


def _repeats(array) -> list[bool]:
    return [
        step == 0 and extent > 1 for step, extent in zip(array.strides, array.shape, strict=True)
    ]


def move_in_graph(target: Tensor, node) -> None:
    """`target` was changed in place by `node`: give it, its base and their views new places."""
    storage = target._storage
    retained = target._retains_grad is not None  # then .grad is to be that of the new values
    if target._view is None:
        target._node, target._requires_grad = node, True
        base = target
    else:
        base, steps = target._view
        value = wrap(target.array)
        value._node, value._requires_grad = node, True
        overwrite.op.record((alias(base), value, steps, base), base)
    for reference in list(storage.views or ()):
        view = reference()
        if view is not None and view._view is not None and view._view[0] is base:
            fresh = take_again(base, view._view[1])
            view._node, view._requires_grad = fresh._node, True
    if retained:
        target.retain_grad()


def update(target: Tensor, operation, *args, **kwargs) -> Tensor:
    """target <- operation(target, *args, **kwargs), in place. Returns target."""
    tracked = mode.enabled and (
        target._requires_grad
        or any(isinstance(a, Tensor) and a._requires_grad for a in (*args, *kwargs.values()))
    )
    check_writable(target, tracked)
    before = alias(target)
    before._storage = Storage()  # of its own, to tell what is saved of it from the rest
    result = operation(before, *args, **kwargs)
    node = result._node
    if node is not None:  # a formula may need the old values, which are about to be overwritten
        node.saved = [
            (v.copy(), edge, Storage(), 0) if storage is before._storage else (v, edge, storage, n)
            for v, edge, storage, n in node.saved
        ]
        before._storage.version += 1  # anybody else who has saved them finds out
    write(target, result.array)
    if node is not None:
        if result.array.dtype == target.array.dtype:  # what was saved of the result lives here now
            here = (target.array, RESULT, target._storage, target._storage.version)
            node.saved = [here if entry[1] is RESULT else entry for entry in node.saved]
        move_in_graph(target, node)
    return target


def write(target: Tensor, array) -> None:
    """Put `array`, of a type and shape that fit, into the memory of `target`."""
    here = target.array
    if array.dtype != here.dtype:
        got, expected = dtypes.of(array), target.dtype
        if got.category > expected.category:
            raise RuntimeError(
                f"result type {got.legacy_name} can't be cast to the desired output type "
                f"{expected.legacy_name}"
            )
    if array.shape != here.shape:
        raise RuntimeError(
            f"output with shape {list(here.shape)} doesn't match the broadcast shape "
            f"{list(array.shape)}"
        )
    np.copyto(here, array, casting="unsafe")
    target._storage.version += 1


def inplace(name: str, ufunc=None):
    """The in-place form, `name_`, of the registered op `name`; a method of Tensor.

    `ufunc` computes straight into the tensor's memory when nothing is recorded.
    """
    operation = functions[name] if name in functions else getattr(Tensor, name)

    def call(self, *args, **kwargs):
        if ufunc is not None and not kwargs and not self._requires_grad and len(args) == 1:
            other = args[0]
            kind = type(other)
            if isinstance(other, Tensor) and not other._requires_grad:
                other = other.array
                direct = other.dtype == self.array.dtype and other.dtype.kind == "f"
            else:
                direct = (kind is float or kind is int) and self.array.dtype.kind == "f"
            if direct and other_fits(other, self.array):
                check_writable(self, False)
                ufunc(self.array, other, out=self.array)
                self._storage.version += 1
                return self
        return update(self, operation, *args, **kwargs)

    call.__name__ = call.__qualname__ = name + "_"
    call.__doc__ = f"Tensor.{name}, in place."
    setattr(Tensor, name + "_", call)
    return call


def other_fits(other, array) -> bool:
    """Whether broadcasting `other` against `array` leaves its shape as it is."""
    shape = getattr(other, "shape", ())
    return shape == array.shape or np.broadcast_shapes(shape, array.shape) == array.shape
