"""Max-pooling and average-pooling over any number of dimensions, and the windows themselves.

All go over the positions of the kernel, not over the windows: for position (i, j) one strided view
of the padded input holds what all the windows see there, so a sum or a maximum over windows is a
running one over k*k such views, in a few NumPy calls on whole images. Inputs are (N, C, *spatial);
kernel_size is a tuple with a number for each spatial dimension, and so may the other sizes be.

Max-pooling also says where each maximum lies, as a flat index into *spatial: backward adds grad
there, and backward's own derivative gathers from there. The first of equal values counts.

PyTorch: aten/src/ATen/native/cpu/MaxPoolKernel.cpp, AvgPoolKernel.cpp, im2col.h.
"""

from __future__ import annotations

import functools
import itertools
from math import prod

import numpy as np

from .blocking import BLOCK, GRAIN, accumulation_dtype, blocks
from .threads import parallel_for

FEW = 1024
"""Windows up to which the number of NumPy calls is what counts."""


def max_pool_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(out, indices) of x: each window's maximum, and where it lies, as int64.

    A nan is taken for the greatest. Raises RuntimeError where no window fits. Mirrors torch's
    max_pool2d_with_indices.
    """
    windows = _windows(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    planes = x.reshape(prod(x.shape[:2]), *x.shape[2:])
    out = np.empty((len(planes), *windows.out), x.dtype)
    indices = np.empty(out.shape, np.int64)
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf

    def work(start, stop):
        for block in blocks(start, stop, windows.block):
            best, place = out[block], indices[block]
            padded = windows.pad(planes[block], lowest)
            maximum = _maximum_of_few if best.size <= FEW else _running_maximum
            number = maximum(windows, padded, best)
            np.add(windows.offsets.take(number), windows.first, out=place)
            if windows.is_padded:
                # In a window of nothing but -inf, the padding must not be the place.
                empty = (best == lowest) & (number == 0)
                np.copyto(place, windows.first_inside, where=empty)

    parallel_for(len(planes), work, windows.grain)
    shape = (*x.shape[:2], *windows.out)
    return out.reshape(shape), indices.reshape(shape)


def _maximum_of_few(windows, padded, best):
    """What _running_maximum does, in the fewest calls; of long arrays argmax is slow."""
    values = np.array([padded[view] for view in windows.views])  # (k*k, n, *out)
    np.maximum.reduce(values, axis=0, out=best)
    if np.isnan(best).any():  # of several nan the last one counts, and argmax takes the first
        return _running_maximum(windows, padded, best)
    return values.argmax(axis=0)


def _running_maximum(windows, padded, best):
    """Fills best with the windows' maxima; returns their positions' numbers, row by row."""
    number = np.zeros(best.shape, np.uint8 if prod(windows.kernel) < 256 else np.intp)
    value, better = np.empty_like(best), np.empty_like(number)

    def run(nan):
        np.copyto(best, padded[windows.views[0]])
        for i, view in enumerate(windows.views[1:], start=1):
            np.copyto(value, padded[view])  # the strided access once, not for each use
            grows = value > best
            if nan:
                grows |= np.isnan(value)
            # Later positions have greater numbers: a maximum instead of a masked assignment,
            # which would stumble over branches that nobody can predict.
            np.multiply(grows.view(np.uint8), number.dtype.type(i), out=better)
            np.maximum(number, better, out=number)
            np.maximum(best, value, out=best)  # keeps nan

    run(nan=False)
    if best.dtype.kind not in "iu" and np.isnan(best).any():
        number.fill(0)
        run(nan=True)
    return number


def max_pool_backward(grad, indices, input_shape):
    """The gradient for x, of input_shape: zeros, plus grad at its indices.

    Mirrors torch's max_pool2d_with_indices_backward.
    """
    size, n = prod(input_shape[2:]), prod(input_shape[:2])
    dx = np.zeros(n * size, accumulation_dtype(grad.dtype))
    places = indices.reshape(n, -1) + (np.arange(n) * size)[:, None] if n else indices
    np.add.at(dx, places.reshape(-1), grad.reshape(-1).astype(dx.dtype, copy=False))
    return dx.reshape(input_shape).astype(grad.dtype, copy=False)


def max_pool_gather(x, indices):
    """The entries of x (N, C, *) at flat indices (N, C, *): the derivative of backward for grad."""
    n = prod(indices.shape[:2])
    flat = x.reshape(n, prod(x.shape[2:]))
    picked = np.take_along_axis(flat, indices.reshape(n, prod(indices.shape[2:])), axis=1)
    return picked.reshape(indices.shape)


def avg_pool_forward(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """The means of the windows of x. Mirrors torch's avg_pool2d."""
    windows = _windows(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    dtype = accumulation_dtype(x.dtype)
    divisor = windows.divisor(count_include_pad, divisor_override).astype(dtype)
    planes = x.reshape(prod(x.shape[:2]), *x.shape[2:])
    out = np.empty((len(planes), *windows.out), x.dtype)

    def work(start, stop):
        for block in blocks(start, stop, windows.block):
            padded = windows.pad(planes[block].astype(dtype, copy=False), 0)
            total = np.zeros(out[block].shape, dtype)
            for view in windows.views:
                total += padded[view]
            np.divide(total, divisor, out=out[block], casting="unsafe")

    parallel_for(len(planes), work, windows.grain)
    return out.reshape(*x.shape[:2], *windows.out)


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
    """The gradient for x, of input_shape: grad / count, added to all of a window's entries.

    Linear in grad, so its derivative is avg_pool_forward. Mirrors torch's avg_pool_backward.
    """
    windows = _windows(input_shape, kernel_size, stride, padding, 1, ceil_mode)
    dtype = accumulation_dtype(grad.dtype)
    divisor = windows.divisor(count_include_pad, divisor_override).astype(dtype)
    grads = grad.reshape(prod(input_shape[:2]), *windows.out)
    dx = np.empty((len(grads), *input_shape[2:]), grad.dtype)

    def work(start, stop):
        for block in blocks(start, stop, windows.block):
            padded = np.zeros((block.stop - block.start, *windows.padded), dtype)
            share = grads[block] / divisor
            for view in windows.views:
                padded[view] += share
            dx[block] = padded[windows.interior]

    parallel_for(len(grads), work, windows.grain)
    return dx.reshape(input_shape)


def unfold(x, kernel_size, stride=1, padding=0, dilation=1):
    """The windows of x as columns: (N, C * kernel elements, windows). Mirrors torch's im2col."""
    windows = _windows(x.shape, kernel_size, stride, padding, dilation, False)
    planes = windows.pad(x.reshape(prod(x.shape[:2]), *x.shape[2:]), 0)
    columns = np.empty((len(planes), len(windows.views), *windows.out), x.dtype)
    for i, view in enumerate(windows.views):
        columns[:, i] = planes[view]
    return columns.reshape(len(x), x.shape[1] * len(windows.views), prod(windows.out))


def fold(columns, input_shape, kernel_size, stride=1, padding=0, dilation=1):
    """The reverse of unfold: adds the columns to their places in zeros of input_shape.

    Each is the derivative of the other. Mirrors torch's col2im.
    """
    windows = _windows(input_shape, kernel_size, stride, padding, dilation, False)
    padded = np.zeros((prod(input_shape[:2]), *windows.padded), columns.dtype)
    columns = columns.reshape(len(padded), len(windows.views), *windows.out)
    for i, view in enumerate(windows.views):
        padded[view] += columns[:, i]
    return padded[windows.interior].reshape(input_shape)


def adaptive_max_pool(x, output_size):
    """(out, indices) of x: the maxima of output_size windows, as equal as they can be.

    Window i of n over m entries is from floor(i m / n) to ceil((i + 1) m / n).
    """
    spatial = x.shape[2:]
    places = []  # for each dimension (windows, entries), the last one again where there are fewer
    for m, n in zip(spatial, output_size, strict=True):
        start, stop = adaptive_windows(m, n)
        entries = start[:, None] + np.arange(max((stop - start).max(initial=0), 1))
        places.append(np.minimum(entries, stop[:, None] - 1))
    flat = places[0]
    for m, place in zip(spatial[1:], places[1:], strict=True):
        flat = np.add.outer(flat * m, place)
    d = len(spatial)  # (o1, k1, o2, k2, ...) -> (o1, o2, ..., all k)
    flat = flat.transpose(*range(0, 2 * d, 2), *range(1, 2 * d, 2)).reshape(*output_size, -1)
    values = x.reshape(*x.shape[:2], -1)[:, :, flat]
    best = values.argmax(-1)[..., None]
    indices = np.take_along_axis(np.broadcast_to(flat, values.shape), best, -1)[..., 0]
    return np.take_along_axis(values, best, -1)[..., 0], indices


def adaptive_windows(m: int, n: int):
    """Where each of n windows over m entries starts and stops."""
    i = np.arange(n)
    return i * m // max(n, 1), -(-(i + 1) * m // max(n, 1))


def _windows(*sizes) -> _Windows:
    """The windows for these sizes, made once: for small images that is most of the work."""
    return _cached_windows(*[tuple(size) if type(size) is list else size for size in sizes])


class _Windows:
    """Where the windows of a pooling lie. Mirrors aten/src/ATen/native/Pool.h for the sizes."""

    def __init__(self, input_shape, kernel_size, stride, padding, dilation, ceil_mode):
        self.kernel, n = kernel_size, len(kernel_size)
        self.padding, self.dilation = _each(padding, n), _each(dilation, n)
        self.stride = self.kernel if stride is None else _each(stride, n)
        self.input, self.is_padded = tuple(input_shape[2:]), any(self.padding)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        self.out = tuple(
            _count(h, r, s, p, ceil_mode)
            for h, r, s, p in zip(self.input, reach, self.stride, self.padding, strict=True)
        )
        if min(self.out) < 1:
            raise RuntimeError(
                f"Given input size: {_sizes(input_shape[1:])}. Calculated output size: "
                f"{_sizes((input_shape[1], *self.out))}. Output size is too small"
            )
        # Of the padding at the end there may be too much, or with ceil_mode too little.
        self.padded = tuple(
            max((o - 1) * s + r, p + h)
            for o, s, r, p, h in zip(
                self.out, self.stride, reach, self.padding, self.input, strict=True
            )
        )
        self.interior = (
            ...,
            *(slice(p, p + h) for p, h in zip(self.padding, self.input, strict=True)),
        )
        # Flat indices into *spatial: each window's first entry (in the padding it is out of range),
        # its first entry that is not padding, and from the first to each position of the kernel.
        first = [
            np.arange(o) * s - p
            for o, s, p in zip(self.out, self.stride, self.padding, strict=True)
        ]
        inside = [
            f + np.maximum(-(f // d), 0) * d for f, d in zip(first, self.dilation, strict=True)
        ]
        steps = [np.arange(k) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        self.first, self.first_inside, self.offsets = map(self.flat, (first, inside, steps))
        # Into padded planes (n, *spatial): what all windows (n, *out) see at each kernel position.
        self.views = [
            (
                slice(None),
                *(
                    slice(i, i + (o - 1) * s + 1, s)
                    for i, o, s in zip(position, self.out, self.stride, strict=True)
                ),
            )
            for position in itertools.product(*steps)
        ]
        self.block = BLOCK // max(prod(self.padded), 1)
        self.grain = GRAIN // max(prod(self.padded), 1)

    def flat(self, places):
        """Places along each dimension as flat indices into *spatial, of all combinations."""
        flat = places[0]
        for size, place in zip(self.input[1:], places[1:], strict=True):
            flat = np.add.outer(flat * size, place)
        return flat

    def pad(self, planes, value):
        """planes (n, *spatial) with `value` around them."""
        if self.padded == self.input:
            return planes
        padded = np.full((len(planes), *self.padded), value, planes.dtype)
        padded[self.interior] = planes
        return padded

    @functools.lru_cache(maxsize=256)  # noqa: B019 (the windows are in a cache themselves)
    def divisor(self, count_include_pad, override):
        """How many entries each window's mean is over, (*out)."""
        if override is not None:
            return np.full(self.out, override)
        counts = []
        for o, s, p, k, h in zip(
            self.out, self.stride, self.padding, self.kernel, self.input, strict=True
        ):
            start = np.arange(o) * s - p
            stop = np.minimum(start + k, h + p)  # beyond, there is not even padding
            if not count_include_pad:
                start, stop = np.maximum(start, 0), np.minimum(stop, h)
            counts.append(stop - start)
        return functools.reduce(np.multiply.outer, counts)


_cached_windows = functools.lru_cache(maxsize=256)(_Windows)


def _count(size, reach, stride, padding, ceil_mode):
    """How many windows fit along one dimension."""
    room = size + 2 * padding - reach
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window would begin in the padding at the end
    return count


def _each(value, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _sizes(sizes) -> str:
    return "(" + "x".join(str(s) for s in sizes) + ")"
