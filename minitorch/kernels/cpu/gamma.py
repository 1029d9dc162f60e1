"""The family of gamma: lgamma, digamma, and zeta, which gives their other derivatives.

Far to the right each of them is a short series in Bernoulli's numbers, good to the last digit. A
recurrence leads there: lgamma(x) = lgamma(x + 1) - log(x). lgamma and digamma take seven steps of
it for every argument alike, in one formula without a choice: the logarithms of seven factors are
the one of their product. Arguments left of 1/2 are mirrored first.
PyTorch: aten/src/ATen/native/Math.h.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from .special import in_double

# Bernoulli's numbers B2, B4, ..., each with its index
_BERNOULLI = list(
    zip(
        range(2, 18, 2),
        [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510],
        strict=True,
    )
)
_FAR = 10  # where zeta begins its series

_CLIMB = 7  # the steps that every argument takes: at 7.5 and beyond the series is quickly good


@functools.cache
def _series(coefficient: Callable[[int], float]) -> list[float]:
    """The sum of coefficient(n) * B_n * t ** (n / 2 - 1), n = 2, 4, ..., for t up to 1 / 7.5 ** 2.

    Fitted to its own values, it is as good with five terms as with all eight.
    """
    terms = [coefficient(n) * b for n, b in _BERNOULLI]
    domain = [0, (_CLIMB + 0.5) ** -2]
    t = np.polynomial.Chebyshev.basis(32, domain).roots().real
    fit = np.polynomial.Chebyshev.fit(t, np.polynomial.Polynomial(terms)(t), 4, domain)
    return [float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


def _polynomial(coefficients, t):
    out = t * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        out += c
        out *= t
    out += coefficients[0]
    return out


def _of_lgamma(n):
    return 1 / (n * (n - 1))


def _of_digamma(n):
    return 1 / n


@in_double
def lgamma(x):
    """log |gamma(x)|. Mirrors torch.lgamma."""
    z = np.abs(x - 0.5) + 0.5  # 1 - x to the left of 1/2: gamma(x) gamma(1 - x) = pi / sin(pi x)
    far = z + _CLIMB
    np.clip(z, 0, 1e40, out=z)  # beyond, what the climb adds does not count
    pair = (z + 6) * z  # (z + 1) (z + 5) is pair + 5, (z + 2) (z + 4) is pair + 8
    product = (pair + 5) * pair
    pair += 8
    product *= pair
    z += 3
    product *= z
    out = np.log(far)
    out -= 1
    far -= 0.5
    out *= far
    far += 0.5
    out -= np.log(product, out=product)
    out += 0.5 * math.log(2 * math.pi) - 0.5
    np.divide(1, far, out=far)
    series = _polynomial(_series(_of_lgamma), far * far)
    series *= far
    out += series
    left = x < 0.5
    if left.any():
        x = x[left]
        slope = np.tan(math.pi * (x - np.round(x)))  # six times as quick as the sine
        sine = np.abs(slope) / np.sqrt(1 + slope * slope)
        mirrored = np.log(math.pi / sine) - out[left]
        out[left] = np.where(x == -np.inf, np.inf, mirrored)
    return out


@in_double
def digamma(x):
    """The derivative of lgamma. Mirrors torch.digamma."""
    z = np.abs(x - 0.5) + 0.5
    far = z + _CLIMB
    np.clip(z, 0, 1e300, out=z)  # infinity times 0 is nan
    pair = (z + 6) * z
    out = 1 / pair  # 1 / z + 1 / (z + 6) = 2 (z + 3) / pair; the next two pairs as in lgamma
    pair += 5
    out += 1 / pair
    pair += 3
    out += 1 / pair
    z += 3
    out *= z
    out *= -2
    out -= np.divide(1, z, out=z)
    out += np.log(far)
    np.divide(1, far, out=far)
    out -= 0.5 * far
    far *= far
    out -= _polynomial(_series(_of_digamma), far) * far
    left = x < 0.5
    if left.any():
        x = x[left]
        mirrored = out[left] - math.pi / np.tan(math.pi * (x - np.round(x)))
        mirrored = np.where((x < 0) & (x == np.floor(x)), np.nan, mirrored)
        out[left] = np.where(x == 0, np.copysign(np.inf, -x), mirrored)
    return out


@in_double
def zeta(s, q):
    """The sum of (q + k) ** -s over k = 0, 1, ... (Hurwitz). Mirrors torch.special.zeta."""
    far, out = q.copy(), np.zeros_like(q)
    while np.any(near := (far < _FAR) & (q > -1000)):  # below, nan: it would take too long
        out += np.where(near, far**-s, 0.0)
        far += near
    # Euler and Maclaurin: the rest is an integral, half its first term, and derivatives there.
    out += far ** (1 - s) / (s - 1) + 0.5 * far**-s
    rising = s * far ** (-s - 1)  # s (s + 1) ... (s + n - 2) / far ** (s + n - 1)
    for n, b in _BERNOULLI:
        out += b / math.factorial(n) * rising
        rising = rising * (s + n - 1) * (s + n) / far**2
    whole = q == np.floor(q)
    out = np.where(
        (q <= 0) & whole,
        np.inf,
        np.where(((q <= 0) & (s != np.floor(s))) | (q <= -1000), np.nan, out),
    )
    return np.where(s == 1, np.inf, np.where(s < 1, np.nan, out))
