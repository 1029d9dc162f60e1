"""Special functions: erf's family, gamma's, Bessel's, and what entropies are made of.

The numerics of those that NumPy does not have are in kernels/cpu/special.py and gamma.py; here
are their derivatives, which lead from one to the next. minitorch.special shows them, some under
second names.
PyTorch: torch/special/__init__.py, aten/src/ATen/native/Math.h.
"""

import functools
import math
from typing import Any

import numpy as np

from .. import kernels
from ..dispatch.declare import composite, elementwise, in_namespace, of_function
from .complex_numbers import sgn

_ROOT_PI = math.sqrt(math.pi)

# Functions of one number, each with its derivative; then those that only the namespace shows.
# fmt: off

_special = functools.partial(of_function, floating=True, kinds="f", widened=False)
erf = _special("erf", kernels.erf, "2 / sqrt(pi) times the integral of exp(-t * t) from 0 to input",
    lambda grad, input: grad * (np.exp(-input * input) * (2 / _ROOT_PI)))
erfc = _special("erfc", kernels.erfc, "1 - erf(input), exact where that is small",
    lambda grad, input: grad * (np.exp(-input * input) * (-2 / _ROOT_PI)))
erfinv = _special("erfinv", kernels.erfinv, "The inverse of erf",
    lambda grad, out: grad * (np.exp(out * out) * (_ROOT_PI / 2)))
lgamma = _special("lgamma", kernels.lgamma, "log |gamma(input)|",
    lambda grad, input: grad * digamma(input))
digamma: Any = _special("digamma", kernels.digamma, "The derivative of lgamma",
    lambda grad, input: grad * _polygamma(input, 1))
i0 = _special("i0", kernels.i0, "Bessel's modified function of order 0",
    lambda grad, input: grad * i1(input))

_special = functools.partial(_special, function=False, method=False)
i1: Any = _special("i1", kernels.i1, "Bessel's modified function of order 1",
    lambda grad, input, out: grad * (i0(input) - _over(out, input)))
i0e = _special("i0e", kernels.i0e, "exp(-|input|) i0(input)",
    lambda grad, input, out: grad * (i1e(input) - sgn(input) * out))
i1e: Any = _special("i1e", kernels.i1e, "exp(-|input|) i1(input)",
    lambda grad, input, out: grad * (i0e(input) - sgn(input) * out - _over(out, input)))
erfcx = _special("erfcx", kernels.erfcx, "exp(input ** 2) erfc(input)",
    lambda grad, input, out: grad * (2 * input * out - 2 / _ROOT_PI))
log_ndtr = _special("log_ndtr", kernels.log_ndtr, "log(ndtr(input))",
    lambda grad, input: grad * (math.sqrt(2 / math.pi) / erfcx(input * -math.sqrt(0.5))))
ndtri = _special("ndtri", kernels.ndtri, "The inverse of ndtr",
    lambda grad, out: grad * (np.exp(out * out / 2) * math.sqrt(2 * math.pi)))
# fmt: on


def _over(i1, x):
    """i1(x) / x, which is 1/2 at 0."""
    zero = np.equal(x, 0)
    return np.where(zero, 0.5, i1 / np.where(zero, 1, x))


@in_namespace
def ndtr(input):
    """The normal distribution's probability below `input`. Mirrors torch.special.ndtr."""
    return erfc(input * -math.sqrt(0.5)) * 0.5


def _as_array(value, *pair):
    """`value` as an array like those of a pair, of which one may be a number."""
    typed = [v for v in pair if hasattr(v, "dtype")]
    like = next((v for v in typed if not isinstance(v, np.generic)), None)
    return np.asarray(value, typed[0].dtype, like=like)


# The family of gamma


@elementwise(floating=True, kinds="f", function=False, method=False)
def zeta(input, other):
    """The sum of (other + k) ** -input over k = 0, 1, ... Mirrors torch.special.zeta."""
    return kernels.zeta(_as_array(input, input, other), _as_array(other, input, other))


@elementwise(
    floating=True,
    kinds="f",
    promoted=("input",),
    function=False,
    aliases=("polygamma",),  # the method; the function has the order first
    node="Polygamma",
)
def _polygamma(input, n):
    """The derivative of order `n` of digamma. Mirrors torch.Tensor.polygamma."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if n == 0:
        return kernels.digamma(input)
    if n == 1:  # whose reflection is simple, so that zeta need not climb far
        left = input < 0.5
        out = kernels.zeta(np.full_like(input, 2), np.where(left, 1 - input, input))
        return np.where(left, (math.pi / np.sin(math.pi * input)) ** 2 - out, out)
    sign = 1 if n % 2 else -1
    return sign * math.factorial(n) * kernels.zeta(np.full_like(input, n + 1), input)


_polygamma.derivatives(input=lambda grad, input, n: grad * _polygamma(input, n + 1))


@composite(method=False, out=True)
def polygamma(n, input):
    """The derivative of order `n` of digamma. Mirrors torch.polygamma."""
    return _polygamma(input, n)


@composite(out=True, inplace=True)
def mvlgamma(input, p):
    """The logarithm of the multivariate gamma function of dimension `p`. Mirrors torch.mvlgamma."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    constant = p * (p - 1) / 4 * math.log(math.pi)
    return sum([lgamma(input - j / 2) for j in range(p)], constant)


# Of probabilities


@elementwise(floating=True, kinds="f", promoted=("input",))
def logit(input, eps=None):
    """log(input / (1 - input)), `input` clamped to [eps, 1 - eps] if given. Mirrors torch.logit."""
    p = input if eps is None else np.clip(input, eps, 1 - eps)
    return np.log(p / (1 - p))


def _logit_slope(grad, input, eps):
    low, outside = (0, np.nan) if eps is None else (eps, 0)
    inside = np.logical_not(np.logical_or(input < low, input > 1 - low))
    return np.where(inside, grad / (input * (1 - input)), outside)


logit.derivatives(input=_logit_slope)


@elementwise(floating=True, kinds="f")
def xlogy(input, other):
    """input * log(other), 0 where `input` is 0; broadcast. Mirrors torch.xlogy."""
    return _times(np.log, input, other)


@elementwise(floating=True, kinds="f", function=False, method=False)
def xlog1py(input, other):
    """input * log1p(other), 0 where `input` is 0; broadcast. Mirrors torch.special.xlog1py."""
    return _times(np.log1p, input, other)


def _times(log, input, other):
    other = _as_array(other, input, other)
    return np.where(np.equal(input, 0) & ~np.isnan(other), 0, input * log(other))


def _without_poles(log, input, other, pole):
    return np.where(np.logical_and(np.equal(input, 0), np.less_equal(other, pole)), 0, log)


xlogy.derivatives(
    input=lambda grad, input, other: grad * _without_poles(np.log(other), input, other, 0),
    other=lambda grad, input, other: grad * (input / other),
)
xlog1py.derivatives(
    input=lambda grad, input, other: grad * _without_poles(np.log1p(other), input, other, -1),
    other=lambda grad, input, other: grad * (input / (other + 1)),
)


@elementwise(floating=True, kinds="f", function=False, method=False)
def entr(input):
    """-input * log(input), 0 at 0, -inf below. Mirrors torch.special.entr."""
    return np.where(input < 0, -np.inf, _times(np.log, -input, input))


entr.derivatives(input=lambda grad, input: grad * (-1 - np.log(input)))
