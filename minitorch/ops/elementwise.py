"""Operations element by element: what to compute, and its derivative beside it.

`grad` is the gradient of the loss with respect to the op's result; a formula multiplies it by the
derivative of the result with respect to one input. Shapes that broadcasting stretched are put right
by the engine (autograd/engine.py), so the formulas need not care.
Comparisons, and choosing between elements, are in choose.py.
PyTorch: tools/autograd/derivatives.yaml.
"""

import numpy as np

from .. import kernels
from .declare import composite, elementwise

# Arithmetic


@elementwise(numpy=np.add)
def add(input, other, *, alpha=1):
    """input + alpha * other, broadcast. Mirrors torch.add."""
    return np.add(input, other if alpha == 1 else other * alpha)


add.derivatives(
    input=lambda grad: grad, other=lambda grad, alpha: grad * alpha if alpha != 1 else grad
)


@elementwise(numpy=np.subtract, aliases=("subtract",))
def sub(input, other, *, alpha=1):
    """input - alpha * other, broadcast. Not for two bool tensors. Mirrors torch.sub."""
    try:
        return np.subtract(input, other if alpha == 1 else other * alpha)
    except TypeError:  # the one type that NumPy does not subtract
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        ) from None


sub.derivatives(input=lambda grad: grad, other=lambda grad, alpha: grad * -alpha)


@elementwise(numpy=np.multiply, aliases=("multiply",))
def mul(input, other):
    """input * other, broadcast. Mirrors torch.mul."""
    return np.multiply(input, other)


mul.derivatives(input=lambda grad, other: grad * other, other=lambda grad, input: grad * input)


@elementwise(numpy=np.true_divide, floating=True, node="Div")
def true_divide(input, other):
    """input / other, broadcast, as floats. Mirrors torch.true_divide."""
    return np.true_divide(input, other)


true_divide.derivatives(
    input=lambda grad, other: grad / other,
    other=lambda grad, out, other: -grad * (out / other),
)


def _is_integral(input, other) -> bool:
    """Whether these, one an array at least, are integers."""
    return (input if hasattr(input, "dtype") else other).dtype.kind in "iu"


def _check_divisor(input, other) -> None:
    """Raise where integers are divided by 0, to which NumPy's answer is 0."""
    if _is_integral(input, other) and np.count_nonzero(other) < np.size(other):
        raise RuntimeError("ZeroDivisionError")


@elementwise(numpy=np.floor_divide)
def floor_divide(input, other):
    """input / other rounded down, broadcast. RuntimeError for integers by 0.

    Mirrors torch.floor_divide.
    """
    _check_divisor(input, other)
    return np.floor_divide(input, other)


@elementwise(function=False, method=False)
def _trunc_divide(input, other):
    _check_divisor(input, other)
    if _is_integral(input, other):
        return np.floor_divide(input - np.fmod(input, other), other)
    return np.trunc(np.true_divide(input, other))


for rounded in (floor_divide, _trunc_divide):
    rounded.derivatives(
        input=lambda grad: np.zeros_like(grad), other=lambda grad: np.zeros_like(grad)
    )


@composite(out=True, inplace=np.true_divide, aliases=("divide",))
def div(input, other, *, rounding_mode=None):
    """Division; `rounding_mode` None is exact, "floor" and "trunc" round. Mirrors torch.div."""
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@elementwise(numpy=np.remainder)
def remainder(input, other):
    """input - other * (input // other), broadcast. RuntimeError for integers by 0.

    Mirrors torch.remainder.
    """
    _check_divisor(input, other)
    return np.remainder(input, other)


remainder.derivatives(
    input=lambda grad: grad,
    other=lambda grad, input, other: -grad * floor_divide(input, other),
)


@elementwise(numpy=np.power, inplace=True)  # not by the ufunc: small powers have ways of their own
def pow(input, exponent):
    """input ** exponent, broadcast. Mirrors torch.pow."""
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


@elementwise(numpy=np.negative, aliases=("negative",))
def neg(input):
    """-input. Not for bool. Mirrors torch.neg."""
    try:
        return np.negative(input)
    except TypeError:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        ) from None


neg.derivatives(input=lambda grad: -grad)


@elementwise(numpy=(np.absolute, np.abs), aliases=("absolute",))
def abs(input):
    """|input|. Mirrors torch.abs."""
    return np.absolute(input)


abs.derivatives(input=lambda grad, input: grad * np.sign(input))


@elementwise(numpy=np.sign)
def sign(input):
    """-1, 0 or 1, as `input` is below, at or above 0. Mirrors torch.sign."""
    return np.subtract(input > 0, input < 0, dtype=input.dtype)  # nan has sign 0


sign.derivatives(input=lambda grad: np.zeros_like(grad))


