"""Pooling: one number for each window of (N, C, *), its maximum or its mean.

Both are linear in the input once it is known where the maxima lie, so that derivatives of
derivatives need nothing more than these operations: `_at` picks elements by flat index, `_back`
adds them to zeros there.
PyTorch: aten/src/ATen/native/DilatedMaxPool2d.cpp, AveragePool2d.cpp.
"""

from __future__ import annotations

from .. import kernels
from ..dispatch.declare import op


@op(method=False, function=False, outputs=("out", "indices"), node="MaxPool2DWithIndices")
def _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode):
    return kernels.max_pool_forward(input, kernel_size, stride, padding, dilation, ceil_mode)


@op(method=False, function=False, outputs=("out", "indices"), node="AdaptiveMaxPool2D")
def _adaptive_max_pool(input, output_size):
    return kernels.adaptive_max_pool(input, output_size)


@op(method=False, function=False)
def _back(grad_out, indices, shape):
    return kernels.max_pool_backward(grad_out, indices, shape)


@op(method=False, function=False)
def _at(input, indices):
    return kernels.max_pool_gather(input, indices)


for _operation in (_max_pool, _adaptive_max_pool, _at):
    _operation.derivatives(
        input=lambda grad, indices, input_shape: _back(grad, indices, input_shape)
    )
_back.derivatives(grad_out=lambda grad, indices: _at(grad, indices))


@op(method=False, function=False, alone=True, node="AvgPool2D")
def _avg_pool(input, *options):
    return kernels.avg_pool_forward(input, *options)


@op(method=False, function=False, alone=True)
def _avg_pool_back(grad_out, shape, *options):
    return kernels.avg_pool_backward(grad_out, shape, *options)


_avg_pool.derivatives(
    input=lambda grad, input_shape, options: _avg_pool_back(grad, input_shape, *options)
)
_avg_pool_back.derivatives(grad_out=lambda grad, options: _avg_pool(grad, *options))
