"""Elementwise functions of several NumPy operations each, in blocks: sigmoid, silu, softplus, gelu.

NumPy's expm1 takes three quarters of exp's time, and 1 + exp(x) is 2 + expm1(x): as exact, because
the sum is at least 1.

gelu's exact form needs erf, which NumPy does not have. With z = |x| / sqrt(2) and
t = 1 / (1 + 0.4 z),

    erfc(z) = polynomial(t) * exp(-z*z)

is good to 1e-7 with degree 6, for float32, and to 3e-15 with degree 16, for float64 (absolute
errors). The polynomials are fitted to math.erfc when they are first needed, so no table of digits
has to be believed. (The form is Hastings'; Abramowitz and Stegun 7.1.26 is of this kind.)

PyTorch: aten/src/ATen/native/cpu/Activation.cpp.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np

from .blocking import elementwise
from .exponential import FEW, exp

Approximation = Literal["none", "tanh"]


def sigmoid_forward(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)). Mirrors torch.sigmoid."""
    return elementwise(_sigmoid, x)


def sigmoid_backward(grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The gradient for x: grad * out * (1 - out)."""

    def kernel(dx, grad, out):
        np.subtract(1, out, out=dx)
        dx *= out
        dx *= grad

    return elementwise(kernel, grad, out)


def silu_forward(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x). Mirrors torch.nn.functional.silu."""

    def kernel(out, x):
        _one_plus_exp(out, x)
        np.divide(x, out, out=out)

    return elementwise(kernel, x)


def silu_backward(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient for x: grad * s * (1 + x * (1 - s)), where s = sigmoid(x)."""

    def kernel(dx, grad, x):
        s = np.empty_like(x)
        _sigmoid(s, x)
        np.subtract(1, s, out=dx)
        dx *= x
        dx += 1
        dx *= s
        dx *= grad

    return elementwise(kernel, grad, x)


def softplus_forward(x: np.ndarray, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold. Mirrors torch's softplus.

    log1p(exp(v)) = max(v, 0) + log1p(exp(-|v|)), and exp cannot overflow there.
    """

    def kernel(out, x):
        v = x if beta == 1 else x * beta
        if x.size <= FEW:
            np.logaddexp(v, 0, out=out)
        else:
            np.abs(v, out=out)
            np.negative(out, out=out)
            np.exp(out, out=out)
            np.log1p(out, out=out)
            out += np.clip(v, 0, np.inf)  # for large arrays quicker than np.maximum
        if beta != 1:
            out /= beta
        if (far := v > threshold).any():
            np.copyto(out, x, where=far)

    return elementwise(kernel, x)


def softplus_backward(
    grad: np.ndarray, x: np.ndarray, beta: float = 1.0, threshold: float = 20.0
) -> np.ndarray:
    """The gradient for x: grad * sigmoid(beta x)."""

    def kernel(dx, grad, x):
        v = x if beta == 1 else x * beta
        _sigmoid(dx, v)
        dx *= grad
        if (far := v > threshold).any():
            np.copyto(dx, grad, where=far)

    return elementwise(kernel, grad, x)


def gelu_forward(x: np.ndarray, approximate: Approximation = "none") -> np.ndarray:
    """x * (the normal distribution's probability below x). Mirrors torch.nn.functional.gelu.

    approximate="tanh": x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
    """

    def tanh(out, x):
        _gelu_tanh(out, x)
        out += 1
        out *= x
        out *= 0.5

    def exact(out, x):
        _normal_cdf(out, x)
        out *= x

    return elementwise(exact if _is_exact(approximate) else tanh, x)


def gelu_backward(
    grad: np.ndarray, x: np.ndarray, approximate: Approximation = "none"
) -> np.ndarray:
    """The gradient for x: grad * (cdf(x) + x * density(x)), or the tanh form's."""

    def exact(dx, grad, x):
        density = _normal_cdf(dx, x)  # without its factor 1 / sqrt(2 pi)
        density *= x
        density *= 1 / math.sqrt(2 * math.pi)
        dx += density
        dx *= grad

    def tanh(dx, grad, x):
        t = np.empty_like(x)
        _gelu_tanh(t, x)
        # d/dx [x/2 (1 + t)] = (1 + t) / 2 * (1 + x (1 - t) u'),  t = tanh(u)
        slope = x * x
        slope *= 3 * 0.044715 * _ROOT
        slope += _ROOT
        slope *= x
        np.subtract(1, t, out=dx)
        slope *= dx
        slope += 1
        t += 1
        t *= 0.5
        np.multiply(slope, t, out=dx)
        dx *= grad

    return elementwise(exact if _is_exact(approximate) else tanh, grad, x)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, to 5e-7 in float32 and 5e-15 in float64. Mirrors torch.erf."""

    def kernel(out, x):
        _normal_cdf(out, x * x.dtype.type(math.sqrt(2)))
        out *= 2
        out -= 1

    return elementwise(kernel, x)


def _sigmoid(out, x):
    """For x far below 0 exp(-x) is inf, and 1 / inf the right result."""
    _one_plus_exp(out, x)
    np.divide(1, out, out=out)


def _one_plus_exp(out, x):
    """1 + exp(-x)."""
    np.negative(x, out=out)
    np.expm1(out, out=out)
    out += 2


_ROOT = math.sqrt(2 / math.pi)


def _is_exact(approximate):
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return approximate == "none"


def _gelu_tanh(out, x):
    """tanh(sqrt(2/pi) * (x + 0.044715 x^3))."""
    np.multiply(x, x, out=out)
    out *= 0.044715 * _ROOT
    out += _ROOT
    out *= x
    np.tanh(out, out=out)


def _normal_cdf(out, x):
    """out = the standard normal distribution's probability below x; returns exp(-x*x / 2)."""
    coefficients = _erfc_polynomial(16 if x.dtype == np.float64 else 6)
    t = np.abs(x)
    t += math.sqrt(2) / _P
    np.divide(math.sqrt(2) / _P, t, out=t)  # 1 / (1 + P z)
    np.multiply(t, coefficients[-1], out=out)
    for c in coefficients[-2:0:-1]:
        out += c
        out *= t
    out += coefficients[0]
    np.multiply(x, x, out=t)
    exp(t, t, -0.5)
    out *= t  # erfc(|x| / sqrt(2)) / 2: the probability of a tail
    np.subtract(x > 0, out, out=out)  # below 0 minus the tail, above 1 minus the tail
    np.abs(out, out=out)
    return t


_P = 0.4


@functools.cache
def _erfc_polynomial(degree: int) -> list[float]:
    """The coefficients of erfc(z) exp(z*z) / 2 in t = 1 / (1 + P z), fitted for z up to 6.

    Beyond, exp(-z*z) is below 1e-15. Interpolating at Chebyshev's nodes is nearly the best fit.
    """
    domain = [1 / (1 + _P * 6), 1]
    t = np.asarray(np.polynomial.Chebyshev.basis(64, domain).roots(), np.float64)
    z = (1 / t - 1) / _P
    values = [math.erfc(v) * math.exp(v * v) / 2 for v in z]
    fit = np.polynomial.Chebyshev.fit(t, values, degree, domain=domain)
    return [float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]
