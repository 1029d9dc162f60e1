"""What a set of numbers looks like: extremes, means, quantiles, and how variables go together.

PyTorch: aten/src/ATen/native/ReduceOps.cpp, Sorting.cpp (quantile), Correlation.cpp.
"""

from __future__ import annotations

import functools
import operator

import numpy as np

from .. import devices, dtypes
from ..creation import tensor
from ..dispatch.declare import composite
from ..dispatch.dims import axes
from ..dispatch.errors import require
from ..dispatch.results import named_result
from ..ops.choose import where
from ..ops.complex_numbers import conj, real
from ..ops.extremes import amax, amin
from ..ops.reduce import mean, std, sum, var
from ..ops.sorting import sort
from ..tensor import Tensor, wrap

_aminmax = named_result("aminmax", "min max")


@composite(out=True)
def aminmax(input, *, dim=None, keepdim=False):
    """(smallest, largest) over `dim`, one dimension. Mirrors torch.aminmax."""
    dim = () if dim is None else dim
    return _aminmax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def _without_nan(input):
    return input.masked_fill(input.isnan(), 0) if input.array.dtype.kind not in "biu" else input


@composite(out=True)
def nansum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum over `dim` of what is not nan. Mirrors torch.nansum."""
    require(not input.is_complex(), "nansum does not support complex inputs")
    return sum(_without_nan(input), dim, keepdim, dtype=dtype)


@composite(out=True)
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean over `dim` of what is not nan, of floats. Mirrors torch.nanmean."""
    floats = input.dtype.category >= dtypes.FLOATING
    require(floats, "nanmean(): expected input to be of a floating dtype, got {}", input.dtype)
    there = sum(input == input, dim, keepdim)
    return sum(_without_nan(input), dim, keepdim, dtype=dtype) / there


@composite(out=True, method=False)
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(variance, mean); arguments as in `var`. Mirrors torch.var_mean."""
    middle = mean(input, None if isinstance(dim, bool) else dim, keepdim)
    return var(input, dim, unbiased, keepdim, correction=correction), middle


@composite(out=True, method=False)
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(standard deviation, mean); arguments as in `var`. Mirrors torch.std_mean."""
    middle = mean(input, None if isinstance(dim, bool) else dim, keepdim)
    return std(input, dim, unbiased, keepdim, correction=correction), middle


# Quantiles


_INTERPOLATIONS = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}


_INTERPOLATIONS |= {"linear": np.floor, "midpoint": np.floor}


@devices.on_its_device
def _quantile(input, q, dim, keepdim, interpolation, skip_nan):
    fits = input.array.dtype.char in "fd" and input.numel()
    require(fits, "quantile() input tensor must be non-empty, and of float or double dtype")
    require(
        interpolation in _INTERPOLATIONS,
        "quantile() interpolation must be one of {}, got {}",
        *(", ".join(sorted(_INTERPOLATIONS)), interpolation),
    )
    q = q if isinstance(q, Tensor) else tensor(q, dtype=input.dtype, device=input.device)
    require(
        q.ndim < 2 and q.dtype is input.dtype and np.all((q.array >= 0) & (q.array <= 1)),
        "quantile() q must be a number or vector of {} in the range [0, 1], got {}",
        *(input.dtype, q),
    )
    line = input.reshape(-1) if dim is None else input.movedim(dim, -1) if input.ndim else input
    ordered = sort(line.reshape(-1) if not line.ndim else line).values
    n = ordered.shape[-1]
    there = n - np.isnan(ordered.array).sum(-1, keepdims=True)
    if skip_nan:
        rank = q.reshape(-1) * wrap(np.maximum(there - 1, 0).astype(input.array.dtype))
    else:
        rank = where(wrap(there < n), n - 1.0, q.reshape(-1) * (n - 1))  # to the nan
    below = _INTERPOLATIONS[interpolation](rank)
    out = ordered.gather(-1, below.long())
    if interpolation in ("linear", "midpoint"):
        weight = rank - below if interpolation == "linear" else 0.5
        out = out + (ordered.gather(-1, rank.ceil().long()) - out) * weight
    out = out.movedim(-1, 0)
    if keepdim and input.ndim:
        whole = range(input.ndim) if dim is None else axes(dim, input.ndim)
        out = out.reshape(-1, *[1 if d in whole else m for d, m in enumerate(input.shape)])
    return out if q.ndim else out.squeeze(0)


@composite(out=True)
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The value below which the part `q` of the elements along `dim` lies; nan if one is nan.

    `q`: a number, or a vector, which gives the result a dimension in front. `interpolation`:
    between two elements "linear", "lower", "higher", "midpoint" or "nearest".
    Mirrors torch.quantile.
    """
    return _quantile(input, q, dim, keepdim, interpolation, False)


@composite(out=True)
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The quantile of what is not nan. Mirrors torch.nanquantile."""
    return _quantile(input, q, dim, keepdim, interpolation, True)


# How variables go together


@composite
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariances of the rows of `input`, whose columns are observations.

    `fweights`: how often each was made, integers; `aweights`: how much it counts.
    Mirrors torch.cov.
    """
    require(input.ndim < 3, "expected input to have two or fewer dimensions, got {}", input.ndim)
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    given = [w for w in (fweights, aweights) if w is not None]
    for w in given:
        fits = w.ndim < 2 and w.numel() == rows.shape[1] and not (w < 0).any()
        require(fits, "cov(): weights must be {} numbers, none below 0", rows.shape[1])
        kinds = w.is_floating_point() is (w is not fweights)
        require(kinds, "cov(): fweights must be integers, and aweights floats")
    weights = functools.reduce(operator.mul, given, 1)
    total = weights.sum() if given else rows.shape[1]
    centred = rows - (rows * weights if given else rows).sum(1, keepdim=True) / total
    if aweights is not None and correction:
        correction = correction * (weights * aweights).sum() / total
    freedom = total - correction
    columns = conj(centred.T) if input.is_complex() else centred.T
    out = (centred * weights if given else centred) @ columns / (freedom * (freedom > 0))
    return out.squeeze() if rows.shape[0] == 1 else out


@composite
def corrcoef(input):
    """The correlation coefficients of the rows of `input`. Mirrors torch.corrcoef."""
    out = cov(input)
    if out.ndim == 0:
        return out / out
    deviation = real(out.diagonal()).sqrt()
    out = out / deviation.unsqueeze(1) / deviation
    return out if out.is_complex() else out.clamp(-1, 1)
