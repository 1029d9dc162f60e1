"""Medians and modes: one of the elements, which the gradient is passed on to.

PyTorch: aten/src/ATen/native/Sorting.cpp.
"""

from __future__ import annotations

import numpy as np

from .declare import composite, op
from .extremes import check_not_empty, evenly, picked, sortable
from .sorting import kth, order


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
        n, missing = array.shape[axis], np.isnan(array)
        if not missing.any():
            return kth(array, (n - 1) // 2, axis)
        there = n - missing.sum(axis, keepdims=True)
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
