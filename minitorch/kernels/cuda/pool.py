"""Pooling, and windows as columns: pool.cu and im2col.cu. The twin of kernels/cpu/pool.py."""

from __future__ import annotations

from math import prod

import numpy as np

from ..cpu.blocking import accumulation_dtype
from ..cpu.pool import _windows, max_pool_gather
from . import windows
from .launch import THREADS, blocks, contiguous, empty, launch

__all__ = [
    "adaptive_max_pool",
    "avg_pool_backward",
    "avg_pool_forward",
    "fold",
    "max_pool_backward",
    "max_pool_forward",
    "max_pool_gather",  # plain NumPy
    "unfold",
]


def _on_device(w):
    return windows.on_device(w.input, w.kernel, w.stride, w.padding, w.dilation, w.out)


def _launch(name: str, count: int, *args) -> None:
    launch(name, blocks(count), THREADS, *args, count)


def max_pool_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    w = _windows(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(x, _on_device(w), w.out)


def adaptive_max_pool(x, output_size):
    n = len(output_size)
    sizes = windows.on_device(x.shape[2:], *[(1,) * n, (0,) * n, (0,) * n, (1,) * n], output_size)
    return _max_pool(x, sizes, output_size)


def _max_pool(x, sizes, size):
    out = empty((*x.shape[:2], *size), x.dtype)
    indices = empty(out.shape, np.int64)
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    _launch("max_pool_forward", out.size, contiguous(x), out, indices, sizes, least)
    return out, indices


def max_pool_backward(grad, indices, input_shape):
    dx = np.zeros_like(grad, accumulation_dtype(grad.dtype), shape=input_shape, order="C")
    sizes = prod(input_shape[2:]), prod(grad.shape[2:])
    _launch("max_pool_backward", grad.size, contiguous(grad), contiguous(indices), dx, *sizes)
    return dx.astype(grad.dtype, copy=False)


def avg_pool_forward(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    w = _windows(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    out = empty((*x.shape[:2], *w.out), x.dtype)
    options = int(count_include_pad), divisor_override or 0
    _launch("avg_pool_forward", out.size, contiguous(x), out, _on_device(w), *options)
    return out


def avg_pool_backward(
    grad,
    input_shape,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    w = _windows(input_shape, kernel_size, stride, padding, 1, ceil_mode)
    dx = empty(input_shape, grad.dtype)
    options = int(count_include_pad), divisor_override or 0
    _launch("avg_pool_backward", dx.size, contiguous(grad), dx, _on_device(w), *options)
    return dx


def unfold(x, kernel_size, stride=1, padding=0, dilation=1):
    if x.dtype.kind == "c":
        return windows.by_parts(lambda x: unfold(x, kernel_size, stride, padding, dilation), x)
    w = _windows(x.shape, kernel_size, stride, padding, dilation, False)
    n, channels, positions = x.shape[0], x.shape[1], prod(w.out)
    rows = channels * prod(w.kernel)
    columns = empty((n, rows, positions), x.dtype)
    strides = rows * positions, positions
    arrays = contiguous(x), columns, _on_device(w)
    _launch("im2col", columns.size, *arrays, channels, *strides)
    return columns


def fold(columns, input_shape, kernel_size, stride=1, padding=0, dilation=1):
    if columns.dtype.kind == "c":
        sizes = input_shape, kernel_size, stride, padding, dilation
        return windows.by_parts(lambda columns: fold(columns, *sizes), columns)
    w = _windows(input_shape, kernel_size, stride, padding, dilation, False)
    x = empty(input_shape, columns.dtype)
    strides = columns.shape[1] * columns.shape[2], columns.shape[2]
    arrays = contiguous(columns), x, _on_device(w)
    _launch("col2im", x.size, *arrays, input_shape[1], *strides)
    return x
