"""What a set of numbers looks like: medians and quantiles, counts and histograms, covariance.

A median or a mode is one of the elements, and passes the gradient on to it; counts have none.
PyTorch: aten/src/ATen/native/Sorting.cpp, SummaryOps.cpp, Histogram.cpp, Correlation.cpp.
"""

from __future__ import annotations

import functools
import operator

import numpy as np

from ..tensor import Tensor, wrap
from .declare import composite, functions, op
from .dims import axes
from .extremes import check_not_empty, evenly, picked, sortable
from .results import named_result
from .sorting import kth, order, sort


@op(method=False, function=False, node="Median")
def _median_of_all(input, skip_nan):
    flat = sortable(input).reshape(-1)
    there = flat.size - np.count_nonzero(np.isnan(flat))
    if there == 0 or (there < flat.size and not skip_nan):
        return np.asarray(np.nan).astype(input.dtype)
    middle = (there - 1) // 2
    return np.partition(flat, middle)[middle].astype(input.dtype)


_median_of_all.derivatives(input=lambda grad, input, out: evenly(grad, input, out, None, False))


def _median(name, input, dim, keepdim, skip_nan):
    if input.array.dtype.kind in "bc":
        raise NotImplementedError(f"{name}() is not there for {input.dtype}")
    if dim is None:
        return _median_of_all(input, skip_nan)
    check_not_empty(name, input.array, dim)

    def find(array, axis):
        n = array.shape[axis]
        there = n - np.isnan(array).sum(axis, keepdims=True)
        if np.all(there == n):
            return kth(array, (n - 1) // 2, axis)
        middle = np.maximum(there - 1, 0) // 2
        if not skip_nan:
            middle = np.where(there == n, middle, there)  # the first nan
        return np.take_along_axis(order(array, axis), middle, axis)

    return picked(name, find, input, dim, keepdim)


@composite(out=True)
def median(input, dim=None, keepdim=False):
    """The middle element, the lower one of two; with `dim`, (values, indices). nan if there is one.

    Mirrors torch.median.
    """
    return _median("median", input, dim, keepdim, False)


@composite(out=True)
def nanmedian(input, dim=None, keepdim=False):
    """The median of what is not nan. Mirrors torch.nanmedian."""
    return _median("nanmedian", input, dim, keepdim, True)


@composite(out=True)
def mode(input, dim=-1, keepdim=False):
    """(values, indices) of the most frequent element along `dim`, the smallest of several.

    Mirrors torch.mode.
    """

    def find(array, axis):
        places = order(array, axis)
        ordered = np.take_along_axis(array, places, axis).swapaxes(axis, -1)
        starts = np.ones(ordered.shape, bool)
        starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        number = np.arange(ordered.shape[-1])
        run = number - np.maximum.accumulate(np.where(starts, number, 0), -1)  # its length so far
        last = np.argmax(run, -1, keepdims=True).swapaxes(axis, -1)
        return np.take_along_axis(places, last, axis)

    check_not_empty("mode", input.array, dim)
    return picked("mode", find, input, dim, keepdim)


_INTERPOLATIONS = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}
_INTERPOLATIONS |= {"linear": np.floor, "midpoint": np.floor}


def _quantile(input, q, dim, keepdim, interpolation, skip_nan):
    if input.array.dtype.char not in "fd" or not input.numel():
        raise RuntimeError(
            "quantile() input tensor must be non-empty, and of float or double dtype"
        )
    if interpolation not in _INTERPOLATIONS:
        names = ", ".join(sorted(_INTERPOLATIONS))
        raise RuntimeError(f"quantile() interpolation must be one of {names}, got {interpolation}")
    q = q if isinstance(q, Tensor) else functions["tensor"](q, dtype=input.dtype)
    if q.ndim > 1 or q.dtype is not input.dtype or not np.all((q.array >= 0) & (q.array <= 1)):
        raise RuntimeError(
            f"quantile() q must be a number or vector of {input.dtype} in the range [0, 1], got {q}"
        )
    line = input.reshape(-1) if dim is None else input.movedim(dim, -1) if input.ndim else input
    ordered = sort(line.reshape(-1) if not line.ndim else line).values
    n = ordered.shape[-1]
    there = n - np.isnan(ordered.array).sum(-1, keepdims=True)
    if skip_nan:
        rank = q.reshape(-1) * wrap(np.maximum(there - 1, 0).astype(input.array.dtype))
    else:
        rank = functions["where"](wrap(there < n), n - 1.0, q.reshape(-1) * (n - 1))  # to the nan
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


