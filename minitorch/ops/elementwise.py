"""Operations element by element: what to compute, and its derivative beside it.

`grad` is the gradient of the loss with respect to the op's result; a formula multiplies it by the
derivative of the result with respect to one input. Shapes that broadcasting stretched are put right
by the engine (autograd/engine.py), so the formulas need not care.
PyTorch: tools/autograd/derivatives.yaml.
"""

import numpy as np

from .. import kernels
from .declare import composite, elementwise, functions, op

# Arithmetic


@elementwise(numpy=np.add)
def add(input, other, *, alpha=1):
    return np.add(input, other if alpha == 1 else other * alpha)


add.derivatives(
    input=lambda grad: grad, other=lambda grad, alpha: grad * alpha if alpha != 1 else grad
)


@elementwise(numpy=np.subtract)
def sub(input, other, *, alpha=1):
    return np.subtract(input, other if alpha == 1 else other * alpha)


sub.derivatives(input=lambda grad: grad, other=lambda grad, alpha: grad * -alpha)


@elementwise(numpy=np.multiply)
def mul(input, other):
    return np.multiply(input, other)


mul.derivatives(input=lambda grad, other: grad * other, other=lambda grad, input: grad * input)


@elementwise(numpy=np.true_divide, floating=True, method=False, function=False)
def true_divide(input, other):
    return np.true_divide(input, other)


true_divide.derivatives(
    input=lambda grad, other: grad / other,
    other=lambda grad, out, other: -grad * (out / other),
)


@elementwise(numpy=np.floor_divide)
def floor_divide(input, other):
    return np.floor_divide(input, other)


floor_divide.derivatives(
    input=lambda grad: np.zeros_like(grad), other=lambda grad: np.zeros_like(grad)
)


@composite
def div(input, other, *, rounding_mode=None):
    """Division; `rounding_mode` None is exact, "floor" and "trunc" round. Mirrors torch.div."""
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return functions["trunc"](true_divide(input, other)).to(
            functions["add"](input, other).dtype
        )
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@elementwise(numpy=np.remainder)
def remainder(input, other):
    return np.remainder(input, other)


remainder.derivatives(
    input=lambda grad: grad,
    other=lambda grad, input, other: -grad * floor_divide(input, other),
)


@elementwise(numpy=np.power)
def pow(input, exponent):
    if isinstance(exponent, (int, float)):
        if exponent == 2:  # the common powers, quicker and as exact
            return np.multiply(input, input)
        if exponent == 3:
            return np.multiply(input, input) * input
        if exponent == 0.5:
            return np.sqrt(input)
    if not isinstance(exponent, float) and np.asarray(input).dtype.kind in "iu":
        negative = np.less(exponent, 0)
        if np.any(negative):  # only 1 and -1 have an integer inverse
            if np.ndim(exponent) == 0:
                raise RuntimeError("Integers to negative integer powers are not allowed.")
            power = np.power(input, np.absolute(exponent))
            return np.where(negative & (np.absolute(input) != 1), 0, power)
    return np.power(input, exponent)


def _pow_by_input(grad, input, exponent):
    if isinstance(exponent, (int, float)):
        return (
            np.zeros_like(grad) if exponent == 0 else grad * (exponent * pow(input, exponent - 1))
        )
    slope = exponent * pow(input, exponent - 1)
    return np.where(np.equal(exponent, 0), 0.0, grad * slope)


def _pow_by_exponent(grad, out, input, exponent):
    # 0 ** positive is flat in the exponent, though log(0) is not finite.
    flat = np.logical_and(np.equal(input, 0), np.greater_equal(exponent, 0))
    return grad * np.where(flat, 0.0, out * np.log(input))


pow.derivatives(input=_pow_by_input, exponent=_pow_by_exponent)


@elementwise(numpy=np.negative)
def neg(input):
    return np.negative(input)


neg.derivatives(input=lambda grad: -grad)


@elementwise(numpy=(np.absolute, np.abs))
def abs(input):
    return np.absolute(input)


abs.derivatives(input=lambda grad, input: grad * np.sign(input))


