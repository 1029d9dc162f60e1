"""Operations that make many elements one: sums, moments, products. (Extremes: extremes.py.)

`dim` is None or () (everything), an integer, or a tuple; `keepdim` keeps these dimensions, with
extent 1. The derivative of a reduction spreads `grad` back over the elements it came from; `spread`
gives it the shape to do so.
PyTorch: aten/src/ATen/native/ReduceOps.cpp.
"""

from __future__ import annotations

import builtins

import numpy as np

from .. import dtypes
from .declare import composite, elementwise, functions, op
from .dims import axes, spread
from .extremes import amax, amin


def _sum_type(input, dtype):
    """The type to add or multiply up in: as asked for, else int64 for integers, else input's."""
    if dtype is not None:
        return dtypes.as_dtype(dtype).numpy
    return np.int64 if input.dtype.kind in "biu" else None


@op(numpy=np.sum, alone=True)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum over `dim`; integers become int64. Mirrors torch.sum."""
    kind = _sum_type(input, dtype)
    axis = None if dim is None else axes(dim, input.ndim)
    return np.add.reduce(input, axis=axis, keepdims=keepdim, dtype=kind)


sum.derivatives(
    input=lambda grad, input_shape, dim, keepdim: np.broadcast_to(
        spread(grad, input_shape, dim, keepdim), input_shape
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
    """The mean over `dim`, of floats. Mirrors torch.mean."""
    if dtype is not None:
        input = input.astype(dtypes.as_dtype(dtype).numpy)
    _floating(input, "mean")
    axis = None if dim is None else axes(dim, input.ndim)
    total = np.add.reduce(input, axis=axis, keepdims=keepdim)
    return np.true_divide(total, _count(input.shape, dim), dtype=input.dtype)


def _count(shape, dim) -> int:
    n = 1
    for d in axes(dim, len(shape)):
        n *= shape[d]
    return n


mean.derivatives(
    input=lambda grad, input_shape, dim, keepdim: np.broadcast_to(
        spread(grad / _count(input_shape, dim), input_shape, dim, keepdim), input_shape
    )
)


@op(method=False, function=False, node="Var")
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
    return spread(grad, shape, dim, keepdim) * (centred * scale)


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


# Truth, products, running sums


@op(numpy=np.all, alone=True)
def all(input, dim=None, keepdim=False):
    """Whether all over `dim` are not 0. Mirrors torch.all."""
    return _truth(np.all(input, axis=axes(dim, input.ndim), keepdims=keepdim), input)


@op(numpy=np.any, alone=True)
def any(input, dim=None, keepdim=False):
    """Whether one over `dim` at least is not 0. Mirrors torch.any."""
    return _truth(np.any(input, axis=axes(dim, input.ndim), keepdims=keepdim), input)


def _truth(result, input):
    """Of uint8, PyTorch's booleans of old, the result is uint8 as well."""
    return result.astype(np.uint8) if input.dtype == np.uint8 else result


@op(numpy=np.prod, alone=True)
def prod(input, dim=None, keepdim=False, *, dtype=None):
    """The product over `dim`, None or one dimension; integers become int64. Mirrors torch.prod."""
    kind = _sum_type(input, dtype)
    return np.prod(input, axis=dim, keepdims=keepdim, dtype=kind)


def _prod_by_input(grad, input, out, dim, keepdim):
    """out / input, but where there are zeros the product of the others, from both sides."""
    axis = axes(dim, input.ndim)
    if not np.any(input == 0):
        return spread(grad, input.shape, dim, keepdim) * (
            spread(out, input.shape, dim, keepdim) / input
        )
    flat = functions["movedim"](input, axis, tuple(range(-len(axis), 0)))
    shape = flat.shape
    flat = np.reshape(flat, (*shape[: len(shape) - len(axis)], -1))
    n = flat.shape[-1]
    # One row for every element, with a one in its place: the product of the row is of the others.
    others = np.where(np.eye(n, dtype=bool), 1, np.expand_dims(flat, -2))
    product = np.prod(others, axis=-1)
    back = functions["movedim"](np.reshape(product, shape), tuple(range(-len(axis), 0)), axis)
    return spread(grad, input.shape, dim, keepdim) * back


prod.derivatives(input=_prod_by_input)


@op(alone=True)
def cumsum(input, dim, *, dtype=None):
    """The sums of the first 1, 2, ... elements along `dim`. Mirrors torch.cumsum."""
    kind = _sum_type(input, dtype)
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
    """log(sum(exp(input))) over `dim`, without overflow. Mirrors torch.logsumexp."""
    axis = axes(dim, input.ndim)
    if input.dtype.kind in "biu":
        input = input.astype(dtypes.get_default_dtype().numpy)
    top = np.max(input, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)  # all -inf stays -inf; +inf stays +inf
    total = np.log(np.add.reduce(np.exp(input - top), axis=axis, keepdims=True)) + top
    return total if keepdim else np.squeeze(total, axis)


logsumexp.derivatives(
    input=lambda grad, input, out, dim, keepdim: (
        spread(grad, input.shape, dim, keepdim)
        * np.exp(input - spread(out, input.shape, dim, keepdim))
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
    return sum(functions["abs"](input) ** p, dim, keepdim) ** (1 / p)
