"""Convolution over any number of spatial dimensions, as a matrix product.

Each output position sees a patch of the input. Laid out as columns (im2col), the patches of a
sample make a matrix, and the convolution is

    out (O, positions) = weight (O, C*k*k) @ columns (C*k*k, positions)

The columns are k*k times as large as the input. So they are made for a block of samples (or, of
large images, a block of rows) at a time, in a buffer that stays in a core's cache between being
written and being read by the matrix product. Threads split the samples.

Convolution is linear in x and linear in weight, so its derivatives are the two other ways to pair
off grad, x and weight, and each of the three functions has the other two as its derivatives:

    forward:          out = weight @ columns(x)
    backward_weight:  dw  = grad @ columns(x).T             summed over samples
    backward_input:   dx  = col2im(weight.T @ grad)         col2im adds each patch to its place

Backward_input is where the time went, since col2im has to add up k*k overlapping images of short
rows. With stride 1 there is a quicker way. Suppose that grad is as wide as the padded input (zeros
fill up each row); then the patch entries of one kernel position (i, j) are the flat image shifted
by i*width + j. So dx is the sum of k*k flat arrays, each read at its own shift: one np.add.reduce
over a view whose stride along the kernel is "one array onwards, and one place back". NumPy runs it
as long loops in which the sums stay in L1: four times as quick as adding image after image.

PyTorch: aten/src/ATen/native/ConvolutionMM2d.cpp; oneDNN.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import prod

import numpy as np

from .blocking import accumulation_dtype, blocks, strided_view
from .threads import parallel_for

COLUMNS = 1 << 18
"""Elements of columns made at a time: 1 MB of float32, about the size of an L2 cache."""


def conv_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlates x (N, C, *spatial) with weight (O, C/groups, *kernel), adds bias (O,).

    stride, padding and dilation: an int, or one for each spatial dimension. Returns
    (N, O, *out spatial). Raises RuntimeError where the kernel is larger than the padded input.
    Mirrors torch.nn.functional.conv1d, conv2d and conv3d.
    """
    dtype = accumulation_dtype(x.dtype)
    plan = _plan(x.shape, weight.shape, stride, padding, dilation, groups, dtype)
    out = np.empty((len(x), plan.channels_out, *plan.out), x.dtype)
    w = weight.astype(dtype, copy=False).reshape(groups, plan.channels_out // groups, -1)
    if bias is not None:
        bias = bias.reshape(-1, *[1] * len(plan.out))

    def work(start, stop):
        for samples, rows, columns in _im2col(x, plan, start, stop):
            target = out[samples, :, rows]
            # (g, O/g, C/g*k*k) @ (n, g, C/g*k*k, positions)
            np.matmul(w, columns, out=plan.matrices(target), casting="unsafe")
            if bias is not None:
                target += bias

    parallel_for(len(x), work, plan.grain)
    return out


def conv_backward_weight(grad, x, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv_forward for weight: grad (N, O, *out spatial), returns `weight_shape`.

    Mirrors torch.nn.grad.conv2d_weight. (The gradient for bias is grad's sum over all but O.)
    """
    dtype = accumulation_dtype(x.dtype)
    plan = _plan(x.shape, weight_shape, stride, padding, dilation, groups, dtype)

    def work(start, stop):
        # Transposed, because OpenBLAS is quicker at columns @ grad.T than at grad @ columns.T.
        dw = np.zeros((groups, prod(weight_shape[1:]), plan.channels_out // groups), dtype)
        for samples, rows, columns in _im2col(x, plan, start, stop):
            g = plan.matrices(grad[samples, :, rows].astype(dtype, copy=False))
            # (n, g, C/g*k*k, positions) @ (n, g, positions, O/g)
            dw += np.matmul(columns, g.swapaxes(-1, -2)).sum(0)
        return dw

    dw, *others = parallel_for(len(x), work, plan.grain)
    for other in others:
        dw += other
    dw = np.ascontiguousarray(dw.swapaxes(-1, -2), x.dtype)
    return dw.reshape(weight_shape)


def conv_backward_input(grad, weight, input_shape, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv_forward for x: grad (N, O, *out spatial), returns `input_shape`.

    Mirrors torch.nn.grad.conv2d_input. It is also the forward of a transposed convolution.
    """
    dtype = accumulation_dtype(grad.dtype)
    plan = _plan(input_shape, weight.shape, stride, padding, dilation, groups, dtype)
    kernel = prod(plan.kernel)
    # One matrix (C/g * k*k, O/g) a group; a block of channels is a block of its rows.
    w = weight.astype(dtype, copy=False).reshape(groups, plan.channels_out // groups, -1)
    w = w.swapaxes(-1, -2)
    dx = np.empty(input_shape, grad.dtype)
    dx_groups = dx.reshape(len(dx), groups, plan.channels // groups, *input_shape[2:])

    def work(start, stop):
        col2im = _Gather(plan) if plan.stride_1 else _Scatter(plan)
        for samples in blocks(start, stop, plan.samples):
            g = col2im.prepare(grad[samples])
            for channels in blocks(0, plan.channels // groups, plan.group_channels):
                rows = w[:, channels.start * kernel : channels.stop * kernel]
                dx_groups[samples, :, channels] = col2im.images(rows, g)[plan.interior]

    parallel_for(len(grad), work, plan.grain)
    return dx


def _plan(*sizes) -> _Plan:
    """The plan for these sizes, made once: for a small convolution it is most of the work."""
    return _cached_plan(*[tuple(size) if type(size) is list else size for size in sizes])


class _Plan:
    """The sizes of a convolution, and the blocks it is cut into."""

    def __init__(self, input_shape, weight_shape, stride, padding, dilation, groups, dtype):
        spatial, self.kernel = input_shape[2:], weight_shape[2:]
        n = len(spatial)
        self.stride, padding, self.dilation = (_each(v, n) for v in (stride, padding, dilation))
        self.stride_1 = set(self.stride) == {1}
        self.dtype, self.groups = dtype, groups
        self.channels, self.channels_out = input_shape[1], weight_shape[0]
        if self.channels != weight_shape[1] * groups or self.channels_out % groups:
            raise RuntimeError(
                f"Given groups={groups}, weight of size {list(weight_shape)}, expected input"
                f"{list(input_shape)} to have {weight_shape[1] * groups} channels, but got "
                f"{self.channels} channels instead"
            )
        self.is_padded = any(padding)
        self.padded = tuple(s + 2 * p for s, p in zip(spatial, padding, strict=True))
        self.interior = (..., *(slice(p, p + s) for s, p in zip(spatial, padding, strict=True)))
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        if any(r > p for r, p in zip(reach, self.padded, strict=True)):
            raise RuntimeError(
                f"Calculated padded input size per channel: {_sizes(self.padded)}. "
                f"Kernel size: {_sizes(reach)}. Kernel size can't be greater than actual input size"
            )
        self.out = tuple(
            (p - r) // s + 1 for p, r, s in zip(self.padded, reach, self.stride, strict=True)
        )
        self.row = prod(self.out[1:])  # positions in a row of the output
        channel = prod(self.kernel) * prod(self.out)  # columns of one channel, in elements
        sample = max(self.channels * channel, 1)
        self.samples = max(min(COLUMNS // sample, input_shape[0]), 1)
        self.rows = -(-self.out[0] // -(-sample // COLUMNS))  # -(-a // b) rounds up
        self.group_channels = max(COLUMNS // max(self.samples * groups * channel, 1), 1)
        flops = 2 * sample * self.channels_out // groups
        # Strides of a padded image; of its windows, along the kernel and the output.
        steps = [prod(self.padded[i + 1 :]) for i in range(n)]
        shifts = [d * s for d, s in zip(self.dilation, steps, strict=True)]
        over_output = [t * s for t, s in zip(self.stride, steps, strict=True)]
        self.windows = self.bytes(*shifts, *over_output)
        # For _Gather: how far the kernel's positions shift the flat image at most, the length of a
        # row of the columns without and with that gap, and the strides of an image's entries.
        self.gap = sum((k - 1) * s for k, s in zip(self.kernel, shifts, strict=True))
        self.length = self.out[0] * steps[0]
        self.pitch = pitch = self.gap + self.length
        rows_after = [prod(self.kernel[i + 1 :]) for i in range(n)]
        over_kernel = [r * pitch - s for r, s in zip(rows_after, shifts, strict=True)]
        self.entries = self.bytes(prod(self.kernel) * pitch, *over_kernel, 1)
        self.grain = max(2_000_000 // max(flops, 1), 1)  # some 20 us of work for each thread

    def bytes(self, *strides) -> tuple[int, ...]:
        """Strides counted in entries, as NumPy wants them."""
        return tuple(s * self.dtype.itemsize for s in strides)

    def matrices(self, array):
        """(n, C, *positions) as matrices (n, groups, C/groups, positions): a view if it can be."""
        return array.reshape(len(array), self.groups, -1, prod(array.shape[2:]))


_cached_plan = functools.lru_cache(maxsize=256)(_Plan)


def _im2col(x, plan, start, stop) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yields (samples, rows of the output, their columns) over samples start to stop of x.

    The columns are (n, groups, C/groups*k*k, positions), valid until the next ones are made.
    """
    n = min(plan.samples, stop - start)  # at a time
    copied = plan.is_padded or x.dtype != plan.dtype or not x.flags.c_contiguous
    images = np.zeros((n, plan.channels, *plan.padded), plan.dtype) if copied else x
    buffer = np.empty(n * plan.channels * prod(plan.kernel) * plan.row * plan.rows, plan.dtype)
    every = (slice(None),) * (2 + len(plan.kernel))
    for samples in blocks(start, stop, n):
        count = samples.stop - samples.start
        if copied:
            images[:count][plan.interior] = x[samples]
        windows = _windows(images[:count] if copied else x[samples], plan)
        for rows in blocks(0, plan.out[0], plan.rows):
            patches = windows[*every, rows]
            columns = patches
            if not patches.flags.c_contiguous:  # as they are for a kernel of 1x1
                columns = buffer[: patches.size].reshape(patches.shape)
                np.copyto(columns, patches)
            positions = plan.row * (rows.stop - rows.start)
            yield samples, rows, columns.reshape(count, plan.groups, -1, positions)


def _windows(images, plan):
    """(n, C, *kernel, *out): a view of padded images; each entry is the one its patch sees."""
    shape = (*images.shape[:2], *plan.kernel, *plan.out)
    return strided_view(images, shape, (*images.strides[:2], *plan.windows))


class _Scatter:
    """col2im(weight.T @ grad) for any stride: adds the columns kernel position by position."""

    def __init__(self, plan):
        self.plan = plan

    def prepare(self, grad):
        """grad as matrices (n, groups, O/groups, positions)."""
        return self.plan.matrices(grad.astype(self.plan.dtype, copy=False))

    def images(self, w, g):
        """Padded images (n, groups, c, *padded) of w (groups, c*k*k, O/groups) and prepared g."""
        plan = self.plan
        columns = np.matmul(w, g).reshape(len(g), -1, *plan.kernel, *plan.out)
        images = np.zeros((*columns.shape[:2], *plan.padded), plan.dtype)
        windows = _windows(images, plan)
        for position in np.ndindex(*plan.kernel):
            windows[:, :, *position] += columns[:, :, *position]
        return images.reshape(len(g), plan.groups, -1, *plan.padded)


class _Gather:
    """The same for stride 1: each pixel sums the k*k column entries that belong to it.

    Each row of the columns lies in a buffer behind a gap of zeros: the first pixels look for
    entries before a row's beginning, and the last ones beyond its end. (The zeros that widen grad
    meet the weights too, so a weight of inf makes nan of more pixels than it must.)
    """

    def __init__(self, plan):
        self.plan = plan
        channels = plan.samples * min(plan.groups * plan.group_channels, plan.channels)
        rows = channels * prod(plan.kernel)
        self.buffer = np.zeros(rows * plan.pitch + plan.gap, plan.dtype)
        wide = (plan.samples, plan.channels_out, plan.out[0], *plan.padded[1:])
        self.wide = np.zeros(wide, plan.dtype)  # what widens grad stays zero from block to block

    def prepare(self, grad):
        """grad as wide as the padded input, as matrices (n, groups, O/groups, positions)."""
        plan = self.plan
        wide = self.wide[: len(grad)]
        wide[..., *(slice(o) for o in plan.out[1:])] = grad
        return plan.matrices(wide)

    def images(self, w, g):
        """Padded images (n, groups, c, *padded) of w (groups, c*k*k, O/groups) and prepared g."""
        plan = self.plan
        shape = (len(g), plan.groups, w.shape[1], plan.pitch)
        columns = self.buffer[: prod(shape)].reshape(shape)[..., plan.gap :]
        np.matmul(w, g, out=columns)
        channels = prod(shape[:3]) // prod(plan.kernel)
        shape = (channels, *plan.kernel, prod(plan.padded))
        entries = strided_view(self.buffer, shape, plan.entries, plan.gap)
        images = np.add.reduce(entries, axis=tuple(range(1, 1 + len(plan.kernel))))
        return images.reshape(len(g), plan.groups, -1, *plan.padded)


def _each(value, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _sizes(sizes) -> str:
    return "(" + " x ".join(str(s) for s in sizes) + ")"
