"""Pooling: one number for each window, by PyTorch's names and arguments.

One body serves one, two and three dimensions. PyTorch: aten/src/ATen/native/Pool.h,
AdaptiveAveragePooling.cpp, MaxUnpooling.cpp.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ... import devices
from ...dispatch.declare import composite
from ...kernels.cpu.pool import adaptive_windows
from ...ops.index import index_put
from ...ops.pool import _adaptive_max_pool, _avg_pool, _max_pool
from ...tensor import wrap_beside
from .convolution import each, hashable


def _named(function, name: str, doc: str, top_level=False, out=False):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Mirrors torch.nn.functional.{name}."
    if not top_level and not out:
        return function
    return composite(function, method=False, function=top_level, out=out)


def _check(name: str, shape: tuple, spatial: int) -> None:
    if len(shape) not in (spatial + 1, spatial + 2) or 0 in shape[-spatial - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {spatial + 1}D or {spatial + 2}D (batch mode) tensor with optional "
            f"0 dim batch size for input, but got: {list(shape)}"
        )


@functools.lru_cache(maxsize=512)
def _arranged(name, n: int, shape, kernel_size, stride, padding, dilation=1) -> tuple:
    """kernel_size, stride, padding, dilation for each of n dimensions, all checked."""
    _check(name, shape, n)
    kernel = each(kernel_size, n, "kernel_size")
    stride = kernel if stride is None or stride == () else each(stride, n, "stride")
    padding, dilation = each(padding, n, "padding"), each(dilation, n, "dilation")
    for what, values in (("kernel size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(values) <= 0:
            raise RuntimeError(f"{name}: {what} should be greater than zero, but got {values}")
    if min(padding) < 0:
        raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {padding}")
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise RuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={max(padding)}, "
            f"kernel_size={min(kernel)} and dilation={max(dilation)}"
        )
    return kernel, stride, padding, dilation


def _max_pooling(n: int):
    def max_pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ):
        shape = input.array.shape
        options = hashable(kernel_size, stride, padding, dilation)
        sizes = _arranged(f"max_pool{n}d", n, shape, *options)
        unbatched = len(shape) == n + 1
        pooled = _max_pool(input.unsqueeze(0) if unbatched else input, *sizes, ceil_mode)
        out, indices = [t.squeeze(0) for t in pooled] if unbatched else pooled
        return (out, indices) if return_indices else out

    doc = f"""The largest element of every window: (N, C, *) -> (N, C, *); N may be missing.

    {n} spatial dimensions. return_indices: also where it was, as a flat index into *."""
    return _named(max_pool, f"max_pool{n}d", doc, top_level=True)


def _avg_pooling(n: int):
    def avg_pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        shape = input.array.shape
        sizes = hashable(kernel_size, stride, padding)
        kernel, stride, padding, _ = _arranged(f"avg_pool{n}d", n, shape, *sizes)
        if divisor_override == 0:
            raise RuntimeError("divisor must be not zero")
        options = (kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
        unbatched = len(shape) == n + 1
        out = _avg_pool(input.unsqueeze(0) if unbatched else input, *options)
        return out.squeeze(0) if unbatched else out

    doc = f"""The mean of every window: (N, C, *) -> (N, C, *); N may be missing.

    {n} spatial dimensions. The mean is over the window's elements, with padding if
    `count_include_pad`, or `divisor_override`."""
    return _named(avg_pool, f"avg_pool{n}d", doc, top_level=n == 1, out=n > 1)


max_pool1d, max_pool2d, max_pool3d = map(_max_pooling, (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = map(_avg_pooling, (1, 2, 3))


# To a given size


def _output_size(name: str, input, output_size, n: int) -> tuple[int, ...]:
    values = (output_size,) * n if isinstance(output_size, int | None) else tuple(output_size)
    if n > 1 and input.ndim < n + 1:
        raise ValueError(f"Input dimension should be at least {n + 1}, got {input.ndim}")
    if len(values) != n or input.ndim not in (n + 1, n + 2) or 0 in input.shape[-n:]:
        raise RuntimeError(
            f"{name}: expected {n + 1}D or {n + 2}D input with non-zero spatial size and {n} "
            f"output sizes, but got {list(input.shape)} and {output_size}"
        )
    sizes = tuple(m if v is None else v for v, m in zip(values, input.shape[-n:], strict=True))
    if min(sizes) < 0:
        raise RuntimeError(f"{name}: elements of output_size must be non-negative, got {sizes}")
    return sizes


def _adaptive_avg_pooling(n: int):
    name = f"adaptive_avg_pool{n}d"

    def adaptive_avg_pool(input, output_size):
        sizes = _output_size(name, input, output_size, n)
        out = input
        for dim, size in enumerate(sizes, start=input.ndim - n):
            if size != input.shape[dim]:
                out = _averaged(out, dim, size)
        return out.contiguous() if out is not input else input.clone()

    doc = f"""The means of windows that are as equal as they can be: (N, C, *) -> (N, C, *sizes).

    {n} spatial dimensions; output_size: None keeps a dimension's."""
    return _named(adaptive_avg_pool, name, doc, top_level=n == 1)


