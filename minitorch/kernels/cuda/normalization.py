"""layer_norm, group_norm and batch_norm: layer_norm.cu, channels.cu.

Signatures and formulas as in ../cpu/layer_norm.py, group_norm.py and batch_norm.py.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..cpu.blocking import accumulation_dtype
from ..cpu.layer_norm import _lacking
from .launch import THREADS, contiguous, empty, launch
from .rows import row_grid

ENOUGH = 512  # blocks that keep a GPU busy


def layer_norm_forward(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(out, mean, rstd) of x (*, *normalized_shape). Mirrors torch.native_layer_norm."""
    kept = x.ndim - len(normalized_shape)
    statistics = (*x.shape[:kept], *[1] * len(normalized_shape))
    return _normalise_rows(x, statistics, prod(normalized_shape), 1, 1, weight, bias, eps)


def layer_norm_backward(grad, x, mean, rstd, weight=None, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False."""
    shape = _lacking(x, rstd) if weight is None else weight.shape
    dx = _rows_by_x(grad, x, mean, rstd, weight, 1, 1) if needs[0] else None
    n = prod(shape)
    dots, sums = _channel_sums(x, grad, mean, rstd, (mean.size, n, 1), 1, n, any(needs[1:]))
    return dx, *_rounded(dots, sums, shape, x.dtype, needs)


def group_norm_forward(x, groups, weight=None, bias=None, eps=1e-5):
    """(out, mean, rstd) of x (N, C, *); mean, rstd (N, groups). Mirrors torch.native_group_norm."""
    n = x.size // max(len(x) * groups, 1)
    length = _as_channels(x)[2]
    return _normalise_rows(x, (len(x), groups), n, groups, max(length, 1), weight, bias, eps)


def group_norm_backward(grad, x, groups, weight, mean, rstd, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False."""
    shape = _as_channels(x)
    dx = _rows_by_x(grad, x, mean, rstd, weight, groups, max(shape[2], 1)) if needs[0] else None
    per_group = shape[1] // groups
    dots, sums = _channel_sums(x, grad, mean, rstd, shape, groups, per_group, any(needs[1:]))
    return dx, *_rounded(dots, sums, shape[1:2], x.dtype, needs)


def batch_norm_forward(x, weight=None, bias=None, mean=None, var=None, eps=1e-5):
    """(out, mean, var) of x (N, C, *), by the mean and var given or its own.

    Mirrors torch.native_batch_norm.
    """
    shape = _as_channels(x)
    if mean is None:
        count = max(shape[0] * shape[2], 1)
        mean = _channel_sums(None, x, None, None, shape, 0, 1)[1] / count
        var = _channel_sums(x, None, mean, None, shape, 0, 1)[0] / count
    out = empty(x.shape, x.dtype)
    mean, var = _wide(x, mean, var)
    arrays = contiguous(x), *_wide(x, weight, bias), mean, var, out
    _launch_planes("batch_norm_forward", shape, x, arrays, [eps])
    return out, mean, var


def batch_norm_backward(grad, x, weight, mean, var, eps, training, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False."""
    shape = _as_channels(x)
    mean, var = _wide(x, mean, var)
    rstd = 1 / np.sqrt(var + var.dtype.type(eps))
    wanted = training or any(needs[1:])
    dots, sums = _channel_sums(x, grad, mean, rstd, shape, 0, 1, wanted)
    dx = None
    if needs[0]:
        dx = empty(x.shape, x.dtype)
        arrays = contiguous(grad), contiguous(x), *_wide(x, weight), mean, var
        means = (sums, dots) if training else (None, None)
        count = max(shape[0] * shape[2], 1)
        _launch_planes("batch_norm_backward", shape, x, (*arrays, *means, dx), [count, eps])
    return dx, *_rounded(dots, sums, shape[1:2], x.dtype, needs)


def _normalise_rows(x, statistics, n, groups, length, weight, bias, eps):
    """(out, mean, rstd), the latter of shape `statistics`: one for each row of n elements."""
    wide = accumulation_dtype(x.dtype)
    out, mean, rstd = empty(x.shape, x.dtype), empty(statistics, wide), empty(statistics, wide)
    arrays = contiguous(x), *_wide(x, weight, bias), out, mean, rstd
    grid, block = row_grid(mean.size, n, 1, x.itemsize)
    launch("layer_norm_forward", grid, block, *arrays, mean.size, n, groups, length, eps)
    return out, mean, rstd


def _rows_by_x(grad, x, mean, rstd, weight, groups, length):
    dx = empty(x.shape, x.dtype)
    rows, n = mean.size, x.size // max(mean.size, 1)
    arrays = contiguous(grad), contiguous(x), *_wide(x, weight), mean, rstd, dx
    grid, block = row_grid(rows if n else 0, n, 1, x.itemsize)
    launch("layer_norm_backward", grid, block, *arrays, rows, n, groups, length)
    return dx


def _channel_sums(x, grad, mean, rstd, shape, per_sample, per_group, wanted=True):
    """(dots, sums), each (channels,): see the kernel. (None, None) if they are not wanted."""
    if not wanted:
        return None, None
    samples, channels, length = shape
    x, grad = (None if a is None else contiguous(a) for a in (x, grad))
    dtype = (grad if x is None else x).dtype
    wide = accumulation_dtype(dtype)
    if not samples * channels * length:
        return [np.zeros(channels, wide, like=grad if x is None else x) for _ in range(2)]
    # What lies side by side: is it whole vectors of 16 bytes? Then a warp takes that many channels.
    side = (channels if length == 1 else length) * dtype.itemsize
    starts = [a.data.ptr for a in (x, grad) if a is not None]
    vectors = all(number % 16 == 0 for number in (side, *starts))
    width = 32 if length == 1 else 1
    each = width * 16 // dtype.itemsize if vectors and length == 1 else width
    columns = -(-channels // each)
    most = -(-samples * length * width // (8 * THREADS))  # a share of 8 elements for each thread
    rows = max(min(ENOUGH // max(columns, 1), most), 1)
    sums, dots = (empty((rows, channels), wide) for _ in range(2))
    sizes = samples, channels, length, per_sample, per_group, width, vectors
    arrays = x, grad, mean, rstd, sums, dots
    launch("channel_sums", (columns, rows), THREADS, *arrays, *sizes, dtype=dtype)
    return (dots[0], sums[0]) if rows == 1 else (dots.sum(0), sums.sum(0))


def _rounded(dots, sums, shape, dtype, needs):
    """The gradients of weight and bias, in the type of x; None where not needed."""
    found = zip((dots, sums), needs[1:], strict=True)
    return [a.reshape(shape).astype(dtype, copy=False) if need else None for a, need in found]


def _launch_planes(kernel, shape, x, arrays, numbers):
    samples, channels, length = shape
    rows, n = (samples, channels) if length == 1 else (samples * channels, length)
    grid, block = row_grid(rows if n else 0, n, 1, x.itemsize)
    launch(kernel, grid, block, *arrays, rows, n, channels, length, *numbers)


def _as_channels(x):
    """x's shape as (N, C, L)."""
    return (*x.shape[:2], prod(x.shape[2:]))


def _wide(x, *parameters):
    """The parameters in the type that x is computed in."""
    wide = accumulation_dtype(x.dtype)
    return [None if p is None else contiguous(p.astype(wide, copy=False)) for p in parameters]
