"""Operations element by element: what to compute, and its derivative beside it.

`grad` is the gradient of the loss with respect to the op's result; a formula multiplies it by the
derivative of the result with respect to one input. Shapes that broadcasting stretched are put right
by the engine (autograd/engine.py), so the formulas need not care.
Here is arithmetic. exp, sin and the other functions that NumPy has are in ufuncs.py, those that it
has not in special.py, comparing and choosing in choose.py, complex numbers in
complex_numbers.py.
PyTorch: tools/autograd/derivatives.yaml.
"""

import numpy as np

from .. import dtypes, kernels
from ..dispatch.declare import composite, elementwise, of_function
from ..tensor import Tensor


def over(ufunc, fresh, *others):
    """ufunc(fresh, *others), written over `fresh`, which nobody else holds, if it is a large array.

    New memory would have to come into the cache first, and drives out other: twice the time.
    """
    large = type(fresh) is np.ndarray and fresh.size > 4096
    fits = large and all(np.shape(v) in ((), fresh.shape) for v in others)
    return ufunc(fresh, *others, out=fresh) if fits else ufunc(fresh, *others)


# Arithmetic


def zero(grad):
    """The derivative of what is flat almost everywhere."""
    return np.zeros_like(grad)


def _scaled(other, alpha):
    """other * alpha, for add and sub."""
    if alpha == 1:
        return other
    kind = getattr(other, "dtype", np.dtype(float)).kind
    if (isinstance(alpha, float) and kind in "biu") or (isinstance(alpha, complex) and kind != "c"):
        raise RuntimeError(f"argument alpha must not be {alpha}, which {other.dtype} cannot hold")
    return np.multiply(other, alpha, dtype=other.dtype) if kind == "b" else other * alpha


@elementwise(numpy=np.add)
def add(input, other, *, alpha=1):
    """input + alpha * other, broadcast. Mirrors torch.add."""
    return np.add(input, _scaled(other, alpha))


add.derivatives(
    input=lambda grad: grad, other=lambda grad, alpha: grad * alpha if alpha != 1 else grad
)


def _not_of_bool(what: str):
    """The check of an op that PyTorch refuses for booleans."""

    def check(*args):
        if any(type(a) is bool or (isinstance(a, Tensor) and a.array.dtype == bool) for a in args):
            raise RuntimeError(
                f"{what} a bool tensor is not supported. If you are trying to invert a mask, use "
                "the `~` or `logical_not()` operator instead; for two of them the `^` or "
                "`logical_xor()` operator."
            )

    return check


@elementwise(
    numpy=np.subtract,
    kinds="ifc",
    check=_not_of_bool("Subtraction, the `-` operator, with"),
    aliases=("subtract",),
)
def sub(input, other, *, alpha=1):
    """input - alpha * other, broadcast. Not for bool. Mirrors torch.sub."""
    return np.subtract(input, _scaled(other, alpha))


sub.derivatives(input=lambda grad: grad, other=lambda grad, alpha: grad * -alpha)


@composite(method=False)
def rsub(input, other, *, alpha=1):
    """other - alpha * input. Mirrors torch.rsub."""
    return sub(other, input, alpha=alpha)


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


def by_kernel(ufunc, input, other):
    """ufunc(input, other), of large arrays by the quicker kernel of the same name (pairs.py)."""
    large = type(input) is np.ndarray and input.size > 4096
    return getattr(kernels, ufunc.__name__)(input, other) if large else ufunc(input, other)


def _is_integral(input, other) -> bool:
    """Whether these, one an array at least, are integers."""
    return (input if hasattr(input, "dtype") else other).dtype.kind in "iu"


def _check_divisor(input, other) -> None:
    """Raise where integers are divided by 0, to which NumPy's answer is 0."""
    if _is_integral(input, other) and np.count_nonzero(other) < np.size(other):
        raise RuntimeError("ZeroDivisionError")


@elementwise(numpy=(np.floor_divide,), kinds="if")
def floor_divide(input, other):
    """input / other rounded down, broadcast. RuntimeError for integers by 0.

    Mirrors torch.floor_divide.
    """
    _check_divisor(input, other)
    return by_kernel(np.floor_divide, input, other)


@elementwise(function=False, method=False, kinds="if")
def _trunc_divide(input, other):
    _check_divisor(input, other)
    if _is_integral(input, other):
        return np.floor_divide(input - np.fmod(input, other), other)
    return np.trunc(np.true_divide(input, other))


for rounded in (floor_divide, _trunc_divide):
    rounded.derivatives(input=zero, other=zero)


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


@elementwise(numpy=(np.remainder,), kinds="if")
def remainder(input, other):
    """input - other * (input // other), broadcast. RuntimeError for integers by 0.

    Mirrors torch.remainder.
    """
    _check_divisor(input, other)
    return by_kernel(np.remainder, input, other)


remainder.derivatives(
    input=lambda grad: grad,
    other=lambda grad, input, other: -grad * floor_divide(input, other),
)


@elementwise(numpy=np.fmod, kinds="if", numbers=("other",))
def fmod(input, other):
    """The remainder with the sign of `input`, broadcast. RuntimeError for integers by 0.

    Mirrors torch.fmod.
    """
    _check_divisor(input, other)
    return by_kernel(np.fmod, input, other)