def _averaged(input, dim: int, size: int):
    """The means of `size` windows along `dim`."""
    extent = input.shape[dim]
    if size and extent % size == 0:
        return input.unflatten(dim, (size, extent // size)).mean(dim + 1)
    start, stop = (place[:, None] for place in adaptive_windows(extent, size))
    entry = np.arange(extent)
    share = ((start <= entry) & (entry < stop)) / (stop - start)  # (windows, entries)
    matrix = wrap_beside(share.T.astype(input.array.dtype), input)
    return (input.transpose(dim, -1) @ matrix).transpose(dim, -1)


def _adaptive_max_pooling(n: int):
    name = f"adaptive_max_pool{n}d"

    def adaptive_max_pool(input, output_size, return_indices=False):
        sizes = _output_size(name, input, output_size, n)
        unbatched = input.ndim == n + 1
        pooled = _adaptive_max_pool(input.unsqueeze(0) if unbatched else input, sizes)
        out, indices = [t.squeeze(0) for t in pooled] if unbatched else pooled
        return (out, indices) if return_indices else out

    doc = f"""The maxima of windows that are as equal as they can be: (N, C, *) -> (N, C, *sizes).

    {n} spatial dimensions; output_size: None keeps a dimension's."""
    return _named(adaptive_max_pool, name, doc, top_level=n == 1)


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(
    _adaptive_avg_pooling, (1, 2, 3)
)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(
    _adaptive_max_pooling, (1, 2, 3)
)

# Others


def _lp_pooling(n: int):
    average = (avg_pool1d, avg_pool2d, avg_pool3d)[n - 1]
    largest = (max_pool1d, max_pool2d, max_pool3d)[n - 1]

    def lp_pool(input, norm_type, kernel_size, stride=None, ceil_mode=False):
        kernel = each(kernel_size, n, "kernel_size")
        if abs(norm_type) == math.inf:
            sign = 1 if norm_type > 0 else -1
            return sign * largest(sign * input.abs(), kernel, stride, 0, 1, ceil_mode)
        mean = average(input**norm_type, kernel, stride, 0, ceil_mode)
        return (mean * math.prod(kernel)) ** (1 / norm_type)

    doc = f"""(the sum of x ** norm_type over every window) ** (1 / norm_type).

    {n} spatial dimensions."""
    return _named(lp_pool, f"lp_pool{n}d", doc)


lp_pool1d, lp_pool2d, lp_pool3d = map(_lp_pooling, (1, 2, 3))


def _max_unpooling(n: int):
    name = f"max_unpool{n}d"

    @devices.on_its_device
    def max_unpool(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        if input.shape != indices.shape:
            raise RuntimeError(
                f"Expected shape of indices to be: {list(input.shape)} but got: "
                f"{list(indices.shape)}"
            )
        _check(name, input.shape, n)
        x = input if input.ndim == n + 2 else input.unsqueeze(0)
        kernel = each(kernel_size, n, "kernel_size")
        stride = kernel if stride is None else each(stride, n, "stride")
        if min(stride) <= 0:
            raise RuntimeError(f"strides should be greater than zero, but got stride: {stride}")
        default = [
            (m - 1) * s + k - 2 * p
            for m, s, k, p in zip(
                x.shape[2:], stride, kernel, each(padding, n, "padding"), strict=True
            )
        ]
        size = default if output_size is None else list(output_size)[-n:]
        if any(abs(a - d) >= s for a, d, s in zip(size, default, stride, strict=True)):
            raise ValueError(
                f"invalid output_size {tuple(size)} (each must be within the stride of {default})"
            )
        planes, elements = x.shape[0] * x.shape[1], math.prod(size)
        places = indices.array.reshape(planes, -1)
        if places.size and not 0 <= places.min() <= places.max() < elements:
            raise RuntimeError(
                f"Found an invalid max index: the indices go from {places.min()} to "
                f"{places.max()}, but output_size {tuple(size)} has {elements} elements"
            )
        rows = np.arange(planes, like=places)[:, None]
        zeros = x.new_zeros(planes, elements)
        out = index_put(zeros, (rows, places), x.reshape(planes, -1))
        return out.reshape(*input.shape[: input.ndim - n], *size)

    doc = f"""Zeros, with `input` where max_pool{n}d found its maxima: `indices`.

    output_size: where it is not the smallest that pools to input's size."""
    return _named(max_unpool, name, doc)


max_unpool1d, max_unpool2d, max_unpool3d = map(_max_unpooling, (1, 2, 3))
