"""Windows sliding over an input: convolution, the padding before it. (Pooling: pool.py.)

The kernels (kernels/) do the work. Each op here is linear in what it is differentiated by, so its
derivative is another of them, and higher derivatives need nothing more.
PyTorch: aten/src/ATen/native/Convolution.cpp, im2col.h.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..dispatch.declare import op

# Convolution


@op(method=False, function=False)
def convolution(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return kernels.conv_forward(input, weight, bias, stride, padding, dilation, groups)


@op(method=False, function=False)
def convolution_input(grad_out, weight, shape, stride, padding, dilation, groups):
    return kernels.conv_backward_input(grad_out, weight, shape, stride, padding, dilation, groups)


@op(method=False, function=False)
def convolution_weight(grad_out, input, shape, stride, padding, dilation, groups):
    return kernels.conv_backward_weight(grad_out, input, shape, stride, padding, dilation, groups)


# Linear in the input and in the weight: the three functions are the derivatives of one another.
convolution.derivatives(
    input=lambda grad, weight, input_shape, stride, padding, dilation, groups: convolution_input(
        grad, weight, input_shape, stride, padding, dilation, groups
    ),
    weight=lambda grad, input, weight_shape, stride, padding, dilation, groups: convolution_weight(
        grad, input, weight_shape, stride, padding, dilation, groups
    ),
    bias=lambda grad: np.sum(grad, axis=(0, *range(2, len(grad.shape)))),
)
convolution_input.derivatives(
    grad_out=lambda grad, weight, stride, padding, dilation, groups: convolution(
        grad, weight, None, stride, padding, dilation, groups
    ),
    weight=lambda grad, grad_out, weight_shape, stride, padding, dilation, groups: (
        convolution_weight(grad_out, grad, weight_shape, stride, padding, dilation, groups)
    ),
)
convolution_weight.derivatives(
    grad_out=lambda grad, input, stride, padding, dilation, groups: convolution(
        input, grad, None, stride, padding, dilation, groups
    ),
    input=lambda grad, grad_out, input_shape, stride, padding, dilation, groups: convolution_input(
        grad_out, grad, input_shape, stride, padding, dilation, groups
    ),
)

# Padding


@op(method=False, function=False)
def _pad_constant(input, widths, value):
    return np.pad(input, widths, constant_values=value)


def _pad_by_input(grad, input_shape, widths):
    return grad[tuple(slice(a, a + n) for (a, _), n in zip(widths, input_shape, strict=True))]


_pad_constant.derivatives(input=_pad_by_input)

# Windows as columns


@op(method=False, function=False, alone=True)
def _unfold(input, kernel_size, stride, padding, dilation):
    return kernels.unfold(input, kernel_size, stride, padding, dilation)


@op(method=False, function=False, alone=True)
def _fold(input, shape, kernel_size, stride, padding, dilation):
    return kernels.fold(input, shape, kernel_size, stride, padding, dilation)


_unfold.derivatives(
    input=lambda grad, input_shape, kernel_size, stride, padding, dilation: _fold(
        grad, input_shape, kernel_size, stride, padding, dilation
    )
)
_fold.derivatives(
    input=lambda grad, kernel_size, stride, padding, dilation: _unfold(
        grad, kernel_size, stride, padding, dilation
    )
)
