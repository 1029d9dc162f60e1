"""Putting elements in order, and finding them: sort, topk, searchsorted.

Everything here computes places with plain NumPy; the values at these places, and so the gradients,
come from `picked` (extremes.py). Order is PyTorch's: nan is greater than everything, and equal
elements stay as they stand, descending or not.
PyTorch: aten/src/ATen/native/Sorting.cpp, Bucketization.cpp.
"""

from __future__ import annotations

import numpy as np

from ..tensor import wrap
from .declare import composite, op
from .extremes import lines, picked, sortable


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
    places = np.arange(array.shape[axis]).reshape(-1, *(1,) * (array.ndim - axis - 1))
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
        parts = np.argpartition(array, min(n - k, n - 1) if largest else k, axis=axis)
        best = np.sort(np.take(parts, range(n - k, n) if largest else range(k), axis), axis)
        ranks = order(np.take_along_axis(array, best, axis), axis, largest)
        return np.take_along_axis(best, ranks, axis)

    return picked("topk", find, input, dim)


@composite(out=True)
def kthvalue(input, k, dim=-1, keepdim=False):
    """(values, indices) of the `k`-th smallest along `dim`, from 1. Mirrors torch.kthvalue."""

    def find(array, axis):
        if not 1 <= k <= array.shape[axis]:
            raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
        return kth(array, k - 1, axis)

    return picked("kthvalue", find, input, dim, keepdim)


# Where values are, or would be


@op(method=False)
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Before which place of the sorted sequence each value belongs; the last dimension is searched.

    `right` (or side="right"): behind values that are equal. `sorter`: the indices that sort the
    sequence, if it is not. RuntimeError if the other dimensions differ. Mirrors torch.searchsorted.
    """
    sequence, values = np.atleast_1d(sorted_sequence), np.asarray(input)
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
        out = np.empty(values.shape, np.int64)
        for row in np.ndindex(values.shape[:-1]):
            out[row] = np.searchsorted(sequence[row], values[row], side)
    return np.asarray(out, np.int32 if out_int32 else np.int64)


@op(method=False)
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """For each of `elements` whether it is one of `test_elements`. Mirrors torch.isin."""
    return np.isin(elements, test_elements, assume_unique=assume_unique, invert=invert)
