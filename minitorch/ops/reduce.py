"""Operations that make many elements one: sums, moments, norms. (Extremes: extremes.py.)

`dim` is None or () (everything), an integer, or a tuple; `keepdim` keeps these dimensions, with
extent 1. The derivative of a reduction spreads `grad` back over the elements it came from; `spread`
gives it the shape to do so. Invariant: half precision is added up in float32 and rounded once.
PyTorch: aten/src/ATen/native/ReduceOps.cpp, cpu/SumKernel.cpp; linalg_vector_norm in
LinearAlgebra.cpp.
"""

from __future__ import annotations

import builtins
import functools
import math
import operator

import numpy as np

from .. import dtypes
from ..dispatch.declare import composite, functions, op
from ..dispatch.dims import axes, spread
from ..tensor import Tensor

INF = float("inf")
_FLOAT32 = np.dtype(np.float32)


def adding_up(forward):
    """Settle the type that `forward` computes in, its `dtype`, and that of the result.

    Both are what was asked for, else int64 for integers and the input's own for floats; but half
    precision is computed in float32.
    """

    @functools.wraps(forward)
    def settled(input, *args, dtype=None, **options):
        kind = input.dtype
        if dtype is not None:
            kind = dtypes.as_dtype(dtype).numpy
        elif kind.kind in "biu":
            kind = np.dtype(np.int64)
        if kind.char in "eE":
            return forward(input, *args, dtype=_FLOAT32, **options).astype(kind)
        return forward(input, *args, dtype=kind, **options)

    return settled


_ONES = {code: np.ones(4096, code) for code in "fd"}


def _total(input, dim, keepdim, dtype, squared=False):
    """The sum over `dim`, of the squares if `squared`.

    That of a large array, or of each of its rows, is made of scalar products of up to 4096 elements
    with ones, or with themselves: BLAS has them at the speed of memory, and adding up few of many
    at a time is as exact as adding up in pairs.
    """
    axis, shape = None if dim is None else axes(dim, input.ndim), input.shape
    on_cpu = type(input) is np.ndarray
    if on_cpu and input.size > 32768 and dtype.char in _ONES and input.dtype == dtype:
        if input.flags.c_contiguous and (axis is None or len(axis) == input.ndim):
            flat, whole = input.reshape(-1), input.size // 1024 * 1024
            total = np.add.reduce(_of_rows(flat[:whole].reshape(-1, 1024), squared))
            total += _of_rows(flat[whole:], squared)
            return np.reshape(total, (1,) * input.ndim if keepdim else ())
        if input.flags.c_contiguous and axis == (input.ndim - 1,) and shape[-1] <= 4096:
            total = _of_rows(input, squared)
            return total[..., None] if keepdim else total
    if on_cpu and input.dtype.kind == "b" and dtype.char == "l" and not squared:
        return np.count_nonzero(input, axis=axis, keepdims=keepdim)
    values = np.square(input, dtype=dtype) if squared else input
    return np.add.reduce(values, axis, dtype, None, keepdim)


def _of_rows(rows, squared):
    return np.vecdot(rows, rows) if squared else rows @ _ONES[rows.dtype.char][: rows.shape[-1]]


@op(numpy=np.sum, alone=True)
@adding_up
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum over `dim`; integers become int64. Mirrors torch.sum."""
    return _total(input, dim, keepdim, dtype)


def _spread_whole(grad, input_shape, dim, keepdim):
    grad = spread(grad, input_shape, dim, keepdim)
    if isinstance(grad, Tensor) or math.prod(input_shape) > 4096:
        return np.broadcast_to(grad, input_shape)
    whole = np.empty_like(grad, shape=input_shape)  # ten times as quick
    whole[...] = grad
    return whole


sum.derivatives(input=_spread_whole)


def _floating(kind, name: str) -> None:
    if kind.kind in "biu":
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {dtypes.of(np.empty(0, kind)).legacy_name}"
        )


def _count(shape, dim) -> int:
    n = 1
    for d in axes(dim, len(shape)):
        n *= shape[d]
    return n


@op(numpy=np.mean, alone=True)
@adding_up
def mean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean over `dim`, of floats. Mirrors torch.mean."""
    _floating(dtype, "mean")
    return _mean(input, dim, keepdim, dtype)


def _mean(input, dim, keepdim, dtype):
    return np.true_divide(_total(input, dim, keepdim, dtype), _count(input.shape, dim), dtype=dtype)


mean.derivatives(
    input=lambda grad, input_shape, dim, keepdim: _spread_whole(
        grad / _count(input_shape, dim), input_shape, dim, keepdim
    )
)


# Moments


@op(alone=True, method=False, function=False, node="Var")
@adding_up
def _variance(input, dim, correction, keepdim, root, *, dtype=None):
    """The variance, or its `root`."""
    _floating(dtype, "var")
    freedom = builtins.max(_count(input.shape, dim) - correction, 0)
    centred = input - _mean(input, dim, True, dtype)
    total = _total(centred, dim, keepdim, dtype, squared=True)
    out = np.true_divide(total, freedom, dtype=dtype)
    return np.sqrt(out) if root else out


