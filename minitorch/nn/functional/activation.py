"""Activations by PyTorch's names and arguments, with their in-place forms.

What they compute is in ops/activation.py; those that follow from others are made of them here.
PyTorch: torch/nn/functional.py.
"""

from __future__ import annotations

import warnings

from ...dispatch.declare import composite, functions
from ...dispatch.inplace import update
from ...functional.dropout import random_slopes
from ...ops import activation as ops
from ...ops.activation import (  # noqa: F401  (those that need nothing here)
    gelu,
    hardshrink,
    logsigmoid,
    softplus,
    softshrink,
)

_relu = functions["relu"]
sigmoid = functions["sigmoid"]
tanh = functions["tanh"]


def relu(input, inplace=False):
    """max(input, 0). Mirrors torch.nn.functional.relu."""
    return input.relu_() if inplace else _relu(input)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """input, times `negative_slope` where it is below 0. Mirrors torch.nn.functional.leaky_relu."""
    operation = ops._leaky_relu
    return update(input, operation, negative_slope) if inplace else operation(input, negative_slope)


@composite(method=False)
def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """leaky_relu with the mean of `lower` and `upper` as slope; in training with a random one.

    Mirrors torch.nn.functional.rrelu.
    """
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if training:
        result = (input * random_slopes(input, lower, upper)).to(input.dtype)
        return input.copy_(result) if inplace else result
    return leaky_relu(input, (lower + upper) / 2, inplace)


def elu(input, alpha=1.0, inplace=False):
    """input where it is above 0, else alpha (e^input - 1). Mirrors torch.nn.functional.elu."""
    return update(input, ops._elu, alpha) if inplace else ops._elu(input, alpha)


@composite(method=False)
def celu(input, alpha=1.0, inplace=False):
    """max(input, 0) + min(alpha (e^(input / alpha) - 1), 0). Mirrors torch.nn.functional.celu."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    shape = (alpha, 1.0, 1 / alpha)
    return update(input, ops._elu, *shape) if inplace else ops._elu(input, *shape)


@composite(method=False)
def selu(input, inplace=False):
    """elu whose two factors keep mean 0 and variance 1. Mirrors torch.nn.functional.selu."""
    shape = (1.6732632423543772, 1.0507009873554805)
    return update(input, ops._elu, *shape) if inplace else ops._elu(input, *shape)


def silu(input, inplace=False):
    """input * sigmoid(input). Mirrors torch.nn.functional.silu."""
    return update(input, ops._silu) if inplace else ops._silu(input)


def mish(input, inplace=False):
    """input * tanh(softplus(input)). Mirrors torch.nn.functional.mish."""
    return update(input, ops._mish) if inplace else ops._mish(input)


def hardsigmoid(input, inplace=False):
    """(input + 3) / 6, kept in [0, 1]. Mirrors torch.nn.functional.hardsigmoid."""
    return update(input, ops._hardsigmoid) if inplace else ops._hardsigmoid(input)


def hardswish(input, inplace=False):
    """input * hardsigmoid(input). Mirrors torch.nn.functional.hardswish."""
    return update(input, ops._hardswish) if inplace else ops._hardswish(input)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """input, cut off at both ends. Mirrors torch.nn.functional.hardtanh."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    ends = (min_val, max_val)
    return update(input, ops._hardtanh, *ends) if inplace else ops._hardtanh(input, *ends)


def relu6(input, inplace=False):
    """min(max(input, 0), 6). Mirrors torch.nn.functional.relu6."""
    return hardtanh(input, 0.0, 6.0, inplace)


def threshold(input, threshold, value, inplace=False):
    """input, but `value` where it is not above `threshold`. Mirrors torch's threshold."""
    ends = (threshold, value)
    return update(input, ops.threshold, *ends) if inplace else ops.threshold(input, *ends)


def _in_place(function):
    def call(input, *args, **kwargs):
        return function(input, *args, **kwargs, inplace=True)

    call.__name__ = call.__qualname__ = function.__name__ + "_"
    call.__doc__ = f"{function.__name__}, in place."
    return composite(call, method=False)


relu_, leaky_relu_, rrelu_, elu_ = map(_in_place, (relu, leaky_relu, rrelu, elu))
celu_, selu_, hardtanh_, threshold_ = map(_in_place, (celu, selu, hardtanh, threshold))


@composite
def prelu(input, weight):
    """input, times `weight` where it is below 0. weight: one number, or one for each channel.

    Mirrors torch.nn.functional.prelu.
    """
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}"
        )
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0 or weight.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
        weight = weight.reshape(-1, *[1] * (input.ndim - 2))
    elif weight.ndim:
        weight = weight.reshape(())
    return ops._prelu(input, weight)


def glu(input, dim=-1):
    """The first half along `dim` times the sigmoid of the second. Mirrors torch's glu."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    extent = input.shape[dim]
    if extent % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {extent}")
    a, b = input.chunk(2, dim)
    return a * sigmoid(b)


def softsign(input):
    """input / (1 + |input|). Mirrors torch.nn.functional.softsign."""
    return input / (input.abs() + 1)


def tanhshrink(input):
    """input - tanh(input). Mirrors torch.nn.functional.tanhshrink."""
    return input - tanh(input)


def _with_implicit_dim(name: str):
    operation = functions[name]

    def call(input, dim=None, _stacklevel=3, dtype=None):
        if dim is None:
            warnings.warn(
                f"Implicit dimension choice for {name} has been deprecated. Change the call to "
                "include dim=X as an argument.",
                stacklevel=2,
            )
            dim = 0 if input.ndim in (0, 1, 3) else 1
        return operation(input, dim, dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{name}` along `dim`. Mirrors torch.nn.functional.{name}."
    return call


softmax, log_softmax = _with_implicit_dim("softmax"), _with_implicit_dim("log_softmax")


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax(-input). Mirrors torch.nn.functional.softmin."""
    return softmax(-input, dim, _stacklevel, dtype)
