"""The functions that NumPy has, each with its derivative: exp, sin, atan2 and so on, in a table.

A row is an op's name (and its other names), NumPy's ufunc, what it is, and one formula for each
argument. Those that are not a single ufunc follow below.
PyTorch: tools/autograd/derivatives.yaml, aten/src/ATen/native/UnaryOps.cpp.
"""

import functools
import math

import numpy as np

from .. import kernels
from ..dispatch.declare import composite, elementwise, of_function, op
from ..dispatch.results import named_result
from ..tensor import Tensor
from .elementwise import by_kernel, zero


def _over_square(value, x, y):
    """value / (x * x + y * y), 0 at the origin."""
    square = x * x + y * y
    return np.where(np.equal(square, 0), 0, value / square)


# fmt: off
of_function("floor", np.floor, "The largest whole number not above it", zero, kinds="if")
of_function("ceil", np.ceil, "The smallest whole number not below it", zero, kinds="if")
of_function("trunc fix", np.trunc, "It without its fraction", zero, kinds="if")

function = functools.partial(of_function, floating=True)
function("reciprocal", np.reciprocal, "1 / input", lambda grad, out: -grad * (out * out))
function("sqrt", np.sqrt, "The square root", lambda grad, out: grad / (2 * out))
function("exp", np.exp, "e ** input", lambda grad, out: grad * out)
function("exp2", np.exp2, "2 ** input", lambda grad, out: grad * (out * math.log(2)))
function("expm1", np.expm1, "exp(input) - 1, exact near 0", lambda grad, out: grad * (out + 1))
function("log", np.log, "The natural logarithm", lambda grad, input: grad / input)
function("log1p", np.log1p, "log(1 + input), exact near 0", lambda grad, input: grad / (input + 1))
function("log2", np.log2, "The logarithm to base 2",
         lambda grad, input: grad / (input * math.log(2)))
function("log10", np.log10, "The logarithm to base 10",
         lambda grad, input: grad / (input * math.log(10)))
function("sin", np.sin, "The sine", lambda grad, input: grad * np.cos(input))
function("cos", np.cos, "The cosine", lambda grad, input: -grad * np.sin(input))
function("tan", np.tan, "The tangent", lambda grad, out: grad * (out * out + 1))
function("asin arcsin", np.arcsin, "The inverse sine",
         lambda grad, input: grad / np.sqrt(1 - input * input))
function("acos arccos", np.arccos, "The inverse cosine",
         lambda grad, input: -grad / np.sqrt(1 - input * input))
function("atan arctan", np.arctan, "The inverse tangent",
         lambda grad, input: grad / (input * input + 1))
function("sinh", np.sinh, "The hyperbolic sine", lambda grad, input: grad * np.cosh(input))
function("cosh", np.cosh, "The hyperbolic cosine", lambda grad, input: grad * np.sinh(input))
tanh = function("tanh", np.tanh, "The hyperbolic tangent",
                lambda grad, out: grad * (1 - out * out))
function("asinh arcsinh", np.arcsinh, "The inverse hyperbolic sine",
         lambda grad, input: grad / np.sqrt(input * input + 1))
function("acosh arccosh", np.arccosh, "The inverse hyperbolic cosine",
         lambda grad, input: grad / (np.sqrt(input - 1) * np.sqrt(input + 1)))
function("atanh arctanh", np.arctanh, "The inverse hyperbolic tangent",
         lambda grad, input: grad / (1 - input * input))

function = functools.partial(function, kinds="f")  # not of complex numbers
function("deg2rad", np.deg2rad, "Degrees as radians", lambda grad: grad * (math.pi / 180))
function("rad2deg", np.rad2deg, "Radians as degrees", lambda grad: grad * (180 / math.pi))
function("atan2 arctan2", np.arctan2, "The angle of the point (other, input)",
         lambda grad, input, other: _over_square(grad * other, input, other),
         lambda grad, input, other: _over_square(-grad * input, input, other), numbers=())
function("copysign", np.copysign, "|input| with the sign of other",
         lambda grad, input, out: np.where(np.equal(input, 0), 0, grad * (out / input)), zero,
         numbers=("other",))

