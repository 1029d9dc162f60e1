"""Activations: functions of one element, each with the slope that its gradient is multiplied by.

Half-precision numbers are computed in float32 and rounded at the end, as PyTorch does. The in-place
forms, and the activations that are made of other operations, are in nn/functional/activation.py.
PyTorch: aten/src/ATen/native/cpu/Activation.cpp, tools/autograd/derivatives.yaml.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes, kernels
from ..dispatch.declare import elementwise, functions, op
from .choose import between, kept, select
from .nn import fused
from .ufuncs import sigmoid


def activation(forward=None, *, kinds="", function=False, method=False):
    """An op whose first argument is its only tensor, of floats or one of NumPy's `kinds`."""
    if forward is None:
        return functools.partial(activation, kinds=kinds, function=function, method=method)

    @functools.wraps(forward)
    def checked(input, *args, **options):
        dtype = input.dtype
        if dtype.char in "fd" or dtype.kind in kinds:
            return forward(input, *args, **options)
        if dtype.char in "eE":
            return forward(input.astype(np.float32), *args, **options).astype(dtype)
        name, kind = forward.__name__.lstrip("_"), dtypes.of(input).legacy_name
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind}'")

    call = op(checked, alone=True, function=function, method=method)
    call.op.elementwise = True
    return call


def _times(x, number):
    """x * number, but the array itself for the usual 1."""
    return x if number == 1 else x * number


# Of several NumPy calls: kernels


@activation
def gelu(input, *, approximate="none"):
    """input * Phi(input), Phi the normal distribution's; "tanh" takes an approximation of it.

    Mirrors torch.nn.functional.gelu.
    """
    return kernels.gelu_forward(input, approximate)


def _gelu_composition(grad, input, approximate):
    if approximate == "none":
        density = (input * input * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
        return grad * (0.5 * (1 + functions["erf"](input * math.sqrt(0.5))) + input * density)
    k = math.sqrt(2 / math.pi)
    t = (k * (input + 0.044715 * input**3)).tanh()
    slope = k * (1 + 3 * 0.044715 * input * input)
    return grad * (0.5 * (1 + t) + 0.5 * input * (1 - t * t) * slope)


_gelu_backward = fused(kernels.gelu_backward, _gelu_composition)
gelu.derivatives(input=lambda grad, input, approximate: _gelu_backward(grad, input, approximate))


@activation(kinds="c")
def _silu(input):
    return kernels.silu_forward(input)


def _silu_composition(grad, input):
    s = sigmoid(input)
    return grad * s * (1 + input * (1 - s))


_silu_backward = fused(kernels.silu_backward, _silu_composition)
_silu.derivatives(input=lambda grad, input: _silu_backward(grad, input))


@activation
def softplus(input, beta=1, threshold=20):
    """log(1 + e^(beta input)) / beta; input itself where beta input > threshold.

    Mirrors torch.nn.functional.softplus.
    """
    return kernels.softplus_forward(input, beta, threshold)


def _softplus_composition(grad, input, beta, threshold):
    x = _times(input, beta)
    return grad * select(x > threshold, 1.0, sigmoid(x))


_softplus_backward = fused(kernels.softplus_backward, _softplus_composition)
softplus.derivatives(
    input=lambda grad, input, beta, threshold: _softplus_backward(grad, input, beta, threshold)
)

# Smooth


@activation
def logsigmoid(input):
    """log(sigmoid(input)), also where the sigmoid is too small for a float.

    Mirrors torch.nn.functional.logsigmoid.
    """
    return between(input, high=0) - np.log1p(np.exp(-np.absolute(input)))


logsigmoid.derivatives(input=lambda grad, input: grad * sigmoid(-input))


@activation
def _elu(input, alpha, scale=1.0, input_scale=1.0):
    """scale * input above 0, scale * alpha (e^(input_scale input) - 1) below: elu, celu, selu."""
    below = np.expm1(_times(between(input, high=0), input_scale))
    return _times(between(input, 0), scale) + _times(below, alpha * scale)


def _elu_by_input(grad, input, alpha, scale, input_scale):
    below = np.exp(_times(between(input, high=0), input_scale))  # 1 above 0
    slope = _times(below, alpha * scale * input_scale)
    return grad * (slope if alpha * input_scale == 1 else select(input > 0, scale, slope))


_elu.derivatives(input=_elu_by_input)


@activation
def _mish(input):
    return input * np.tanh(kernels.softplus_forward(input))


def _mish_by_input(grad, input):
    s = softplus(input)
    t = np.tanh(s)
    return grad * (t - input * np.expm1(-s) * (1 - t * t))  # sigmoid(input) is -expm1(-s)


_mish.derivatives(input=_mish_by_input)

# Of straight pieces


@activation
def _leaky_relu(input, slope):
    below = input * input.dtype.type(slope)
    if not 0 <= slope <= 1:
        return select(input > 0, input, below)
    return np.maximum(input, below, out=below if below.ndim else None)


def _leaky_relu_by_input(grad, input, slope):
    above = input > 0
    if not 0 <= slope <= 1 or type(above) is not np.ndarray or above.size <= 4096:
        return select(above, grad, grad * slope)
    factors = above.astype(grad.dtype)  # 1 or 0, which is quicker than choosing; then 1 or `slope`
    np.clip(factors, slope, 1, out=factors)
    factors *= grad
    return factors


_leaky_relu.derivatives(input=_leaky_relu_by_input)


@elementwise(function=False, method=False)
def _prelu(input, weight):
    return select(input > 0, input, input * weight)


_prelu.derivatives(
    input=lambda grad, input, weight: select(input > 0, grad, grad * weight),
    weight=lambda grad, input: select(input > 0, 0.0, grad * input),
)


@activation
def _hardsigmoid(input):
    return np.clip(input + 3, 0, 6) / 6


_hardsigmoid.derivatives(input=lambda grad, input: kept(grad, (input > -3) & (input < 3)) / 6)


@activation
def _hardswish(input):
    return input * np.clip(input + 3, 0, 6) / 6


_hardswish.derivatives(
    input=lambda grad, input: (
        grad * ((input > 3) + (np.absolute(input) <= 3) * (np.clip(input, -3, 3) / 3 + 0.5))
    )
)


@activation(kinds="iu")
def _hardtanh(input, min_val, max_val):
    kind = input.dtype.type
    return np.clip(input, kind(min_val), kind(max_val))


_hardtanh.derivatives(
    input=lambda grad, input, min_val, max_val: kept(grad, (input > min_val) & (input < max_val))
)


@activation(kinds="iu", function=True)
def threshold(input, threshold, value):
    """`input` where it is above `threshold`, else `value`. Mirrors torch.threshold."""
    return select(input <= threshold, input.dtype.type(value), input)


threshold.derivatives(input=lambda grad, input, threshold: kept(grad, input > threshold))


@activation(function=True, method=True)
def hardshrink(input, lambd=0.5):
    """input, but 0 between -lambd and lambd. Mirrors torch.nn.functional.hardshrink."""
    return select(np.absolute(input) <= lambd, 0, input)


@activation
def softshrink(input, lambd=0.5):
    """input moved towards 0 by `lambd`, at most to 0. Mirrors torch.nn.functional.softshrink."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return input - np.clip(input, -lambd, lambd)


for shrinking in (hardshrink, softshrink):
    shrinking.derivatives(input=lambda grad, input, lambd: kept(grad, np.absolute(input) > lambd))
