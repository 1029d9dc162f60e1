"""Convolution as a matrix product: columns by im2col.cu, products by matmul.

The columns of several samples lie side by side, (C*k*k, N, positions), so that each of the three
functions is one large product of matrices for a group,

    forward:          out (O, N*positions) = weight (O, C*k*k) @ columns
    backward_weight:  dw = grad (O, N*positions) @ columns.T
    backward_input:   dx = col2im(weight.T @ grad)

and what it costs is that out and grad, (N, O, positions) outside, are copied into another order.
The twin of kernels/cpu/conv.py. PyTorch calls cuDNN.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..cpu.blocking import accumulation_dtype
from ..cpu.blocking import blocks as slices
from ..cpu.conv import _plan
from . import windows
from .launch import THREADS, blocks, contiguous, empty, launch
from .matmul import matmul

COLUMNS = 1 << 27
"""Elements of columns made at a time: half a gigabyte of float32."""


def conv_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    layout = _Layout(x.shape, weight.shape, stride, padding, dilation, groups, x.dtype)
    out = empty((len(x), len(weight), *layout.plan.out), x.dtype)
    w = weight.reshape(groups, -1, layout.rows)
    bias = None if bias is None else bias.reshape(-1, *[1] * len(layout.plan.out))
    for samples in layout.blocks():
        product = layout.outside(matmul(w, layout.columns(x[samples])))
        target = out[samples]
        if bias is None:
            target[...] = product
        else:
            np.add(product, bias, out=target, casting="same_kind")
    return out


def conv_backward_weight(grad, x, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    layout = _Layout(x.shape, weight_shape, stride, padding, dilation, groups, x.dtype)
    shape = groups, weight_shape[0] // groups, layout.rows
    dw = np.zeros_like(grad, accumulation_dtype(grad.dtype), shape=shape, order="C")
    for samples in layout.blocks():
        columns = layout.columns(x[samples])
        dw += matmul(layout.inside(grad[samples]), columns.swapaxes(1, 2))
    return dw.astype(grad.dtype, copy=False).reshape(weight_shape)


def conv_backward_input(grad, weight, input_shape, stride=1, padding=0, dilation=1, groups=1):
    layout = _Layout(input_shape, weight.shape, stride, padding, dilation, groups, grad.dtype)
    dx = empty(input_shape, grad.dtype)
    w = weight.reshape(groups, -1, layout.rows).swapaxes(1, 2)
    for samples in layout.blocks():
        layout.images(matmul(w, layout.inside(grad[samples])), dx[samples])
    return dx


class _Layout:
    """Where the columns of a convolution lie."""

    def __init__(self, input_shape, weight_shape, stride, padding, dilation, groups, dtype):
        sizes = input_shape, weight_shape, stride, padding, dilation, groups
        self.plan = plan = _plan(*sizes, np.dtype(np.float32) if dtype.kind != "f" else dtype)
        spatial, kernel = input_shape[2:], weight_shape[2:]
        self.samples, self.channels = input_shape[:2]
        self.groups, self.dtype = groups, dtype
        self.rows, self.positions = prod(weight_shape[1:]), prod(plan.out)
        self.is_columns = prod(kernel) == 1 and plan.stride_1 and not plan.is_padded
        padding = windows.each(padding, len(spatial))
        self.sizes = windows.on_device(
            spatial, kernel, plan.stride, padding, plan.dilation, plan.out
        )

    def blocks(self):
        """Slices of the samples whose columns fit into the memory given to them."""
        return slices(0, self.samples, COLUMNS // max(self.groups * self.rows * self.positions, 1))

    def columns(self, x):
        """im2col: (groups, C/groups*k*k, n*positions) of samples x."""
        if self.is_columns:
            return self.inside(x)
        if x.dtype.kind == "c":
            return windows.by_parts(self.columns, x)
        n = len(x)
        columns = empty((self.groups, self.rows, n * self.positions), x.dtype)
        strides = self.positions, n * self.positions
        arguments = contiguous(x), columns, self.sizes, self.channels, *strides, columns.size
        launch("im2col", blocks(columns.size), THREADS, *arguments)
        return columns

    def images(self, columns, dx):
        """col2im: the reverse, into the samples dx."""
        n = len(dx)
        if self.is_columns:
            dx[...] = self.outside(columns).reshape(dx.shape)
            return
        if dx.dtype.kind == "c":
            for part in ("real", "imag"):
                images = empty(dx.shape, dx.real.dtype)
                self.images(getattr(columns, part), images)
                setattr(dx, part, images)
            return
        strides = self.positions, n * self.positions
        columns = contiguous(columns.astype(dx.dtype, copy=False))
        arguments = columns, dx, self.sizes, self.channels, *strides, dx.size
        launch("col2im", blocks(dx.size), THREADS, *arguments)

    def inside(self, images):
        """(n, channels, *positions) as matrices (groups, channels/groups, n*positions)."""
        n = len(images)
        images = images.reshape(n, self.groups, -1, self.positions).transpose(1, 2, 0, 3)
        return images.reshape(self.groups, images.shape[1], n * self.positions)

    def outside(self, matrices):
        """The reverse, a view: (n, channels, *out)."""
        channels = matrices.shape[0] * matrices.shape[1]
        images = matrices.reshape(channels, -1, self.positions).swapaxes(0, 1)
        return images.reshape(images.shape[0], channels, *self.plan.out)