# Counting


@op
def bincount(input, weights=None, minlength=0):
    """How often 0, 1, 2, ... occur in a vector of integers, or the sums of their `weights`.

    Mirrors torch.bincount.
    """
    if input.dtype.kind not in "iu":
        raise NotImplementedError(f"bincount() is of integers, not of {input.dtype}")
    if input.ndim != 1 or np.any(input < 0) or minlength < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs and minlength")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    out = np.bincount(input, weights, minlength)
    return out.astype(np.float32) if weights is not None and weights.dtype == np.float32 else out


def _range(input, low, high, margin):
    """The range of a histogram; where low and high are the same, that of the elements."""
    if input.dtype.kind in "biuc":
        raise NotImplementedError(f"histograms are of floats, not of {input.dtype}")
    if low == high:
        low, high = (float(input.min()), float(input.max())) if input.size else (0, 1)
    if low == high:
        low, high = low - margin, high + margin
    if not -np.inf < low < high < np.inf:
        raise RuntimeError(f"histogram: the range [{low}, {high}] must be finite, and not empty")
    return low, high


@op
def histc(input, bins=100, min=0, max=0):
    """How many elements fall into each of `bins` between `min` and `max`; others are not counted.

    Mirrors torch.histc.
    """
    if bins <= 0:
        raise RuntimeError(f"torch.histc(): bins must be > 0, but got {bins}")
    low, high = np.array(_range(input, min, max, 1), input.dtype)  # all in input's type, as PyTorch
    inside = input[(input >= low) & (input <= high)]
    places = (inside - low) * input.dtype.type(bins) / (high - low)
    counts = np.bincount(np.minimum(places.astype(np.int64), bins - 1), minlength=bins)
    return counts.astype(input.dtype)


_histogram = named_result("histogram", "hist bin_edges")


@composite(out=True)
def histogram(input, bins, *, range=None, weight=None, density=False):
    """(hist, bin_edges): counts in `bins` of equal width over `range`, or between the edges `bins`.

    `weight`: of each element; `density`: scaled to an integral of 1. Mirrors torch.histogram.
    """
    array = input.array.reshape(-1)
    low, high = _range(array, *(range or (0, 0)), 0.5)
    edges = bins.array if isinstance(bins, Tensor) else np.linspace(low, high, bins + 1)
    edges = edges.astype(array.dtype)
    weights = None if weight is None else weight.array.reshape(-1)
    hist = np.histogram(array, edges, weights=weights, density=density)[0]
    return _histogram(wrap(hist.astype(array.dtype)), wrap(edges))


# How variables go together


@composite
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariances of the rows of `input`, whose columns are observations.

    `fweights`: how often each was made, integers; `aweights`: how much it counts.
    Mirrors torch.cov.
    """
    if input.ndim > 2:
        raise RuntimeError(f"expected input to have two or fewer dimensions, got {input.ndim}")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    given = [w for w in (fweights, aweights) if w is not None]
    for w in given:
        if w.ndim > 1 or w.numel() != rows.shape[1] or bool((w < 0).any()):
            raise RuntimeError(f"cov(): weights must be {rows.shape[1]} numbers, none below 0")
        if w.is_floating_point() is (w is fweights):
            raise RuntimeError("cov(): fweights must be integers, and aweights floats")
    weights = functools.reduce(operator.mul, given, 1)
    total = weights.sum() if given else rows.shape[1]
    centred = rows - (rows * weights if given else rows).sum(1, keepdim=True) / total
    if aweights is not None and correction:
        correction = correction * (weights * aweights).sum() / total
    freedom = total - correction
    columns = functions["conj"](centred.T) if input.is_complex() else centred.T
    out = (centred * weights if given else centred) @ columns / (freedom * (freedom > 0))
    return out.squeeze() if rows.shape[0] == 1 else out


@composite
def corrcoef(input):
    """The correlation coefficients of the rows of `input`. Mirrors torch.corrcoef."""
    out = cov(input)
    if out.ndim == 0:
        return out / out
    deviation = (
        functions["real"](out.diagonal()).sqrt() if out.is_complex() else out.diagonal().sqrt()
    )
    out = out / deviation.unsqueeze(1) / deviation
    return out if out.is_complex() else out.clamp(-1, 1)