@elementwise(numpy=np.sign)
def sign(input):
    return np.subtract(input > 0, input < 0, dtype=input.dtype)  # nan has sign 0


sign.derivatives(input=lambda grad: np.zeros_like(grad))


@elementwise(numpy=np.square)
def square(input):
    return np.square(input)


square.derivatives(input=lambda grad, input: grad * (2 * input))


@elementwise(floating=True, numpy=np.reciprocal)
def reciprocal(input):
    return np.reciprocal(input)


reciprocal.derivatives(input=lambda grad, out: -grad * (out * out))

# Rounding: flat almost everywhere


@elementwise(numpy=np.floor)
def floor(input):
    return np.floor(input)


@elementwise(numpy=np.ceil)
def ceil(input):
    return np.ceil(input)


@elementwise(numpy=np.trunc)
def trunc(input):
    return np.trunc(input)


@elementwise(numpy=(np.round, np.rint))
def round(input, *, decimals=0):
    return np.round(input, decimals)


for flat in (floor, ceil, trunc, round):
    flat.derivatives(input=lambda grad: np.zeros_like(grad))

# Exponentials and their kin


@elementwise(floating=True, numpy=np.exp)
def exp(input):
    return np.exp(input)


exp.derivatives(input=lambda grad, out: grad * out)


@elementwise(floating=True, numpy=np.expm1)
def expm1(input):
    return np.expm1(input)


expm1.derivatives(input=lambda grad, out: grad * (out + 1))


@elementwise(floating=True, numpy=np.log)
def log(input):
    return np.log(input)


log.derivatives(input=lambda grad, input: grad / input)


@elementwise(floating=True, numpy=np.log1p)
def log1p(input):
    return np.log1p(input)


log1p.derivatives(input=lambda grad, input: grad / (input + 1))


@elementwise(floating=True, numpy=np.log2)
def log2(input):
    return np.log2(input)


log2.derivatives(input=lambda grad, input: grad / (input * 0.6931471805599453))


@elementwise(floating=True, numpy=np.log10)
def log10(input):
    return np.log10(input)


log10.derivatives(input=lambda grad, input: grad / (input * 2.302585092994046))


@elementwise(floating=True, numpy=np.sqrt)
def sqrt(input):
    return np.sqrt(input)


sqrt.derivatives(input=lambda grad, out: grad / (2 * out))


@elementwise(floating=True)
def rsqrt(input):
    return np.reciprocal(np.sqrt(input))


rsqrt.derivatives(input=lambda grad, out: -0.5 * grad * (out * out * out))


@elementwise(floating=True, numpy=np.sin)
def sin(input):
    return np.sin(input)


sin.derivatives(input=lambda grad, input: grad * np.cos(input))


@elementwise(floating=True, numpy=np.cos)
def cos(input):
    return np.cos(input)


cos.derivatives(input=lambda grad, input: -grad * np.sin(input))


@elementwise(floating=True, numpy=np.tan)
def tan(input):
    return np.tan(input)


tan.derivatives(input=lambda grad, out: grad * (out * out + 1))


@elementwise(floating=True, numpy=np.tanh)
def tanh(input):
    return np.tanh(input)


tanh.derivatives(input=lambda grad, out: grad * (1 - out * out))


@elementwise(floating=True)
def sigmoid(input):
    # exp of a large positive number overflows to inf, and 1 / inf is the 0 that is wanted.
    out = np.exp(-input)
    out += 1
    return np.reciprocal(out)


sigmoid.derivatives(input=lambda grad, out: grad * (out * (1 - out)))


@elementwise(floating=True)
def erf(input):
    return kernels.erf(input)


erf.derivatives(input=lambda grad, input: grad * (np.exp(-input * input) * 1.1283791670955126))


def _between(input, low=None, high=None):
    """`input`, kept from falling below `low` and from rising above `high`."""
    if input.size > 4096 and input.dtype.kind == "f":
        # Four times as quick as maximum and minimum with a number, but slow to call.
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        return np.clip(input, low, high)
    out = input if low is None else np.maximum(input, low)
    return out if high is None else np.minimum(out, high)