fmod.derivatives(
    input=lambda grad: grad,
    other=lambda grad, input, other: -grad * _trunc_divide(input, other),
)


def _check_power(input, exponent):
    kind = getattr(input, "array", input).dtype.kind if hasattr(input, "dtype") else ""
    if type(exponent) is int and exponent < 0 and kind in ("i", "u"):
        raise RuntimeError("Integers to negative integer powers are not allowed.")


# No ufunc in place: small powers have ways of their own.
@elementwise(numpy=np.power, kinds="ifc", check=_check_power, inplace=True)
def pow(input, exponent):
    """input ** exponent, broadcast. Mirrors torch.pow."""
    if isinstance(exponent, (int, float)):
        _check_power(input, exponent)
        if exponent == 2:  # the common powers, quicker and as exact
            return np.multiply(input, input)
        if exponent == 3:
            return np.multiply(input, input) * input
        if exponent == 0.5:
            return np.sqrt(input)
    if _is_integral(input, exponent) and np.any(negative := np.less(exponent, 0)):
        power = np.power(input, np.absolute(exponent))  # only 1 and -1 have an integer inverse
        return np.where(negative & (np.absolute(input) != 1), 0, power)
    return np.power(input, exponent)


def _pow_by_input(grad, input, exponent):
    if isinstance(exponent, (int, float, complex)):
        return (
            np.zeros_like(grad) if exponent == 0 else grad * (exponent * pow(input, exponent - 1))
        )
    slope = exponent * pow(input, exponent - 1)
    return np.where(np.equal(exponent, 0), 0.0, grad * slope)


def _pow_by_exponent(grad, out, input, exponent):
    # 0 ** positive is flat in the exponent, though log(0) is not finite.
    flat = np.logical_and(np.equal(input, 0), np.greater_equal(np.real(exponent), 0))
    return grad * np.where(flat, 0.0, out * np.log(input))


pow.derivatives(input=_pow_by_input, exponent=_pow_by_exponent)


@composite(out=True, inplace=True)
def float_power(input, exponent):
    """input ** exponent, in float64 or complex128. Mirrors torch.float_power."""
    wide = (
        dtypes.complex128 if np.iscomplexobj(input) or np.iscomplexobj(exponent) else dtypes.float64
    )
    return pow(*[v.to(wide) if isinstance(v, Tensor) else v for v in (input, exponent)])


@elementwise(promoted=("input", "tensor1", "tensor2"))
def addcmul(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2, broadcast. Mirrors torch.addcmul."""
    return over(np.add, _scaled(np.multiply(tensor1, tensor2), value), input)


addcmul.derivatives(
    input=lambda grad: grad,
    tensor1=lambda grad, tensor2, value: grad * (tensor2 * value),
    tensor2=lambda grad, tensor1, value: grad * (tensor1 * value),
)


@elementwise(kinds="fc")
def addcdiv(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2, broadcast, of floats. Mirrors torch.addcdiv."""
    return over(np.add, _scaled(np.true_divide(tensor1, tensor2), value), input)


addcdiv.derivatives(
    input=lambda grad: grad,
    tensor1=lambda grad, tensor2, value: grad * (value / tensor2),
    tensor2=lambda grad, tensor1, tensor2, value: -grad * (tensor1 * value / (tensor2 * tensor2)),
)


@elementwise(kinds="fc")
def lerp(input, end, weight):
    """input + weight * (end - input), broadcast. Mirrors torch.lerp."""
    return over(np.add, over(np.multiply, np.subtract(end, input), weight), input)


lerp.derivatives(
    input=lambda grad, weight: grad * (1 - weight),
    end=lambda grad, weight: grad * weight,
    weight=lambda grad, input, end: grad * (end - input),
)


# A number beside half precision is rounded to it before it is used; but not by these.
for _op in (mul, true_divide, floor_divide, lerp):
    _op.op.exact = True


@composite(numpy=np.square, out=True, inplace=True)
def square(input):
    """input * input. Mirrors torch.square."""
    return pow(input, 2)


neg = of_function(
    "neg negative",
    np.negative,
    "-input; not for bool",
    lambda grad: -grad,
    kinds="ifc",
    check=_not_of_bool("Negation, the `-` operator, on"),
)


@composite(numpy=np.positive)
def positive(input):
    """The tensor itself. Not for bool. Mirrors torch.positive."""
    _not_of_bool("The `+` operator, on")(input)
    return input


def _abs_slope(grad, input):
    if type(input) is np.ndarray and input.size > 4096 and input.dtype.kind == "f":
        return over(np.multiply, sign(input), grad)  # np.sign is quicker with few, slower with many
    direction = np.sign(input)
    return grad * (np.conj(direction) if np.iscomplexobj(input) else direction)


abs = of_function("abs absolute", np.absolute, "|input|", _abs_slope, kinds="ifc")


@elementwise(kinds="bif")
def sign(input):
    """-1, 0 or 1, as `input` is below, at or above 0. Mirrors torch.sign."""
    above, below = (input > 0).view(np.int8), (input < 0).view(np.int8)
    return (above - below).astype(input.dtype)  # nan has sign 0


@elementwise(numpy=(np.round, np.rint), kinds="if")
def round(input, *, decimals=0):
    """The nearest number of `decimals` decimals, the even one of two. Mirrors torch.round."""
    return np.round(input, decimals)


sign.derivatives(input=zero)
round.derivatives(input=zero)
