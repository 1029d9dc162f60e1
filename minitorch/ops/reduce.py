"""Operations that make many elements one: sums, extremes, moments.

`dim` is None (everything), an integer, or a tuple. The derivative of a reduction spreads `grad`
back over the elements it came from; `_spread` gives it the shape to do so.
PyTorch: aten/src/ATen/native/ReduceOps.cpp.
"""

from __future__ import annotations

import builtins
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .declare import composite, elementwise, functions, op
from .dims import axes
from .op import zeros


def _spread(grad, shape, dim, keepdim):
    """`grad` with the reduced dimensions back in place, of extent 1."""
    if keepdim or not shape:
        return grad
    kept = set(range(len(shape))) - set(axes(dim, len(shape)))
    return np.reshape(grad, tuple(n if i in kept else 1 for i, n in enumerate(shape)))


def _axis(dim, ndim):
    return None if dim is None or dim == () or dim == [] else axes(dim, ndim)


@op(numpy=np.sum, alone=True)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    if dtype is not None:
        kind = dtype.numpy if isinstance(dtype, dtypes.dtype) else dtype
    else:
        kind = np.int64 if input.dtype.kind in "biu" else None
    return np.add.reduce(input, axis=_axis(dim, input.ndim), keepdims=keepdim, dtype=kind)


sum.derivatives(
    input=lambda grad, input_shape, dim, keepdim: np.broadcast_to(
        _spread(grad, input_shape, dim, keepdim), input_shape
    )
)


def _floating(input, name: str):
    if input.dtype.kind in "biu":
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {dtypes.of(input).legacy_name}"
        )


@op(numpy=np.mean, alone=True)
def mean(input, dim=None, keepdim=False, *, dtype=None):
    if dtype is not None:
        input = input.astype(dtype.numpy)
    _floating(input, "mean")
    total = np.add.reduce(input, axis=_axis(dim, input.ndim), keepdims=keepdim)
    return np.true_divide(total, _count(input.shape, dim), dtype=input.dtype)


def _count(shape, dim) -> int:
    n = 1
    for d in axes(dim, len(shape)):
        n *= shape[d]
    return n


mean.derivatives(
    input=lambda grad, input_shape, dim, keepdim: np.broadcast_to(
        _spread(grad / _count(input_shape, dim), input_shape, dim, keepdim), input_shape
    )
)


@op(method=False, function=False)
def _variance(input, dim, correction, keepdim):
    _floating(input, "var")
    axis = axes(dim, input.ndim)
    centred = input - np.mean(input, axis=axis, keepdims=True)
    freedom = builtins.max(_count(input.shape, dim) - correction, 0)
    total = np.add.reduce(centred * centred, axis=axis, keepdims=keepdim)
    return np.true_divide(total, freedom, dtype=input.dtype)


def _variance_by_input(grad, input, dim, correction, keepdim):
    shape = input.shape
    centred = input - np.mean(input, axis=axes(dim, len(shape)), keepdims=True)
    freedom = builtins.max(_count(shape, dim) - correction, 0)
    scale = 2 / freedom if freedom else float("inf")
    return _spread(grad, shape, dim, keepdim) * (centred * scale)


_variance.derivatives(input=_variance_by_input)


@elementwise(method=False, function=False)
def _root(input):
    return np.sqrt(input)


# The root of a sum of squares has no derivative at 0; PyTorch takes 0, so steps stay finite.
_root.derivatives(
    input=lambda grad, out: np.where(out == 0, 0, grad / (2 * np.where(out == 0, 1, out)))
)


def _correction(unbiased, correction) -> int:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


@composite
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The variance, with `correction` (default 1, or `unbiased`) taken off the count of elements.

    Mirrors torch.var.
    """
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    return _variance(input, dim, _correction(unbiased, correction), keepdim)


@composite
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The standard deviation; arguments as in `var`. Mirrors torch.std."""
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


# Extremes


@op(alone=True)
def amax(input, dim=(), keepdim=False):
    return np.max(input, axis=_axis(dim, input.ndim), keepdims=keepdim)


@op(alone=True)
def amin(input, dim=(), keepdim=False):
    return np.min(input, axis=_axis(dim, input.ndim), keepdims=keepdim)


def _extreme_by_input(grad, input, out, dim, keepdim):
    """Spread evenly over all the elements that are the extreme."""
    shape = input.shape
    hit = input == _spread(out, shape, dim, keepdim)
    ties = np.sum(hit, axis=axes(dim, len(shape)), keepdims=True, dtype=grad.dtype)
    return np.where(hit, _spread(grad, shape, dim, keepdim) / ties, 0)


amax.derivatives(input=_extreme_by_input)
amin.derivatives(input=_extreme_by_input)


def _arg(extreme, input, dim, keepdim):
    if input.size == 0 and dim is None:
        raise IndexError(
            f"{extreme.__name__}(): Expected reduction dim to be specified for input.numel() == 0. "
            "Specify the reduction dim with the 'dim' argument."
        )
    if dim is None:
        flat = extreme(input.reshape(-1), axis=0)
        return np.reshape(flat, (1,) * input.ndim) if keepdim else flat
    if input.ndim == 0:
        return np.zeros((), np.int64)
    return extreme(input, axis=axes(dim, input.ndim)[0], keepdims=keepdim)