@elementwise
def relu(input):
    return _between(input, 0)


relu.derivatives(input=lambda grad, out: grad * np.not_equal(out, 0))

# Comparisons: no derivatives


@elementwise(numpy=np.equal)
def eq(input, other):
    return np.equal(input, other)


@elementwise(numpy=np.not_equal)
def ne(input, other):
    return np.not_equal(input, other)


@elementwise(numpy=np.less)
def lt(input, other):
    return np.less(input, other)


@elementwise(numpy=np.less_equal)
def le(input, other):
    return np.less_equal(input, other)


@elementwise(numpy=np.greater)
def gt(input, other):
    return np.greater(input, other)


@elementwise(numpy=np.greater_equal)
def ge(input, other):
    return np.greater_equal(input, other)


@elementwise(numpy=np.isnan)
def isnan(input):
    return np.isnan(input)


@elementwise(numpy=np.isinf)
def isinf(input):
    return np.isinf(input)


@elementwise(numpy=np.isfinite)
def isfinite(input):
    return np.isfinite(input)


# Logic and bits


@elementwise(numpy=np.logical_and)
def logical_and(input, other):
    return np.logical_and(input, other)


@elementwise(numpy=np.logical_or)
def logical_or(input, other):
    return np.logical_or(input, other)


@elementwise(numpy=np.logical_xor)
def logical_xor(input, other):
    return np.logical_xor(input, other)


@elementwise(numpy=np.logical_not)
def logical_not(input):
    return np.logical_not(input)


@elementwise(numpy=np.bitwise_and)
def bitwise_and(input, other):
    return np.bitwise_and(input, other)


@elementwise(numpy=np.bitwise_or)
def bitwise_or(input, other):
    return np.bitwise_or(input, other)


@elementwise(numpy=np.bitwise_xor)
def bitwise_xor(input, other):
    return np.bitwise_xor(input, other)


@elementwise(numpy=np.invert)
def bitwise_not(input):
    return np.invert(input)


# Choosing


@elementwise(numpy=np.where, promoted=("input", "other"))
def where(condition, input, other):
    return np.where(condition, input, other)


where.derivatives(
    input=lambda grad, condition: np.where(condition, grad, 0),
    other=lambda grad, condition: np.where(condition, 0, grad),
)


@op
def masked_fill(input, mask, value):
    return np.where(mask, np.asarray(value, input.dtype), input)


masked_fill.derivatives(
    input=lambda grad, mask: np.where(mask, 0, grad),
    value=lambda grad, mask: np.sum(np.where(mask, grad, 0)),
)


@elementwise(numpy=np.maximum)
def maximum(input, other):
    return np.maximum(input, other)


@elementwise(numpy=np.minimum)
def minimum(input, other):
    return np.minimum(input, other)


def _unless_beaten(grad, beaten, ties):
    """The gradient, but none where `beaten` and half of it at `ties`."""
    return np.where(ties, grad / 2, np.where(beaten, 0, grad))


maximum.derivatives(
    input=lambda grad, input, other: _unless_beaten(grad, input < other, input == other),
    other=lambda grad, input, other: _unless_beaten(grad, other < input, input == other),
)
minimum.derivatives(
    input=lambda grad, input, other: _unless_beaten(grad, input > other, input == other),
    other=lambda grad, input, other: _unless_beaten(grad, other > input, input == other),
)


@elementwise(numpy=np.clip, promoted=("input", "min", "max"))
def clamp(input, min=None, max=None):
    if min is None and max is None:
        raise ValueError("clamp: at least one of 'min' or 'max' must not be None")
    return _between(input, min, max)


def _inside(input, min, max):
    above = True if min is None else input >= min
    return np.logical_and(above, True if max is None else input <= max)


clamp.derivatives(
    input=lambda grad, input, min, max: np.where(_inside(input, min, max), grad, 0),
    min=lambda grad, input, min, max: np.where(input < min, grad, 0),
    max=lambda grad, input, min, max: np.where(input > max, grad, 0),
)
