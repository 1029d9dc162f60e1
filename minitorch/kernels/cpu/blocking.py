"""How a chain of NumPy operations runs at the speed of a fused loop: in blocks.

`exp(x - m) / s` on a large array is three loops, each of which streams the whole array through
memory, and memory is the slow part. Done on a block that fits into a core's cache, from the
first operation to the last, with `out=` so that nothing new is allocated, only the first read and
the last write go to memory. The blocks must not be too small either: each NumPy call costs about
half a microsecond, and in two threads it also waits for the GIL.

For a few elements those half microseconds are all there is. What is not worth another thread goes
the short way: no flattening, no loop, the same function straight on the inputs.

PyTorch: aten/src/ATen/native/cpu/Loops.h, which fuses at compile time instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod

import numpy as np

from .threads import parallel_for

BLOCK = 1 << 18
"""Elements of a block: a few float32 arrays of this size (1 MB) stay in a core's caches."""

GRAIN = 1 << 16
"""Elements for which another thread is worth waking."""

_FLOAT32 = np.dtype(np.float32)


def blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    """The range [start, stop) as slices of at most `size` (at least one) items."""
    size = max(size, 1)
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def accumulation_dtype(dtype: np.dtype) -> np.dtype:
    """The type to compute in: float32 for the half-precision types, else the type itself."""
    return _FLOAT32 if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype


def elementwise(function: Callable, *inputs: np.ndarray) -> np.ndarray:
    """A new array: function(out_block, *input_blocks) over flat blocks of inputs of one shape.

    Half-precision blocks are widened to float32 before, and the result rounded after. Small inputs
    are handed over as they are.
    """
    dtype, shape = inputs[0].dtype, inputs[0].shape
    wide = accumulation_dtype(dtype)
    out = np.empty(shape, dtype)
    if out.size <= GRAIN and wide is dtype and shape != ():
        function(out, *inputs)
        return out
    flat, flat_inputs = out.reshape(-1), [np.ascontiguousarray(a).reshape(-1) for a in inputs]

    def work(start, stop):
        for block in blocks(start, stop, BLOCK):
            if wide == dtype:
                function(flat[block], *[a[block] for a in flat_inputs])
            else:
                result = np.empty(block.stop - block.start, wide)
                function(result, *[a[block].astype(wide) for a in flat_inputs])
                flat[block] = result

    parallel_for(out.size, work, GRAIN)
    return out


def by_rows(function: Callable, axis: int, *inputs: np.ndarray) -> np.ndarray:
    """A new array: function(*input_blocks, out_block, axis) over blocks of whole rows along `axis`.

    Small inputs are handed over as they are. The blocks of larger ones are (rows, n) where axis is
    the last one, and (rows, n, inner) otherwise: the row runs along axis 1 in either case. Half
    precision is computed in float32.
    """
    dtype, shape = inputs[0].dtype, inputs[0].shape
    wide = accumulation_dtype(dtype)
    if 0 < inputs[0].size <= GRAIN and wide is dtype and shape != ():
        out = np.empty(shape, dtype)
        function(*inputs, out, axis)
        return out

    out = np.empty(shape, wide)
    if out.size == 0:
        return out.astype(dtype)
    shape = shape or (1,)
    axis %= len(shape)
    n, inner = shape[axis], prod(shape[axis + 1 :])
    layout = (-1, n) if inner == 1 else (-1, n, inner)
    views = [np.ascontiguousarray(a, wide).reshape(layout) for a in (*inputs, out)]

    over_rows(lambda *arrays: function(*arrays, 1), *views)
    return out.astype(dtype, copy=False)


def over_rows(function: Callable, first: np.ndarray, *others: np.ndarray) -> None:
    """Calls function(*blocks) for blocks of rows of arrays whose rows are their first axis."""
    row = first[0].size

    def work(start, stop):
        for rows in blocks(start, stop, BLOCK // row):
            function(first[rows], *[array[rows] for array in others])

    with rows_unbuffered(first.shape[1]):
        parallel_for(len(first), work, GRAIN // row)


def rows_unbuffered(n: int) -> AbstractContextManager:
    """Inside, `rows - column` and `rows * row`, for rows of n elements, take one loop a row.

    NumPy would rather have loops of its buffer's 8192 elements, and repeats column or row into the
    buffer to get them, which costs as much as the operation. A smaller buffer is not worth filling,
    and from about 512 elements on a row is long enough for a loop of its own.
    """
    return _small_buffer() if n >= 512 else _AS_IT_IS


_AS_IT_IS = nullcontext()


@contextmanager
def _small_buffer() -> Iterator[None]:
    before = np.setbufsize(512)
    try:
        yield
    finally:
        np.setbufsize(before)


def row_sum(block: np.ndarray, axis: int = 1) -> np.ndarray:
    """Sums along `axis`, kept as length 1. Large matrices go through BLAS, times ones: quicker."""
    if block.size > 4096 and block.ndim == 2 and axis in (1, -1):
        return (block @ np.ones(block.shape[1], block.dtype))[:, None]
    return np.add.reduce(block, axis, keepdims=True)


def sum_positions(images: np.ndarray) -> np.ndarray:
    """(N, C, L) summed to (N, C). By BLAS as well, unless L is too much to be added up in line."""
    if images.size > 4096 and images.shape[2] <= 4096:
        return images @ np.ones(images.shape[2], images.dtype)
    return np.add.reduce(images, 2)


def row_dot(a: np.ndarray, b: np.ndarray, axis: int = 1) -> np.ndarray:
    """Sums a * b along `axis`, kept as length 1."""
    if axis in (a.ndim - 1, -1):
        return np.vecdot(a, b)[..., None]
    return np.add.reduce(a * b, axis, keepdims=True)


def strided_view(array: np.ndarray, shape, strides, offset: int = 0) -> np.ndarray:
    """The memory of a contiguous array, from its entry `offset` on, as `shape` with byte `strides`.

    Like numpy.lib.stride_tricks.as_strided, but quick to make, and it must stay within the array.
    """
    return np.ndarray(shape, array.dtype, array, offset * array.itemsize, strides)
