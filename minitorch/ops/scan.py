"""Running sums, products and extremes.

In a scan every result depends on the one before, y[k] = f(y[k-1], x[k]), so the gradients depend on
each other from the end to the front. Where they cannot be told apart by a division (which would
meet a zero, or an overflow), `_from_end` solves that recurrence as it stands.
PyTorch: aten/src/ATen/native/ReduceOps.cpp (cumsum, cumprod, cummax).
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..dispatch.declare import composite, functions, op
from ..dispatch.dims import axes, axis, spread
from ..dispatch.gathering import accumulate
from ..tensor import wrap
from .extremes import RESULTS, lines, sortable
from .reduce import adding_up


def _accumulate(ufunc, input, dim, dtype):
    array, dim = lines(input, dim)
    return accumulate(ufunc, array, dim, dtype).reshape(input.shape)


def _running_sums(input):
    """Along the last dimension, within blocks by a product with a triangle of ones.

    That is quicker than adding up, where every element waits for the one before. What the blocks
    before add up to is found in the same way, so that a sum is one of few terms, and as exact.
    """
    n = input.shape[-1]
    if n < 256:
        return np.cumsum(input, axis=-1)
    width = 16 if n % 16 == 0 else max((w for w in range(8, 33) if n % w == 0), default=16)
    if n % width:
        input = np.pad(input, [(0, 0)] * (input.ndim - 1) + [(0, -n % width)])
    blocks = input.reshape(*input.shape[:-1], -1, width)
    out = blocks @ np.triu(np.ones_like(input, shape=(width, width)))
    out[..., 1:, :] += _running_sums(out[..., :-1, -1])[..., None]
    return out.reshape(input.shape)[..., :n]


@op(alone=True, inplace=True, numpy=np.cumsum)
@adding_up
def cumsum(input, dim, *, dtype=None):
    """The sums of the first 1, 2, ... elements along `dim`. Mirrors torch.cumsum."""
    on_cpu = type(input) is np.ndarray
    if on_cpu and input.ndim and input.shape[axis(dim, input.ndim)] >= 256 and dtype.char in "fd":
        out = _running_sums(np.swapaxes(input, dim, -1).astype(dtype, copy=False))
        if np.all(np.isfinite(out[..., -1])):  # in the product 0 * inf would be nan
            out = np.swapaxes(out, dim, -1)
            return out if out.flags.c_contiguous else out.copy()
    return _accumulate(np.add, input, dim, dtype)


@op(alone=True, method=False, function=False)
def _sum_from_end(grad, dim):
    backwards = (slice(None),) * axis(dim, grad.ndim) + (slice(None, None, -1),)
    return cumsum(grad[backwards], dim)[backwards] if grad.ndim else grad


cumsum.derivatives(input=lambda grad, dim: _sum_from_end(grad, dim))
_sum_from_end.derivatives(grad=lambda grad, dim: cumsum(grad, dim))


def _shifted(input, steps, fill):
    """`input` moved along the last dimension, with `fill` in the places that become free."""
    free = np.full_like(input[..., : abs(steps)], fill)
    kept = input[..., :-steps] if steps > 0 else input[..., -steps:]
    return np.concatenate([free, kept] if steps > 0 else [kept, free], axis=-1)


def _from_end(slope, grad):
    """The a with a[k] = grad[k] + slope[k + 1] * a[k + 1] along the last dimension.

    In log2(n) steps, after which a[k] holds what comes from the next 2, 4, 8, ... places; what
    comes from behind them has still to be multiplied by slope[k], the product over these.
    """
    slope, steps = _shifted(slope, -1, 0), 1
    while steps < grad.shape[-1]:
        grad = grad + slope * _shifted(grad, -steps, 0)
        slope = slope * _shifted(slope, -steps, 0)
        steps *= 2
    return grad


@op(alone=True, inplace=True, numpy=np.cumprod)
@adding_up
def cumprod(input, dim, *, dtype=None):
    """The products of the first 1, 2, ... elements along `dim`. Mirrors torch.cumprod."""
    return _accumulate(np.multiply, input, dim, dtype)


def _product_before(input):
    """The products of the first 0, 1, ... elements along the last dimension."""
    return np.cumprod(_shifted(input, 1, 1), -1)


def _cumprod_by_input(grad, input, out, dim):
    if not grad.ndim:
        return grad
    if np.all(input != 0):
        return _sum_from_end(grad * out, dim) / input
    grad, input = np.swapaxes(grad, dim, -1), np.swapaxes(input, dim, -1)
    return np.swapaxes(_product_before(input) * _from_end(input, grad), dim, -1)


cumprod.derivatives(input=_cumprod_by_input)


@op(numpy=np.prod, alone=True)
@adding_up
def prod(input, dim=None, keepdim=False, *, dtype=None):
    """The product over `dim`, None or one dimension; integers become int64. Mirrors torch.prod."""
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"prod(): dim must be None or an int, but it is {dim}")
    return np.multiply.reduce(input, axis=axes(dim, input.ndim), keepdims=keepdim, dtype=dtype)


def _prod_by_input(grad, input, out, dim, keepdim):
    """out / input; or where there are zeros the product of those before and of those behind."""
    shape = input.shape
    grad = spread(grad, shape, dim, keepdim)
    if not shape or not np.any(input == 0):
        return grad * (spread(out, shape, dim, keepdim) / input) if shape else grad
    line = np.reshape(input, -1) if dim is None else np.swapaxes(input, dim, -1)
    others = _product_before(line) * np.flip(_product_before(np.flip(line, -1)), -1)
    return grad * (np.reshape(others, shape) if dim is None else np.swapaxes(others, dim, -1))


prod.derivatives(input=_prod_by_input)


@op(alone=True)
@adding_up
def logcumsumexp(input, dim, *, dtype=None):
    """log(cumsum(exp(input))) along `dim`, without overflow. Mirrors torch.logcumsumexp."""
    return _accumulate(np.logaddexp, input, dim, dtype)


def _logcumsumexp_by_input(grad, input, out, dim):
    if not grad.ndim:
        return grad
    grad, input, out = (np.swapaxes(a, dim, -1) for a in (grad, input, out))
    finite = np.where(out == -np.inf, 0, out)
    slope = np.exp(_shifted(out, 1, -np.inf) - finite)
    return np.swapaxes(_from_end(slope, grad) * np.exp(input - finite), dim, -1)


logcumsumexp.derivatives(input=_logcumsumexp_by_input)


def _running_extreme(name, ufunc, input, dim):
    with devices.guard(input.array):
        array, dim = lines(sortable(input.array), dim)
        places = np.arange(array.shape[dim], like=array).reshape(-1, *(1,) * (array.ndim - dim - 1))
        new = (array == accumulate(ufunc, array, dim)) | np.isnan(array)
        indices = accumulate(np.maximum, np.where(new, places, 0), dim)
    indices = wrap(indices.reshape(input.shape))
    return RESULTS[name](functions["gather"](input, dim, indices), indices)


@composite(out=True)
def cummax(input, dim):
    """(values, indices) of the largest of the first 1, 2, ... elements. Mirrors torch.cummax."""
    return _running_extreme("cummax", np.maximum, input, dim)


@composite(out=True)
def cummin(input, dim):
    """(values, indices) of the smallest of the first 1, 2, ... elements. Mirrors torch.cummin."""
    return _running_extreme("cummin", np.minimum, input, dim)
