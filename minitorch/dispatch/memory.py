"""Which memory an array looks into, and how: what views, storages and in-place changes ask.

PyTorch: c10/core/StorageImpl.h, aten/src/ATen/MemoryOverlap.cpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def owner(array) -> Any:
    """The array that owns the memory which `array` looks into."""
    if not isinstance(array, np.ndarray):  # CuPy's know it
        return array if array.base is None else array.base
    base: Any = array
    while base is not None:  # NumPy's own as_strided puts something else between the two
        array, base = base if isinstance(base, np.ndarray) else array, getattr(base, "base", None)
    return array


def address(array) -> int:
    """Where the first element is."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def strided(array, shape, strides, offset: int = 0) -> np.ndarray:
    """A view of the memory of `array`, whose elements are `strides` bytes apart.

    `offset`: bytes between the first elements of `array` and of the view. Raises ValueError where
    that leads out of the memory.
    """
    whole = owner(array)
    if not isinstance(array, np.ndarray):
        offset += address(array) - address(whole)
        return _strided_on_gpu(whole, offset, array, shape, strides)
    if not whole.flags.c_contiguous:  # dimensions in another order; a buffer has to be in this one
        whole = whole.transpose(np.argsort(whole.strides)[::-1])
    start = array.ctypes.data - whole.ctypes.data + offset
    return np.ndarray(shape, array.dtype, whole, start, strides)


def _strided_on_gpu(whole, start: int, array, shape, strides):
    """A view of `whole` that begins `start` bytes into it.

    CuPy makes any view of memory, also of what lies behind it, and does not note whose it is. So
    this looks itself, and begins with a view that has a base.
    """
    steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    low, high = sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + array.itemsize
    if 0 not in shape and (start + low < 0 or start + high > whole.nbytes):
        raise ValueError("strides is incompatible with shape of requested array and size of buffer")
    if not whole.flags.c_contiguous:
        whole = whole.transpose(*np.argsort(whole.strides)[::-1].tolist())
    view = whole.reshape(-1).view(array.dtype)[start // array.itemsize :]
    view._set_shape_and_strides(tuple(shape), tuple(strides), True, True)
    return view


def repeats(array) -> bool:
    """Whether it was stretched: several elements are one place in memory."""
    return 0 in array.strides and any(
        step == 0 and extent > 1 for step, extent in zip(array.strides, array.shape, strict=True)
    )


def overlap_partly(a, b) -> bool:
    """Whether two arrays share some memory, but are not the same elements in the same order.

    Only said of those without gaps, as in PyTorch (c10's get_overlap_status): of the others it
    would take long to find out.
    """
    low, high = np.lib.array_utils.byte_bounds(a)
    low_b, high_b = np.lib.array_utils.byte_bounds(b)
    if not (low < high_b and low_b < high and a.size and b.size):
        return False
    dense = high - low == a.nbytes and high_b - low_b == b.nbytes
    return dense and (low, high, _steps(a)) != (low_b, high_b, _steps(b))


def _steps(array) -> list:
    """The strides, None where there is nowhere to step to."""
    return [
        step if extent > 1 else None
        for step, extent in zip(array.strides, array.shape, strict=True)
    ]