@elementwise(numpy=np.square)
def square(input):
    """input * input. Mirrors torch.square."""
    return np.square(input)


square.derivatives(input=lambda grad, input: grad * (2 * input))


@elementwise(floating=True, numpy=np.reciprocal)
def reciprocal(input):
    """1 / input. Mirrors torch.reciprocal."""
    return np.reciprocal(input)


reciprocal.derivatives(input=lambda grad, out: -grad * (out * out))

# Rounding: flat almost everywhere


@elementwise(numpy=np.floor)
def floor(input):
    """The largest whole number not above `input`. Mirrors torch.floor."""
    return np.floor(input)


@elementwise(numpy=np.ceil)
def ceil(input):
    """The smallest whole number not below `input`. Mirrors torch.ceil."""
    return np.ceil(input)


@elementwise(numpy=np.trunc)
def trunc(input):
    """`input` without its fraction. Mirrors torch.trunc."""
    return np.trunc(input)


@elementwise(numpy=(np.round, np.rint))
def round(input, *, decimals=0):
    """The nearest number of `decimals` decimals, the even one of two. Mirrors torch.round."""
    return np.round(input, decimals)


for flat in (floor, ceil, trunc, round):
    flat.derivatives(input=lambda grad: np.zeros_like(grad))

# Exponentials and their kin


@elementwise(floating=True, numpy=np.exp)
def exp(input):
    """e ** input. Mirrors torch.exp."""
    return np.exp(input)


exp.derivatives(input=lambda grad, out: grad * out)


@elementwise(floating=True, numpy=np.expm1)
def expm1(input):
    """exp(input) - 1, exact near 0. Mirrors torch.expm1."""
    return np.expm1(input)


expm1.derivatives(input=lambda grad, out: grad * (out + 1))


@elementwise(floating=True, numpy=np.log)
def log(input):
    """The natural logarithm. Mirrors torch.log."""
    return np.log(input)


log.derivatives(input=lambda grad, input: grad / input)


@elementwise(floating=True, numpy=np.log1p)
def log1p(input):
    """log(1 + input), exact near 0. Mirrors torch.log1p."""
    return np.log1p(input)


log1p.derivatives(input=lambda grad, input: grad / (input + 1))


@elementwise(floating=True, numpy=np.log2)
def log2(input):
    """The logarithm to base 2. Mirrors torch.log2."""
    return np.log2(input)


log2.derivatives(input=lambda grad, input: grad / (input * 0.6931471805599453))


@elementwise(floating=True, numpy=np.log10)
def log10(input):
    """The logarithm to base 10. Mirrors torch.log10."""
    return np.log10(input)


log10.derivatives(input=lambda grad, input: grad / (input * 2.302585092994046))


@elementwise(floating=True, numpy=np.sqrt)
def sqrt(input):
    """The square root. Mirrors torch.sqrt."""
    return np.sqrt(input)


sqrt.derivatives(input=lambda grad, out: grad / (2 * out))


@elementwise(floating=True)
def rsqrt(input):
    """1 / sqrt(input). Mirrors torch.rsqrt."""
    return np.reciprocal(np.sqrt(input))


rsqrt.derivatives(input=lambda grad, out: -0.5 * grad * (out * out * out))


@elementwise(floating=True, numpy=np.sin)
def sin(input):
    """The sine. Mirrors torch.sin."""
    return np.sin(input)


sin.derivatives(input=lambda grad, input: grad * np.cos(input))


@elementwise(floating=True, numpy=np.cos)
def cos(input):
    """The cosine. Mirrors torch.cos."""
    return np.cos(input)


cos.derivatives(input=lambda grad, input: -grad * np.sin(input))


@elementwise(floating=True, numpy=np.tan)
def tan(input):
    """The tangent. Mirrors torch.tan."""
    return np.tan(input)


tan.derivatives(input=lambda grad, out: grad * (out * out + 1))


@elementwise(floating=True, numpy=np.tanh)
def tanh(input):
    """The hyperbolic tangent. Mirrors torch.tanh."""
    return np.tanh(input)


tanh.derivatives(input=lambda grad, out: grad * (1 - out * out))


@elementwise(floating=True)
def sigmoid(input):
    """1 / (1 + exp(-input)). Mirrors torch.sigmoid."""
    # exp of a large positive number overflows to inf, and 1 / inf is the 0 that is wanted.
    out = np.exp(-input)
    out += 1
    return np.reciprocal(out)


sigmoid.derivatives(input=lambda grad, out: grad * (out * (1 - out)))


@elementwise(floating=True)
def erf(input):
    """2 / sqrt(pi) * the integral of exp(-t * t) from 0 to `input`. Mirrors torch.erf."""
    return kernels.erf(input)


erf.derivatives(input=lambda grad, input: grad * (np.exp(-input * input) * 1.1283791670955126))