@op(numpy=np.argmax, alone=True)
def argmax(input, dim=None, keepdim=False):
    return _arg(np.argmax, input, dim, keepdim)


@op(numpy=np.argmin, alone=True)
def argmin(input, dim=None, keepdim=False):
    return _arg(np.argmin, input, dim, keepdim)


class _Pair(NamedTuple):
    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"torch.return_types.{name}(\nvalues={self.values},\nindices={self.indices})"


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
    grad, indices = (_spread(a, input_shape, dim, keepdim) for a in (grad, indices))
    return functions["scatter_add"](zeros(input_shape, grad), dim, indices, grad)


_extreme_along.derivatives(input=_extreme_along_by_input)


def _extreme(input, dim, keepdim, other, whole, ufunc, arg, result):
    """max and min: of everything, along a dimension with the indices, or of two tensors."""
    if isinstance(dim, Tensor) or other is not None:
        return functions[ufunc.__name__](input, dim if other is None else other)
    if dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                f"{whole.__name__[1:]}(): Expected reduction dim to be specified for input.numel() "
                "== 0. Specify the reduction dim with the 'dim' argument."
            )
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


@op(numpy=np.all, alone=True)
def all(input, dim=None, keepdim=False):
    return _truth(np.all(input, axis=_axis(dim, input.ndim), keepdims=keepdim), input)


@op(numpy=np.any, alone=True)
def any(input, dim=None, keepdim=False):
    return _truth(np.any(input, axis=_axis(dim, input.ndim), keepdims=keepdim), input)


def _truth(result, input):
    """Of uint8, PyTorch's booleans of old, the result is uint8 as well."""
    return result.astype(np.uint8) if input.dtype == np.uint8 else result


@op(numpy=np.prod, alone=True)
def prod(input, dim=None, keepdim=False, *, dtype=None):
    kind = dtype.numpy if dtype else (np.int64 if input.dtype.kind in "biu" else None)
    return np.prod(input, axis=dim, keepdims=keepdim, dtype=kind)


def _prod_by_input(grad, input, out, dim, keepdim):
    """out / input, but where there are zeros the product of the others, from both sides."""
    axis = axes(dim, input.ndim)
    if not np.any(input == 0):
        return _spread(grad, input.shape, dim, keepdim) * (
            _spread(out, input.shape, dim, keepdim) / input
        )
    flat = functions["movedim"](input, axis, tuple(range(-len(axis), 0)))
    shape = flat.shape
    flat = np.reshape(flat, (*shape[: len(shape) - len(axis)], -1))
    n = flat.shape[-1]
    # One row for every element, with a one in its place: the product of the row is of the others.
    others = np.where(np.eye(n, dtype=bool), 1, np.expand_dims(flat, -2))
    product = np.prod(others, axis=-1)
    back = functions["movedim"](np.reshape(product, shape), tuple(range(-len(axis), 0)), axis)
    return _spread(grad, input.shape, dim, keepdim) * back


prod.derivatives(input=_prod_by_input)


@op(alone=True)
def cumsum(input, dim, *, dtype=None):
    kind = dtype.numpy if dtype else (np.int64 if input.dtype.kind in "biu" else None)
    if input.ndim == 0:
        return input.astype(kind or input.dtype)
    return np.cumsum(input, axis=dim, dtype=kind)


cumsum.derivatives(
    input=lambda grad, dim: (
        grad if grad.ndim == 0 else np.flip(functions["cumsum"](np.flip(grad, dim), dim), dim)
    )
)


@op(alone=True)
def logsumexp(input, dim, keepdim=False):
    axis = axes(dim, input.ndim)
    if input.dtype.kind in "biu":
        input = input.astype(dtypes.get_default_dtype().numpy)
    top = np.max(input, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)  # all -inf stays -inf; +inf stays +inf
    total = np.log(np.add.reduce(np.exp(input - top), axis=axis, keepdims=True)) + top
    return total if keepdim else np.squeeze(total, axis)


logsumexp.derivatives(
    input=lambda grad, input, out, dim, keepdim: (
        _spread(grad, input.shape, dim, keepdim)
        * np.exp(input - _spread(out, input.shape, dim, keepdim))
    )
)


@composite
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """The p-norm over `dim` (default: of everything). Mirrors torch.norm.

    p: "fro" or 2 (Euclidean), inf, -inf, 0 or another number.
    """
    if dtype is not None:
        input = input.to(dtype)
    if p in ("fro", None, 2):
        return _root(sum(input * input, dim, keepdim))
    if p in (float("inf"), float("-inf")):
        return (amax if p > 0 else amin)(
            functions["abs"](input), () if dim is None else dim, keepdim
        )
    if p == 0:
        return sum(functions["abs"](functions["sign"](input)), dim, keepdim)
    if p == 1:
        return sum(functions["abs"](input), dim, keepdim)
    return sum(functions["abs"](input) ** p, dim, keepdim) ** (1 / p)
