"""The largest and the smallest: their values, their places, or both.

At a tie amax and amin share the gradient evenly; max and min along a dimension, which name one
place, give it all to that one. PyTorch: aten/src/ATen/native/TensorCompare.cpp, ReduceOps.cpp.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..tensor import Tensor
from .declare import composite, functions, op
from .dims import axes, spread
from .op import zeros


def _check_not_empty(name: str, input, dim, error=RuntimeError) -> None:
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


@op(alone=True)
def amax(input, dim=(), keepdim=False):
    """The largest over `dim`, one dimension or several. Mirrors torch.amax."""
    _check_not_empty("amax", input, dim)
    return np.max(input, axis=axes(dim, input.ndim), keepdims=keepdim)


@op(alone=True)
def amin(input, dim=(), keepdim=False):
    """The smallest over `dim`, one dimension or several. Mirrors torch.amin."""
    _check_not_empty("amin", input, dim)
    return np.min(input, axis=axes(dim, input.ndim), keepdims=keepdim)


def _extreme_by_input(grad, input, out, dim, keepdim):
    """Spread evenly over all the elements that are the extreme."""
    shape = input.shape
    hit = input == spread(out, shape, dim, keepdim)
    ties = np.sum(hit, axis=axes(dim, len(shape)), keepdims=True, dtype=grad.dtype)
    return np.where(hit, spread(grad, shape, dim, keepdim) / ties, 0)


amax.derivatives(input=_extreme_by_input)
amin.derivatives(input=_extreme_by_input)


def _arg(extreme, input, dim, keepdim):
    _check_not_empty(extreme.__name__, input, dim, IndexError)
    if dim is None:
        flat = extreme(input.reshape(-1), axis=0)
        return np.reshape(flat, (1,) * input.ndim) if keepdim else flat
    if input.ndim == 0:
        return np.zeros((), np.int64)
    return extreme(input, axis=axes(dim, input.ndim)[0], keepdims=keepdim)


@op(numpy=np.argmax, alone=True)
def argmax(input, dim=None, keepdim=False):
    """Where the largest is along `dim`, or in the flattened tensor. Mirrors torch.argmax."""
    return _arg(np.argmax, input, dim, keepdim)


@op(numpy=np.argmin, alone=True)
def argmin(input, dim=None, keepdim=False):
    """Where the smallest is along `dim`, or in the flattened tensor. Mirrors torch.argmin."""
    return _arg(np.argmin, input, dim, keepdim)


class _Pair(NamedTuple):
    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"torch.return_types.{name}(\nvalues={self.values!r},\nindices={self.indices!r})"


# Like PyTorch's, they are tuples whose places have names.
max_result = type("max", (_Pair,), {"__slots__": ()})
min_result = type("min", (_Pair,), {"__slots__": ()})


@op(method=False, function=False, outputs=("out", "indices"))
def _extreme_along(input, dim, keepdim, ufunc, arg):
    """The extreme along one dimension, and where it is."""
    axis = axes(dim, input.ndim)[0]
    indices = getattr(input, arg)(axis=axis, keepdims=keepdim)
    return ufunc.reduce(input, axis=axis, keepdims=keepdim), indices


def _extreme_along_by_input(grad, input_shape, indices, dim, keepdim):
    grad, indices = (spread(a, input_shape, dim, keepdim) for a in (grad, indices))
    return functions["scatter_add"](zeros(input_shape, grad), dim, indices, grad)


_extreme_along.derivatives(input=_extreme_along_by_input)


def _extreme(input, dim, keepdim, other, whole, ufunc, arg, result):
    """max and min: of everything, along a dimension with the indices, or of two tensors."""
    if isinstance(dim, Tensor) or other is not None:
        return functions[ufunc.__name__](input, dim if other is None else other)
    _check_not_empty(whole.__name__[1:], input.array, dim)
    if dim is None:
        return whole(input)
    if input.ndim == 0:
        return result(input.clone(), functions[arg](input, 0))
    return result(*_extreme_along(input, dim, keepdim, ufunc, arg))


@composite(numpy=(np.max, np.amax))
def max(input, dim=None, keepdim=False, *, other=None):
    """The largest element; with `dim`, (values, indices) along it; with a tensor, `maximum`.

    Mirrors torch.max.
    """
    return _extreme(input, dim, keepdim, other, amax, np.maximum, "argmax", max_result)


@composite(numpy=(np.min, np.amin))
def min(input, dim=None, keepdim=False, *, other=None):
    """The smallest element; with `dim`, (values, indices) along it; with a tensor, `minimum`.

    Mirrors torch.min.
    """
    return _extreme(input, dim, keepdim, other, amin, np.minimum, "argmin", min_result)
