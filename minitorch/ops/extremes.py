"""The largest and the smallest: their values, their places, or both.

At a tie amax and amin share the gradient evenly; max and min along a dimension, which name one
place, give it all to that one. `pick` and `put_along` are each other's derivatives: whatever finds
places along a dimension (sort, topk, median) takes the values there by `picked`.
PyTorch: aten/src/ATen/native/TensorCompare.cpp, ReduceOps.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..dispatch.declare import composite, functions, op
from ..dispatch.dims import axes, axis, spread
from ..dispatch.gathering import extreme
from ..dispatch.results import named_result
from ..tensor import Tensor, wrap


def check_not_empty(name: str, input, dim, error=RuntimeError) -> None:
    """Raise PyTorch's errors where there would be an extreme of no elements."""
    if input.size:
        return
    if dim is None or dim == () or dim == []:
        raise error(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    for d in axes(dim, input.ndim):
        if not input.shape[d]:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def _reduced(name, ufunc, input, dim, keepdim):
    if not input.size:
        check_not_empty(name, input, dim)
    return extreme(ufunc, input, axes(dim, input.ndim), keepdim)


@op(alone=True)
def amax(input, dim=(), keepdim=False):
    """The largest over `dim`, one dimension or several. Mirrors torch.amax."""
    return _reduced("amax", np.maximum, input, dim, keepdim)


@op(alone=True)
def amin(input, dim=(), keepdim=False):
    """The smallest over `dim`, one dimension or several. Mirrors torch.amin."""
    return _reduced("amin", np.minimum, input, dim, keepdim)


def evenly(grad, input, out, dim, keepdim):
    """Spread over all the elements that are `out`, in equal parts."""
    shape = input.shape
    hit = input == spread(out, shape, dim, keepdim)
    ties = np.sum(hit, axis=axes(dim, len(shape)), keepdims=True, dtype=grad.dtype)
    return np.where(hit, spread(grad, shape, dim, keepdim) / ties, 0)


amax.derivatives(input=evenly)
amin.derivatives(input=evenly)


def _arg(extreme, input, dim, keepdim):
    name = extreme.__name__
    check_not_empty(name, input, dim, IndexError)
    if input.dtype.kind in "bc":
        raise RuntimeError(f"{name}(): does not support {input.dtype} input")
    if dim is None:
        flat = extreme(input.reshape(-1), axis=0)
        return np.reshape(flat, (1,) * input.ndim) if keepdim else flat
    dim = axis(dim, input.ndim)
    return (
        extreme(input, axis=dim, keepdims=keepdim)
        if input.ndim
        else np.zeros((), np.int64, like=input)
    )


@op(numpy=np.argmax, alone=True)
def argmax(input, dim=None, keepdim=False):
    """Where the largest is along `dim`, or in the flattened tensor. Mirrors torch.argmax."""
    return _arg(np.argmax, input, dim, keepdim)


@op(numpy=np.argmin, alone=True)
def argmin(input, dim=None, keepdim=False):
    """Where the smallest is along `dim`, or in the flattened tensor. Mirrors torch.argmin."""
    return _arg(np.argmin, input, dim, keepdim)


# Values and their places

RESULTS = {
    name: named_result(name, "values indices")
    for name in "max min sort topk kthvalue median nanmedian mode cummax cummin".split()
}


def _at(indices, dim) -> tuple:
    """`indices` along `dim` as an index of all dimensions; NumPy's take_along_axis, but quicker."""
    ndim, dim = indices.ndim, dim % indices.ndim
    places = [
        np.arange(n, like=indices).reshape(-1, *(1,) * (ndim - 1 - d))
        for d, n in enumerate(indices.shape)
    ]
    return (*places[:dim], indices, *places[dim + 1 :])


@op(alone=True, method=False, function=False)
def pick(input, indices, dim, keepdim=True):
    """The elements at `indices`, an array, along `dim`; no element twice."""
    out = input[_at(indices, dim)]
    return out if keepdim else out.squeeze(dim)


@op(alone=True, method=False, function=False)
def put_along(grad, indices, dim, shape):
    """Zeros of `shape`, with `grad` at `indices` along `dim`."""
    out = np.zeros_like(grad, shape=shape, order="C")
    out[_at(indices, dim)] = grad
    return out


def _pick_by_input(grad, input_shape, indices, dim, keepdim):
    return put_along(spread(grad, input_shape, dim, keepdim), indices, dim, input_shape)


pick.derivatives(input=_pick_by_input)
put_along.derivatives(grad=lambda grad, indices, dim: pick(grad, indices, dim))


def lines(array, dim):
    """`array` with at least one dimension, and `dim` counted from the front."""
    return array if array.ndim else array.reshape(1), axis(dim, array.ndim)


def sortable(array):
    """`array` in a type that NumPy orders well, and orders alike."""
    if array.dtype.kind == "c":
        raise RuntimeError("complex numbers have no order: take the abs() or the real part first")
    kind = {"?": np.uint8, "e": np.float32, "E": np.float32}.get(array.dtype.char)
    return array if kind is None else array.astype(kind)


def picked(name, find, input, dim, keepdim=True):
    """The pair called `name`: the values at the places that find(array, axis) gives, and these."""
    with devices.guard(input.array):
        indices = find(*lines(sortable(input.array), dim))
    if input.ndim == 0:
        return RESULTS[name](input.clone(), wrap(indices.reshape(())))
    values = pick(input, indices, dim, keepdim)
    return RESULTS[name](values, wrap(indices if keepdim else indices.squeeze(dim)))


@op(method=False, function=False, outputs=("out", "indices"))
def _extreme_along(input, dim, keepdim, ufunc, arg):
    """The extreme along one dimension, and where it is."""
    dim = axis(dim, input.ndim)
    return extreme(ufunc, input, dim, keepdim), getattr(input, arg)(dim, keepdims=keepdim)


def _extreme_along_by_input(grad, input_shape, indices, dim, keepdim):
    grad, indices = (spread(a, input_shape, dim, keepdim) for a in (grad, indices))
    return put_along(grad, indices, dim, input_shape)


_extreme_along.derivatives(input=_extreme_along_by_input)


def _extreme(name, input, dim, keepdim, other, whole, ufunc, arg):
    """max and min: of everything, along a dimension with the indices, or of two tensors."""
    if not isinstance(input, Tensor) or isinstance(dim, (tuple, list)):
        raise TypeError(
            f"{name}() takes a tensor, and one dimension or another tensor; see a{name}()"
        )
    if isinstance(dim, Tensor) or other is not None:
        return functions[ufunc.__name__](input, dim if other is None else other)
    array = input.array
    if array.dtype.kind == "c":
        raise NotImplementedError(f"{name}(): complex numbers have no order")
    if not array.size:
        check_not_empty(name, array, dim)
    if dim is None:
        return whole(input)
    if not array.ndim:
        return picked(name, lambda array, axis: np.zeros(1, np.int64, like=array), input, dim)
    return RESULTS[name](*_extreme_along(input, dim, keepdim, ufunc, arg))


@composite(out=True, numpy=(np.max, np.amax))
def max(input, dim=None, keepdim=False, *, other=None):
    """The largest element; with `dim`, (values, indices) along it; with a tensor, `maximum`.

    Mirrors torch.max.
    """
    return _extreme("max", input, dim, keepdim, other, amax, np.maximum, "argmax")


@composite(out=True, numpy=(np.min, np.amin))
def min(input, dim=None, keepdim=False, *, other=None):
    """The smallest element; with `dim`, (values, indices) along it; with a tensor, `minimum`.

    Mirrors torch.min.
    """
    return _extreme("min", input, dim, keepdim, other, amin, np.minimum, "argmin")
