"""Normalisation of activations: which elements share a mean and a variance is what differs.

layer_norm: those of one sample; batch_norm: of one channel over the batch; instance_norm: of one
channel of one sample; group_norm: of a group of channels of one sample.
PyTorch: aten/src/ATen/native/Normalization.cpp, layer_norm.cpp, group_norm.cpp.
"""

from __future__ import annotations

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import no_grad
from ...dispatch.declare import composite
from ...ops.normalization import _batch_norm, _group_norm, _layer_norm
from .pooling import avg_pool2d


def _trailing(input, normalized_shape) -> tuple:
    """`normalized_shape` as a tuple; RuntimeError unless the last dimensions are of that shape."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[{', '.join(map(str, ('*', *shape)))}], but got input of size{list(input.shape)}"
        )
    return shape


def _check_parameters(shape: tuple, **parameters) -> None:
    for name, parameter in parameters.items():
        if parameter is not None and tuple(parameter.shape) != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(parameter.shape)} and normalized_shape = {list(shape)}"
            )


@composite(method=False)
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias over the last dimensions.

    normalized_shape: those dimensions; weight, bias: of that shape. Mirrors
    torch.nn.functional.layer_norm.
    """
    shape = _trailing(input, normalized_shape)
    _check_parameters(shape, weight=weight, bias=bias)
    return _layer_norm(input, shape, weight, bias, eps)[0]


@composite(method=False)
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """input / sqrt(mean of squares + eps) * weight over the last dimensions.

    eps: None is the dtype's finfo.eps. Mirrors torch.nn.functional.rms_norm.
    """
    shape = _trailing(input, normalized_shape)
    _check_parameters(shape, weight=weight)
    x = input.float() if input.dtype.itemsize == 2 else input  # as PyTorch computes half precision
    eps = dtypes.finfo(x.dtype).eps if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    out = x * ((x * x).mean(dims, keepdim=True) + eps).rsqrt()
    out = out if weight is None else out * weight
    return out.to(input.dtype)


@composite(method=False)
def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """Normalise each channel of (N, C, *), by its own mean and variance in `training`.

    Then the running statistics (C,) move towards these, in place, by `momentum`; otherwise they
    take their place. Raises ValueError for one value per channel in training. Mirrors
    torch.nn.functional.batch_norm.
    """
    if not input.numel():  # of any number of dimensions
        return input.clone() if weight is None else input * weight[:1].sum()
    channels = input.shape[1]
    count = input.numel() // max(channels, 1)
    if training and count <= 1 and input.numel():
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape!r}"
        )
    named = {"running_mean": running_mean, "running_var": running_var}
    for name, value in (named | {"weight": weight, "bias": bias}).items():
        if value is not None and value.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {value.numel()}")
    if not training:
        for name, value in named.items():
            if value is None:
                raise RuntimeError(f"Expected {name} to be defined when training=False")
        return _batch_norm(input, weight, bias, running_mean, running_var, eps)[0]
    out, mean, var = _batch_norm(input, weight, bias, None, None, eps)
    if running_mean is not None:
        with devices.guard(input.array):
            unbiased = var.array * (count / max(count - 1, 1))
            for running, now in ((running_mean, mean.array), (running_var, unbiased)):
                # Straight into the memory: as in PyTorch autograd is not to take it for a change.
                moved = (1 - momentum) * running.array + momentum * now
                np.copyto(running.array, moved, casting="unsafe")
    return out


@composite(method=False)
def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    """batch_norm of each sample by itself. Mirrors torch.nn.functional.instance_norm.

    Running statistics are moved towards the mean of the samples'.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, channels, *spatial = input.shape
    if input.numel() == n * channels:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape!r}"
        )
    per_sample = [None if t is None else t.repeat(n) for t in (running_mean, running_var)]
    w, b = (None if t is None else t.repeat(n) for t in (weight, bias))
    x = input.reshape(1, n * channels, *spatial)
    out = batch_norm(x, *per_sample, w, b, True, momentum, eps)
    for running, samples in zip((running_mean, running_var), per_sample, strict=True):
        if running is not None:
            with no_grad():
                running.copy_(samples.reshape(n, channels).mean(0))
    return out.reshape(input.shape)


@composite(method=False)
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalise each of `num_groups` groups of channels of (N, C, *). weight, bias: (C,).

    Mirrors torch.nn.functional.group_norm.
    """
    if input.ndim < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    channels = input.shape[1]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    _check_parameters((channels,), weight=weight, bias=bias)
    return _group_norm(input, num_groups, weight, bias, eps)[0]


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """input / (k + alpha * mean of the squares of `size` neighbouring channels) ** beta.

    Mirrors torch.nn.functional.local_response_norm.
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if not input.numel():
        return input
    from .padding import pad

    squares = (input * input).reshape(input.shape[0], 1, input.shape[1], -1)
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool2d(squares, (size, 1), 1).reshape(input.shape)
    return input / (mean * alpha + k) ** beta


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """input divided by its p-norm along `dim`. Mirrors torch.nn.functional.normalize."""
    result = input / input.norm(p, dim, keepdim=True).clamp(min=eps)
    return result if out is None else out.copy_(result)
