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

from .. import devices, dtypes
from ..autograd.grad_mode import announced_later, check_not_inference, mode
from ..autograd.graph import RESULT, edge_of
from ..tensor import Storage, Tensor, wrap
from .memory import overlap_partly, repeats
from .op import Op
from .views import Stale, forbidden, take_again


@Op
def overwrite(base, value, step):
    """`base`, but for the region that `step` (views.py) leads to, which is `value`."""
    out = np.copy(base)
    take_again(out, step)[...] = value
    return out


overwrite.node_name = "CopySlices"
overwrite.derivatives(
    base=lambda grad, step: overwrite(grad, 0, step),
    value=lambda grad, step: take_again(grad, step),
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


def is_tracked(tensors) -> bool:
    """Whether autograd follows a change that `tensors` take part in."""
    return mode.enabled and any(isinstance(t, Tensor) and t._requires_grad for t in tensors)


def check_writable(target: Tensor, tracked: bool, sources=(), part=None) -> None:
    """Raise PyTorch's errors for tensors that must not be changed in place.

    `sources`: what the new values are computed from. `part`: the array that is written, where that
    is a view of the tensor's own.
    """
    check_history(target, tracked, part is not None)
    array = target.array if part is None else part
    if type(array) is np.ndarray and not array.flags.writeable:
        raise RuntimeError(
            "the tensor shares the memory of an array that is read-only. Please clone() the tensor "
            "before performing the operation."
        )
    what = ""
    if 0 in array.strides and array.size and repeats(array):
        what = "more than one element of the written-to tensor refers"
    for source in sources:
        shared = isinstance(source, Tensor) and source._storage is target._storage
        if shared and source is not target and overlap_partly(source.array, array):
            what = "some elements of the input tensor and the written-to tensor refer"
    if what:
        raise RuntimeError(
            f"unsupported operation: {what} to a single memory location. Please clone() the tensor "
            "before performing the operation."
        )


def check_history(target: Tensor, tracked: bool, part=False) -> None:
    """Raise the errors that have to do with autograd. `part`: a view of `target` is changed."""
    if target._storage.inference:
        check_not_inference(target)
    if tracked:
        base, _, reason = target._view or (target, (), "")
        if reason:
            raise forbidden(target)
        if target._requires_grad and (base._node is None or target._node is None):
            what = "a leaf" if base is target and not part else "a view of a leaf"
            raise RuntimeError(
                f"{what} Variable that requires grad is being used in an in-place operation."
            )


def move_in_graph(target: Tensor, node) -> None:
    """`target` was changed in place by `node`: give it, its base and their views new places."""
    storage = target._storage
    if target._view is None:
        target._node, target._requires_grad = node, True
        base = target
    else:
        base, steps, _ = target._view
        value = wrap(target.array)
        value._node, value._requires_grad = node, True
        overwrite.record((alias(base), value, steps, base), base)
    moved = [base]
    for reference in list(storage.views or ()):
        view = reference()
        if view is not None and view._view is not None and view._view[0] is base:
            stale = view._view[2]
            view._node = Stale(view) if stale else take_again(base, view._view[1])._node
            view._requires_grad = True
            moved += [] if stale else [view]
    for tensor in moved:
        if tensor._retains_grad is not None:  # .grad is to be that of the new values
            tensor.retain_grad()


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
    devices.overwrite(here, array)
    target._storage.version += 1


def update(target: Tensor, operation, *args, **kwargs) -> Tensor:
    """target <- operation(target, *args, **kwargs), in place. Returns target."""
    sources = (*args, *kwargs.values())
    tracked = is_tracked((target, *sources))
    check_writable(target, tracked, sources)
    if not tracked:
        write(target, operation(target, *args, **kwargs).array)
        return target
    before = alias(target)
    before._storage = Storage()  # of its own, to tell what is saved of it from the rest
    with announced_later():
        result = operation(before, *args, **kwargs)
        if result._node is None:  # the new values depend on nothing: eq_
            result = wrap(result.array.astype(target.array.dtype)) + 0 * before
        node = result._node
        # A formula may need the old values, which are about to be overwritten.
        with devices.guard(target.array):
            node.saved = [
                (v.copy(), edge, Storage(), 0) if store is before._storage else (v, edge, store, n)
                for v, edge, store, n in node.saved
            ]
        before._storage.version += 1  # anybody else who has saved them finds out
        write(target, result.array)
        if result.array.dtype == target.array.dtype:  # what was saved of the result lives here now
            here = (target.array, RESULT, target._storage, target._storage.version)
            node.saved = [here if entry[1] is RESULT else entry for entry in node.saved]
        move_in_graph(target, node)
    return target


def in_place_form(operation, name: str, ufunc):
    """The in-place form of `operation`: a method of Tensor called `name_`.

    `ufunc`, if it is one, computes straight into the tensor's memory when nothing is recorded.
    """
    ufunc = ufunc if isinstance(ufunc, np.ufunc) else None
    unary = ufunc is not None and ufunc.nin == 1

    def call(self, *args, **kwargs):
        if ufunc is not None and not kwargs and not (self._requires_grad and mode.enabled):
            array = self.array
            if unary:
                operands = () if not args and array.dtype.kind == "f" else None
            else:
                operands = _direct(array, args)
            if operands is not None:
                check_writable(self, False, args)
                if type(array) is np.ndarray:
                    ufunc(array, *operands, out=array)
                else:
                    with array.device:
                        ufunc(array, *operands, out=array)
                self._storage.version += 1
                return self
        return update(self, operation, *args, **kwargs)

    call.__name__ = call.__qualname__ = name + "_"
    call.__doc__ = f"Tensor.{name}, in place."
    call.__module__ = operation.__module__
    return call


def _direct(array, args: tuple):
    """The other operand in a form that a ufunc can take straight into `array`, else None."""
    if len(args) != 1 or array.dtype.char not in "fd":
        return None
    (other,) = args
    if isinstance(other, Tensor):
        fits = other.array.dtype == array.dtype and other_fits(other.array, array)
        fits = fits and devices.together(other.array, array)
        fits = fits and not (other._requires_grad and mode.enabled)
        other = other.array
    else:
        fits = type(other) is float or type(other) is int
    return (other,) if fits else None


def other_fits(other, array) -> bool:
    """Whether broadcasting `other` against `array` leaves its shape as it is."""
    shape = getattr(other, "shape", ())
    if shape == array.shape:
        return True
    pairs = zip(shape[::-1], array.shape[::-1], strict=False)
    return len(shape) <= array.ndim and all(n in (1, m) for n, m in pairs)


def view_in_place(name: str) -> None:
    """Give Tensor the method `name_`, which makes the tensor that view of itself."""
    operation = getattr(Tensor, name)

    def call(self, *args, **kwargs):
        tracked = is_tracked((self,))
        check_history(self, tracked)
        view = operation(alias(self) if tracked else self, *args, **kwargs)
        if self._view is not None:  # it is now one step further from its base
            base, step, reason = self._view
            self._view = (base, view._view[1]._replace(before=step), reason)
        self.array, self._node = view.array, view._node
        self.__dict__.pop("_accumulator", None)  # which knows the old shape
        self._storage.version += 1
        if self._retains_grad is not None and tracked:
            self.retain_grad()
        return self

    call.__name__ = call.__qualname__ = name + "_"
    call.__doc__ = f"Tensor.{name}, in place."
    setattr(Tensor, name + "_", call)