of_two = functools.partial(of_function, kinds="f", numbers=())  # nor of integers
of_two("logaddexp2", np.logaddexp2, "log2(2 ** input + 2 ** other)",
       lambda grad, input, other: grad / (1 + np.exp2(other - input)),
       lambda grad, input, other: grad / (1 + np.exp2(input - other)))
of_two("nextafter", np.nextafter, "The next float after input, towards other",
       lambda grad, input, other: np.where(np.equal(input, other), 0, grad),
       lambda grad, input, other: np.where(np.equal(input, other), grad, 0), widened=False)
of_function("gcd", np.gcd, "The greatest common divisor", kinds="i", numbers=())
of_function("lcm", np.lcm, "The least common multiple", kinds="i", numbers=())
# fmt: on


@elementwise(numpy=np.hypot, kinds="f", numbers=())
def hypot(input, other):
    """sqrt(input ** 2 + other ** 2), broadcast. Mirrors torch.hypot."""
    return by_kernel(np.hypot, input, other)


hypot.derivatives(
    input=lambda grad, input, out: grad * (input / out),
    other=lambda grad, other, out: grad * (other / out),
)


@elementwise(numpy=np.logaddexp, kinds="f", numbers=())
def logaddexp(input, other):
    """log(exp(input) + exp(other)), broadcast. Mirrors torch.logaddexp."""
    return by_kernel(np.logaddexp, input, other)


logaddexp.derivatives(
    input=lambda grad, input, other: grad / (1 + np.exp(other - input)),
    other=lambda grad, input, other: grad / (1 + np.exp(input - other)),
)


@elementwise(floating=True, kinds="f")
def frac(input):
    """The fraction: input - trunc(input). Mirrors torch.frac."""
    whole = np.trunc(input)
    return np.subtract(input, whole, out=whole if whole.ndim else None)


frac.derivatives(input=lambda grad: grad)


@elementwise(floating=True)
def rsqrt(input):
    """1 / sqrt(input). Mirrors torch.rsqrt."""
    return np.reciprocal(np.sqrt(input))


rsqrt.derivatives(input=lambda grad, out: -0.5 * grad * (out * out * out))


@elementwise(floating=True)
def sigmoid(input):
    """1 / (1 + exp(-input)). Mirrors torch.sigmoid."""
    many = input.size > 4096 or type(input) is not np.ndarray
    if many and input.dtype.kind == "f":
        return kernels.sigmoid_forward(input)
    # exp of a large positive number overflows to inf, and 1 / inf is the 0 that is wanted.
    out = np.exp(-input)
    out += 1
    return np.reciprocal(out)


def _sigmoid_slope(grad, out):
    if type(out) is np.ndarray or isinstance(out, Tensor):
        return grad * (out * (1 - out))
    return kernels.sigmoid_backward(grad, out)  # on a GPU one pass rather than three


sigmoid.derivatives(input=_sigmoid_slope)


@elementwise(floating=True, numpy=np.sinc)
def sinc(input):
    """sin(pi input) / (pi input), 1 at 0. Mirrors torch.sinc."""
    x = np.where(np.equal(input, 0), 1e-20, input) * math.pi
    return np.sin(x) / x


def _sinc_slope(grad, input):
    x = np.where(np.equal(input, 0), 1, input) * math.pi
    slope = (np.cos(x) - np.sin(x) / x) / (x / math.pi)
    return grad * np.where(np.equal(input, 0), 0, slope)


sinc.derivatives(input=_sinc_slope)


@elementwise(floating=True, numbers=())
def ldexp(input, other):
    """input * 2 ** other, broadcast. Mirrors torch.ldexp."""
    return input * np.exp2(other)


ldexp.derivatives(
    input=lambda grad, other: grad * np.exp2(other),
    other=lambda grad, out: grad * (out * math.log(2)),
)


@op(outputs=("mantissa", "exponent"), function=False, method=False)
def _frexp(input):
    mantissa, exponent = np.frexp(input)
    return mantissa, exponent.astype(np.int32)


_frexp.derivatives(input=lambda grad, exponent: grad / np.exp2(exponent))
_Frexp = named_result("frexp", "mantissa exponent")


@composite(out=True)
def frexp(input):
    """(mantissa, exponent) such that input = mantissa * 2 ** exponent. Mirrors torch.frexp."""
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return _Frexp(*_frexp(input))
