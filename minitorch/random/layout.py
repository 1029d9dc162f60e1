"""The layout of what is drawn "like" another tensor, on which depends who gets which number.

Numbers are drawn in the order of the memory. NumPy and PyTorch both give a copy the order of the
input's dimensions. But an expanded dimension, whose stride is 0, has none: NumPy takes it for the
innermost, and PyTorch leaves it where it stands.
PyTorch: infer_dense_strides in aten/src/ATen/ExpandUtils.cpp.
"""

from __future__ import annotations

import numpy as np


def empty_like(array: np.ndarray, dtype=None) -> np.ndarray:
    """np.empty_like, in PyTorch's layout."""
    if 0 not in array.strides:
        return np.empty_like(array, dtype)
    order = list(range(array.ndim))  # outermost first
    lengths = list(zip(array.strides, array.shape, strict=True))
    for start in reversed(range(array.ndim)):  # this one moves inwards, past all with longer steps
        place = start
        for next_place in range(place + 1, array.ndim):
            own, other = lengths[order[place]], lengths[order[next_place]]
            if 0 in (own[0], other[0]):
                continue
            if own < other:  # or past those with as long a step, but more elements
                order[place], order[next_place] = order[next_place], order[place]
                place = next_place
            elif own[0] > other[0]:
                break
    shape = [array.shape[axis] for axis in order]
    return np.empty(shape, array.dtype if dtype is None else dtype).transpose(np.argsort(order))


def on_host(array) -> np.ndarray:
    """New memory of the CPU, laid out like an array of any device, gaps included."""
    if array.size == 0:
        return np.empty(array.shape, array.dtype)
    last = sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    memory = np.empty(last + array.dtype.itemsize, np.uint8)
    return np.ndarray(array.shape, array.dtype, memory, strides=array.strides)
