"""Which values there are, and how often. Counts have no derivatives.

PyTorch: aten/src/ATen/native/Unique.cpp, SummaryOps.cpp, Histogram.cpp, Bucketization.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..dispatch.declare import composite, op
from ..dispatch.dims import axis
from ..dispatch.results import named_result
from ..ops.extremes import sortable
from ..ops.sorting import searchsorted
from ..tensor import Tensor, wrap


def _as_asked(values, more):
    return (wrap(values), *map(wrap, more)) if more else wrap(values)


@composite
@devices.on_its_device
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The values that occur, in order; with `dim`, the different slices along it.

    As asked for also which of them each element is, and how often each occurs.
    Mirrors torch.unique.
    """
    along = None if dim is None else axis(dim, input.ndim)
    flags = {"return_inverse": return_inverse, "return_counts": return_counts}
    found = np.unique(sortable(input.array), axis=along, equal_nan=False, **flags)
    values, *more = found if isinstance(found, tuple) else (found,)
    return _as_asked(values.astype(input.array.dtype), more)


@composite
@devices.on_its_device
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of each run of equal elements, or slices along `dim`; the rest as in `unique`.

    Mirrors torch.unique_consecutive.
    """
    array = input.array.reshape(-1) if dim is None else np.moveaxis(input.array, dim, 0)
    n = len(array)
    changes = (array[1:] != array[:-1]).any(tuple(range(1, array.ndim)))
    starts = np.concatenate([np.ones_like(changes, shape=min(n, 1)), changes])
    more = []
    if return_inverse:
        inverse = np.cumsum(starts) - 1
        more.append(inverse.reshape(input.shape) if dim is None else inverse)
    if return_counts:
        more.append(np.diff(np.append(np.flatnonzero(starts), n)))
    return _as_asked(np.moveaxis(array[starts], 0, dim or 0), more)


@composite(out=True, method=False)
def bucketize(input, boundaries, *, out_int32=False, right=False):
    """The number of the bucket between sorted `boundaries` that each value is in.

    Mirrors torch.bucketize.
    """
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


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
@devices.on_its_device
def histogram(input, bins, *, range=None, weight=None, density=False):
    """(hist, bin_edges): counts in `bins` of equal width over `range`, or between the edges `bins`.

    `weight`: of each element; `density`: scaled to an integral of 1. Mirrors torch.histogram.
    """
    array = input.array.reshape(-1)
    low, high = _range(array, *(range or (0, 0)), 0.5)
    edges = bins.array if isinstance(bins, Tensor) else np.linspace(low, high, bins + 1)
    edges = np.asarray(edges, array.dtype, like=array)
    weights = None if weight is None else weight.array.reshape(-1)
    hist = np.histogram(array, edges, weights=weights, density=density)[0]
    return _histogram(wrap(hist.astype(array.dtype)), wrap(edges))
