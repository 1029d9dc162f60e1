"""Putting elements in order, and finding them: sort, topk, median, mode, searchsorted.

Everything here computes places with plain NumPy; the values at these places, and so the gradients,
come from `picked` (extremes.py). Order is PyTorch's: nan is greater than everything, and equal
elements stay as they stand, descending or not.
PyTorch: aten/src/ATen/native/Sorting.cpp, Bucketization.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..dispatch.declare import composite, op
from ..dispatch.gathering import accumulate
from ..tensor import wrap
from .extremes import _at, check_not_empty, evenly, lines, picked, sortable


def order(array, axis, descending=False):
    """The places of the elements along `axis`, smallest (or largest) first."""
    if descending:  # read backwards twice, equal elements end up as they stand
        backwards = (slice(None),) * axis + (slice(None, None, -1),)
        return array.shape[axis] - 1 - order(array[backwards], axis)[backwards]
    if array.itemsize == 4 and array.size > 256:
        return _order_by_bits(array, axis)
    return np.argsort(array, axis=axis, kind="stable")


def kth(array, k, axis):
    """The place of the k-th smallest along `axis`, counted from 0."""
    few = array.shape[axis] <= 256
    places = order(array, axis) if few else np.argpartition(array, k, axis)
    return places[(slice(None),) * axis + (slice(k, k + 1),)]


def _order_by_bits(array, axis):
    """`order` of 32-bit numbers, from int64s with the number above and its place below.

    They sort twice as quickly as places by their numbers. The bits of a positive float, read as an
    integer, grow with it; those of a negative one fall, and are turned round.
    """
    if array.dtype.kind == "f":  # one nan and one zero
        bits = np.where(np.isnan(array), np.float32(np.nan), array + np.float32(0)).view(np.int32)
        array = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    places = np.arange(array.shape[axis], like=array).reshape(-1, *(1,) * (array.ndim - axis - 1))
    keys = (array.astype(np.int64) << 32) | places
    keys.sort(axis=axis)
    return keys & 0xFFFFFFFF


@composite(out=True)
def sort(input, dim=-1, descending=False, *, stable=None):
    """(values, indices), in order along `dim`; always stable. Mirrors torch.sort."""
    return picked("sort", lambda array, axis: order(array, axis, descending), input, dim)


@composite(out=True, numpy=np.argsort)
def argsort(input, dim=-1, descending=False, stable=False):
    """The indices that put `input` in order along `dim`; always stable. Mirrors torch.argsort."""
    with devices.guard(input.array):
        return wrap(order(*lines(sortable(input.array), dim), descending).reshape(input.shape))


@composite(out=True)
def topk(input, k, dim=-1, largest=True, sorted=True):
    """(values, indices) of the `k` largest or smallest along `dim`. Mirrors torch.topk."""

    def find(array, axis):
        n = array.shape[axis]
        if not 0 <= k <= n:
            raise RuntimeError(f"selected index k out of range: {k} of {n} along dimension {axis}")
        if n < 256 or k > n // 8:
            return order(array, axis, largest)[(slice(None),) * axis + (slice(k),)]
        if k <= 32 and (places := _one_by_one(array, k, axis, largest)) is not None:
            return places
        parts = np.argpartition(array, min(n - k, n - 1) if largest else k, axis=axis)
        best = np.sort(np.take(parts, range(n - k, n) if largest else range(k), axis), axis)
        ranks = order(np.take_along_axis(array, best, axis), axis, largest)
        return np.take_along_axis(best, ranks, axis)

    return picked("topk", find, input, dim)


def _one_by_one(array, k, axis, largest):
    """The places of the k extremes, each found with those before taken out: k quick searches.

    What is taken out becomes the extreme of the other end. None if that is among the k itself, and
    if there is nan among the smallest, before which argmin stops.
    """
    if array.dtype.kind == "f":
        last = -np.inf if largest else np.inf
    else:
        last = getattr(np.iinfo(array.dtype), "min" if largest else "max")
    rest = np.moveaxis(array, axis, -1).copy()  # in which a search runs along the memory
    places = np.empty((*rest.shape[:-1], k), np.int64, like=rest)
    for i in range(k):
        place = np.argmax(rest, -1) if largest else np.argmin(rest, -1)
        places[..., i] = place
        at = _at(place[..., None], -1)
        found = rest[at]
        if (found == last).any() or (not largest and np.isnan(found).any()):
            return None
        rest[at] = last
    return np.moveaxis(places, -1, axis)


@composite(out=True)
def kthvalue(input, k, dim=-1, keepdim=False):
    """(values, indices) of the `k`-th smallest along `dim`, from 1. Mirrors torch.kthvalue."""

    def find(array, axis):
        if not 1 <= k <= array.shape[axis]:
            raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
        return kth(array, k - 1, axis)

    return picked("kthvalue", find, input, dim, keepdim)


# The middle one, and the most frequent one


@op(method=False, function=False, node="Median")
def _median_of_all(input, skip_nan):
    flat = sortable(input).reshape(-1)
    there = flat.size - int(np.count_nonzero(np.isnan(flat)))
    if there == 0 or (there < flat.size and not skip_nan):
        return np.asarray(np.nan, like=input).astype(input.dtype)
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
        starts = np.ones_like(ordered, bool)
        starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        number = np.arange(ordered.shape[-1], like=ordered)
        run = number - accumulate(np.maximum, np.where(starts, number, 0), -1)  # its length so far
        last = np.argmax(run, -1, keepdims=True).swapaxes(axis, -1)
        return np.take_along_axis(places, last, axis)

    check_not_empty("mode", input.array, dim)
    return picked("mode", find, input, dim, keepdim)


# Where values are, or would be


@op(method=False)
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Before which place of the sorted sequence each value belongs; the last dimension is searched.

    `right` (or side="right"): behind values that are equal. `sorter`: the indices that sort the
    sequence, if it is not. RuntimeError if the other dimensions differ. Mirrors torch.searchsorted.
    """
    sequence, values = np.atleast_1d(sorted_sequence), np.asarray(input, like=sorted_sequence)
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(f"torch.searchsorted(): side is {side!r} while right is {right}")
    if isinstance(input, np.ndarray) and values.dtype != sequence.dtype:
        raise RuntimeError(
            "torch.searchsorted(): boundary tensor and input value tensor should have the same "
            f"dtype, but got {sequence.dtype} and {values.dtype}"
        )
    if sequence.ndim > 1 and values.shape[:-1] != sequence.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): all dimensions but the last of the sequence and of the values "
            f"must match, but they are {list(sequence.shape)} and {list(values.shape)}"
        )
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter, -1)
    side = "right" if right else side or "left"
    if sequence.ndim == 1:
        out = np.searchsorted(sequence, values, side)
    else:
        out = np.empty(values.shape, np.int64, like=values)
        for row in np.ndindex(values.shape[:-1]):
            out[row] = np.searchsorted(sequence[row], values[row], side)
    return out.astype(np.int32 if out_int32 else np.int64, copy=False)


@op(method=False)
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """For each of `elements` whether it is one of `test_elements`. Mirrors torch.isin."""
    return np.isin(elements, test_elements, assume_unique=assume_unique, invert=invert)
