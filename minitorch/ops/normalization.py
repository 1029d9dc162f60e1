"""Normalisation by mean and variance: of each sample's features, of each channel over the batch.

PyTorch: aten/src/ATen/native/layer_norm.cpp, Normalization.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..dispatch.declare import op
from ..tensor import Tensor

# What the kernels compute, in plain operations: all three differ only in what they normalise over.


def _normalised(x, dims, eps):
    """`x` with mean 0 and variance 1 over `dims`, and 1 / the deviation that it had."""
    centred = x - x.mean(dims, keepdim=True)
    rstd = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    return centred * rstd, rstd


def _normalised_by_x(grad, normal, rstd, dims):
    """What of `grad` would change the mean or the variance is taken out of it."""
    along = normal * (grad * normal).mean(dims, keepdim=True)
    return rstd * (grad - grad.mean(dims, keepdim=True) - along)


def _affine(x, weight, bias=None, shape=None):
    """x * weight + bias, where there are any; both as `shape`."""
    x = x if weight is None else x * (weight.reshape(shape) if shape else weight)
    return x if bias is None else x + (bias.reshape(shape) if shape else bias)


def _channel(ndim: int):
    """The shape of one number for each channel of (N, C, *)."""
    return (-1, *[1] * (ndim - 2))


# Over the last dimensions


@op(method=False, function=False, outputs=("out", "mean", "rstd"), node="NativeLayerNorm")
def _layer_norm(input, normalized_shape, weight, bias, eps):
    return kernels.layer_norm_forward(input, normalized_shape, weight, bias, eps)


@_layer_norm.defined_by
def _(input, normalized_shape, weight, bias, eps):
    dims = tuple(range(-len(normalized_shape), 0))
    return _affine(_normalised(input, dims, eps)[0], weight, bias)


@_layer_norm.joint_derivative("input", "weight", "bias")
def _layer_norm_backward(grad, wanted, input, normalized_shape, weight, eps, mean, rstd):
    if not isinstance(grad, Tensor):
        return kernels.layer_norm_backward(grad, input, mean, rstd, weight, wanted)
    dims = tuple(range(-len(normalized_shape), 0))
    normal, rstd = _normalised(input, dims, eps)
    dx = _normalised_by_x(_affine(grad, weight), normal, rstd, dims)
    return [dx, grad * normal, grad]  # the engine sums the last two to the shape of the weights


# Of each channel, over the batch


@op(method=False, function=False, outputs=("out", "mean", "var"), node="NativeBatchNorm")
def _batch_norm(input, weight, bias, running_mean, running_var, eps):
    return kernels.batch_norm_forward(input, weight, bias, running_mean, running_var, eps)


def _normal_channels(input, mean, var, eps):
    """`_normalised` over all but the channels; or with the `mean` and `var` that are given."""
    if mean is None:
        return _normalised(input, (0, *range(2, input.ndim)), eps)
    channel = _channel(input.ndim)
    rstd = 1 / np.sqrt(var.reshape(channel) + eps)
    return (input - mean.reshape(channel)) * rstd, rstd


@_batch_norm.defined_by
def _(input, weight, bias, running_mean, running_var, eps):
    normal, _ = _normal_channels(input, running_mean, running_var, eps)
    return _affine(normal, weight, bias, _channel(input.ndim))


@_batch_norm.joint_derivative("input", "weight", "bias")
def _batch_norm_backward(grad, wanted, input, weight, running_mean, running_var, eps, mean, var):
    own = running_mean is None
    if not isinstance(grad, Tensor):
        return kernels.batch_norm_backward(grad, input, weight, mean, var, eps, own, wanted)
    dims = (0, *range(2, input.ndim))
    normal, rstd = _normal_channels(input, running_mean, running_var, eps)
    g = _affine(grad, weight, shape=_channel(input.ndim))
    dx = _normalised_by_x(g, normal, rstd, dims) if own else g * rstd
    return [dx, (grad * normal).sum(dims), grad.sum(dims)]


# Of each sample, in groups of channels


@op(method=False, function=False, outputs=("out", "mean", "rstd"), node="NativeGroupNorm")
def _group_norm(input, groups, weight, bias, eps):
    return kernels.group_norm_forward(input, groups, weight, bias, eps)


def _normal_groups(input, groups, eps):
    """`_normalised` as (N, groups, values)."""
    values = math.prod(input.shape[1:]) // groups
    return _normalised(input.reshape(input.shape[0], groups, values), -1, eps)


@_group_norm.defined_by
def _(input, groups, weight, bias, eps):
    normal = _normal_groups(input, groups, eps)[0].reshape(input.shape)
    return _affine(normal, weight, bias, _channel(input.ndim))


@_group_norm.joint_derivative("input", "weight", "bias")
def _group_norm_backward(grad, wanted, input, groups, weight, eps, mean, rstd):
    if not isinstance(grad, Tensor):
        return kernels.group_norm_backward(grad, input, groups, weight, mean, rstd, wanted)
    dims, shape = (0, *range(2, input.ndim)), tuple(input.shape)
    normal, rstd = _normal_groups(input, groups, eps)
    g = _affine(grad, weight, shape=_channel(input.ndim)).reshape(normal.shape)
    dx = _normalised_by_x(g, normal, rstd, -1).reshape(shape)
    return [dx, (grad * normal.reshape(shape)).sum(dims), grad.sum(dims)]
