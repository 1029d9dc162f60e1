"""Normalisation by mean and variance: of each sample's features, of each channel over the batch.

PyTorch: aten/src/ATen/native/layer_norm.cpp, Normalization.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..tensor import Tensor
from .declare import op


@op(method=False, function=False, outputs=("out", "mean", "rstd"), node="NativeLayerNorm")
def _layer_norm(input, normalized_shape, weight, bias, eps):
    return kernels.layer_norm_forward(input, normalized_shape, weight, bias, eps)


@_layer_norm.defined_by
def _(input, normalized_shape, weight, bias, eps):
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    out = centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@_layer_norm.joint_derivative("input", "weight", "bias")
def _layer_norm_backward(grad, wanted, input, normalized_shape, weight, eps, mean, rstd):
    if not isinstance(grad, Tensor):
        return kernels.layer_norm_backward(grad, input, mean, rstd, weight, wanted)
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    rstd = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    normal = centred * rstd
    g = grad if weight is None else grad * weight
    dx = rstd * (g - g.mean(dims, keepdim=True) - normal * (g * normal).mean(dims, keepdim=True))
    return [dx, grad * normal, grad]  # the engine sums the last two to the shape of the weights


@op(method=False, function=False, outputs=("out", "mean", "var"), node="NativeBatchNorm")
def _batch_norm(input, weight, bias, running_mean, running_var, eps):
    return kernels.batch_norm_forward(input, weight, bias, running_mean, running_var, eps)


def _statistics(input, mean, var, eps):
    """`input` less its mean, and 1 / its deviation, for each channel: its own, or those given."""
    dims, channel = (0, *range(2, input.ndim)), (1, -1, *[1] * (input.ndim - 2))
    if mean is not None:
        return input - mean.reshape(channel), 1 / np.sqrt(var.reshape(channel) + eps)
    centred = input - input.mean(dims, keepdim=True)
    return centred, (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


@_batch_norm.defined_by
def _(input, weight, bias, running_mean, running_var, eps):
    channel = (1, -1, *[1] * (input.ndim - 2))
    centred, rstd = _statistics(input, running_mean, running_var, eps)
    out = centred * rstd
    out = out if weight is None else out * weight.reshape(channel)
    return out if bias is None else out + bias.reshape(channel)


@_batch_norm.joint_derivative("input", "weight", "bias")
def _batch_norm_backward(grad, wanted, input, weight, running_mean, running_var, eps, mean, var):
    own = running_mean is None
    if not isinstance(grad, Tensor):
        return kernels.batch_norm_backward(grad, input, weight, mean, var, eps, own, wanted)
    dims = (0, *range(2, input.ndim))
    centred, rstd = _statistics(input, running_mean, running_var, eps)
    normal = centred * rstd
    g = grad if weight is None else grad * weight.reshape(1, -1, *[1] * (input.ndim - 2))
    dx = g
    if own:
        dx = g - g.mean(dims, keepdim=True) - normal * (g * normal).mean(dims, keepdim=True)
    return [dx * rstd, (grad * normal).sum(dims), grad.sum(dims)]


@op(method=False, function=False, outputs=("out", "mean", "rstd"), node="NativeGroupNorm")
def _group_norm(input, groups, weight, bias, eps):
    return kernels.group_norm_forward(input, groups, weight, bias, eps)


def _in_groups(input, groups, eps):
    """`input` as (N, groups, values), less their mean; 1 / their deviation."""
    rows = input.reshape(input.shape[0], groups, math.prod(input.shape[1:]) // groups)
    centred = rows - rows.mean(-1, keepdim=True)
    return centred, (centred.square().mean(-1, keepdim=True) + eps).rsqrt()


@_group_norm.defined_by
def _(input, groups, weight, bias, eps):
    channel = (-1, *[1] * (input.ndim - 2))
    centred, rstd = _in_groups(input, groups, eps)
    out = (centred * rstd).reshape(input.shape)
    out = out if weight is None else out * weight.reshape(channel)
    return out if bias is None else out + bias.reshape(channel)


@_group_norm.joint_derivative("input", "weight", "bias")
def _group_norm_backward(grad, wanted, input, groups, weight, eps, mean, rstd):
    if not isinstance(grad, Tensor):
        return kernels.group_norm_backward(grad, input, groups, weight, mean, rstd, wanted)
    dims, shape = (0, *range(2, input.ndim)), tuple(input.shape)
    centred, rstd = _in_groups(input, groups, eps)
    normal = centred * rstd
    g = grad if weight is None else grad * weight.reshape(-1, *[1] * (input.ndim - 2))
    g = g.reshape(normal.shape)
    dx = rstd * (g - g.mean(-1, keepdim=True) - normal * (g * normal).mean(-1, keepdim=True))
    return [dx.reshape(shape), (grad * normal.reshape(shape)).sum(dims), grad.sum(dims)]