def _variance_by_input(grad, input, out, dim, correction, keepdim, root):
    freedom = builtins.max(_count(input.shape, dim) - correction, 0)
    if root:  # which has no derivative at 0: PyTorch takes 0, so that steps stay finite
        grad = np.where(out == 0, 0, grad / (2 * np.where(out == 0, 1, out)))
    centred = input - mean(input, dim, True)
    return spread(grad, input.shape, dim, keepdim) * (centred * (2 / freedom if freedom else INF))


_variance.derivatives(input=_variance_by_input)


def _moment(input, dim, unbiased, keepdim, correction, root):
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    if input.array.dtype.kind != "c":
        return _variance(input, dim, correction, keepdim, root)
    parts = functions["real"](input), functions["imag"](input)
    out = operator.add(*[_variance(part, dim, correction, keepdim, False) for part in parts])
    return out.sqrt() if root else out


@composite(out=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The variance, with `correction` (default 1, or `unbiased`) taken off the count of elements.

    Mirrors torch.var.
    """
    return _moment(input, dim, unbiased, keepdim, correction, False)


@composite(out=True)
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The standard deviation; arguments as in `var`. Mirrors torch.std."""
    return _moment(input, dim, unbiased, keepdim, correction, True)


# Truth


def _truth(reduce, input, dim, keepdim):
    axis = None if dim is None else () if dim in ((), []) else axes(dim, input.ndim)
    result = reduce(input, axis=axis, keepdims=keepdim)
    # Of uint8, PyTorch's booleans of old, the result is uint8 as well.
    return result.astype(np.uint8) if input.dtype == np.uint8 else result


@op(numpy=np.all, alone=True)
def all(input, dim=None, keepdim=False):
    """Whether all over `dim` are not 0. Mirrors torch.all."""
    return _truth(np.all, input, dim, keepdim)


@op(numpy=np.any, alone=True)
def any(input, dim=None, keepdim=False):
    """Whether one over `dim` at least is not 0. Mirrors torch.any."""
    return _truth(np.any, input, dim, keepdim)


@op(alone=True, numpy=np.count_nonzero)
def count_nonzero(input, dim=None):
    """How many over `dim` are not 0. Mirrors torch.count_nonzero."""
    return np.asarray(np.count_nonzero(input, axis=axes(dim, input.ndim)), np.int64, like=input)


# Sums of exponentials and of powers


@op(alone=True)
def logsumexp(input, dim, keepdim=False):
    """log(sum(exp(input))) over `dim`, without overflow. Mirrors torch.logsumexp."""
    axis = axes(dim, input.ndim)
    kind = dtypes.get_default_dtype().numpy if input.dtype.kind in "biu" else input.dtype
    input = input.astype(_FLOAT32 if kind.char in "eE" else kind, copy=False)
    if _count(input.shape, axis):
        top = np.max(input.real, axis=axis, keepdims=True)
        top = np.where(np.isfinite(top), top, 0)  # all -inf stays -inf; +inf stays +inf
    else:
        top = 0
    total = np.log(np.add.reduce(np.exp(input - top), axis=axis, keepdims=True)) + top
    return (total if keepdim else np.squeeze(total, axis)).astype(kind, copy=False)


def _logsumexp_by_input(grad, input, out, dim, keepdim):
    grad, out = (spread(a, input.shape, dim, keepdim) for a in (grad, out))
    return grad * np.exp(input - np.where(out == -INF, 0, out))


logsumexp.derivatives(input=_logsumexp_by_input)


@op(alone=True, method=False, function=False, node="LinalgVectorNorm")
@adding_up
def _norm(input, ord, dim, keepdim, *, dtype=None):
    """`vector_norm` of real numbers."""
    if ord == 2:
        return np.sqrt(_total(input, dim, keepdim, dtype, squared=True))
    axis, size = axes(dim, input.ndim), np.absolute(input)
    if ord in (INF, -INF):
        if not _count(input.shape, dim):
            raise RuntimeError(f"linalg.vector_norm: there is no {ord} norm of no elements")
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdim)
    powers = size != 0 if ord == 0 else size if ord == 1 else np.power(size, ord, dtype=dtype)
    total = np.add.reduce(powers, axis=axis, keepdims=keepdim, dtype=dtype)
    return total if ord in (0, 1) else np.power(total, 1 / ord, dtype=dtype)


def _norm_by_input(grad, input, out, ord, dim, keepdim):
    """grad * sign(x) * (|x| / norm) ** (ord - 1); never nan, but 0 where x is."""
    grad, out = (spread(a, input.shape, dim, keepdim) for a in (grad, out))
    if ord == 0:
        return np.zeros_like(input)
    if ord in (INF, -INF):
        hit = np.absolute(input) == out
        ties = np.sum(hit, axis=axes(dim, len(input.shape)), keepdims=True)
        return np.where(hit, grad / ties * np.sign(input), 0)
    if ord == 1:
        return grad * np.sign(input)
    scaled = input / np.where(out == 0, 1, out)
    if ord == 2:
        return grad * scaled
    ratio = np.absolute(np.where(input == 0, 1, scaled))
    return grad * np.where(input == 0, 0, np.sign(input) * ratio ** (ord - 1))


_norm.derivatives(input=_norm_by_input)
