"""Windows sliding over an input: convolution, the padding before it, the pooling after it.

The kernels (kernels/) do the work. Each op here is linear in what it is differentiated by, so its
derivative is another of them, and higher derivatives need nothing more.
PyTorch: aten/src/ATen/native/Convolution.cpp, DilatedMaxPool2d.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from .declare import composite, op

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


def _conv(name: str, spatial: int):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        unbatched = input.ndim == spatial + 1
        if not unbatched and input.ndim != spatial + 2:
            raise RuntimeError(
                f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, "
                f"but got input of size: {list(input.shape)}"
            )
        if input.dtype is not weight.dtype:
            raise RuntimeError(
                f"Input type ({input.dtype}) and weight type ({weight.dtype}) should be the same"
            )
        if bias is not None and input.dtype is not bias.dtype:
            raise RuntimeError(
                f"Input type ({input.dtype}) and bias type ({bias.dtype}) should be the same"
            )
        channels = input.shape[-spatial - 1]
        if channels != weight.shape[1] * groups:
            raise RuntimeError(
                f"Given groups={groups}, weight of size {list(weight.shape)}, expected "
                f"input{list(input.shape)} to have {weight.shape[1] * groups} channels, but got "
                f"{channels} channels instead"
            )
        if isinstance(padding, str):
            input, padding = _same(input, weight, padding, dilation, spatial)
        if unbatched:
            input = input.unsqueeze(0)
        out = convolution(input, weight, bias, stride, padding, dilation, groups)
        return out.squeeze(0) if unbatched else out

    conv.__name__ = conv.__qualname__ = name
    conv.__doc__ = f"""Slide `weight` over `input`: (N, C, *) with (O, C / groups, *) -> (N, O, *).

    {spatial} spatial dimensions; the batch dimension may be missing. stride, padding, dilation: an
    integer, or one for each; padding also "valid" or "same". Mirrors torch.nn.functional.{name}.
    """
    return composite(conv, method=False)


def _same(input, weight, padding, dilation, spatial):
    """Padding given by name, as (perhaps padded input, padding)."""
    if padding == "valid":
        return input, 0
    if padding != "same":
        raise ValueError(f"Invalid padding string '{padding}', should be one of 'valid', 'same'")
    dilation = (dilation,) * spatial if isinstance(dilation, int) else dilation
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if any(n % 2 for n in total):  # one more at the end, which the kernel cannot express
        widths = [(0, n % 2) for n in reversed(total)]
        input = pad(input, [w for pair in widths for w in pair])
    return input, tuple(n // 2 for n in total)


conv1d, conv2d, conv3d = (_conv(f"conv{n}d", n) for n in (1, 2, 3))

# Padding


@op(method=False, function=False)
def _pad_constant(input, widths, value):
    return np.pad(input, widths, constant_values=value)


def _pad_by_input(grad, input_shape, widths):
    return grad[tuple(slice(a, a + n) for (a, _), n in zip(widths, input_shape, strict=True))]


_pad_constant.derivatives(input=_pad_by_input)


@composite(method=False)
def pad(input, pad, mode="constant", value=None):
    """Add `pad` = (before, after) elements of `value` to the last dimension, the one before, ...

    Mirrors torch.nn.functional.pad; only mode "constant".
    """
    if mode != "constant":
        raise NotImplementedError(f"pad: mode '{mode}' is not here yet, only 'constant'")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(f"pad: {len(pad)} widths for a tensor of {input.ndim} dimensions")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for dim, (before, after) in enumerate(widths):  # negative widths cut off
        if before < 0 or after < 0:
            start, extent = max(-before, 0), input.shape[dim] + min(before, 0) + min(after, 0)
            input = input.narrow(dim, start, extent)
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    return _pad_constant(input, widths, 0 if value is None else value)


# Pooling


@op(method=False, function=False, outputs=("out", "indices"), node="MaxPool2DWithIndices")
def _max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode):
    return kernels.max_pool2d_forward(input, kernel_size, stride, padding, dilation, ceil_mode)


@op(method=False, function=False)
def _max_pool2d_input(grad_out, indices, shape):
    return kernels.max_pool2d_backward(grad_out, indices, shape)


@op(method=False, function=False)
def _max_pool2d_gather(input, indices):
    return kernels.max_pool2d_gather(input, indices)


_max_pool2d.derivatives(
    input=lambda grad, indices, input_shape: _max_pool2d_input(grad, indices, input_shape)
)
_max_pool2d_input.derivatives(grad_out=lambda grad, indices: _max_pool2d_gather(grad, indices))
_max_pool2d_gather.derivatives(
    input=lambda grad, indices, input_shape: _max_pool2d_input(grad, indices, input_shape)
)


@composite(method=False)
def max_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    """The largest element of every window: (N, C, H, W) -> (N, C, H', W'); N may be missing.

    Mirrors torch.nn.functional.max_pool2d.
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(
            f"non-empty 3D or 4D (batch mode) tensor expected for input, got {list(input.shape)}"
        )
    x = input if input.ndim == 4 else input.unsqueeze(0)
    stride = kernel_size if stride is None or stride == () or stride == [] else stride
    pooled = _max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    out, indices = pooled if input.ndim == 4 else [t.squeeze(0) for t in pooled]
    return (out, indices) if return_indices else out
