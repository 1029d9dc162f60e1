"""Special functions that NumPy does not have: erf's family and Bessel's. Gamma's is in gamma.py.

A function that is smooth once its growth is divided out is a polynomial: fitted, when it is first
needed, to values that the definition gives (`_fit`), so that no table of digits has to be believed.
Everything is computed in float64, in blocks that stay in the cache.
PyTorch: aten/src/ATen/native/Math.h.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from . import blocking

_BLOCK = 1 << 14  # half a dozen float64 arrays of this size share a core's L2 cache


def in_double(function: Callable) -> Callable:
    """A kernel of `function`, of float64 arrays of one shape, in blocks."""

    def block(out, *inputs):
        out, inputs = out.reshape(-1), [np.ravel(a) for a in inputs]
        with np.errstate(all="ignore"):
            for part in blocking.blocks(0, out.size, _BLOCK):
                out[part] = function(*[a[part].astype(np.float64) for a in inputs])

    @functools.wraps(function)
    def kernel(*inputs):
        if any(a.shape != inputs[0].shape for a in inputs):
            inputs = np.broadcast_arrays(*inputs)
        return blocking.elementwise(block, *inputs)

    return kernel


@functools.cache
def _fit(function: Callable[[float], float], low: float, high: float, degree: int):
    """The polynomial through `function` at Chebyshev's nodes of [low, high]."""
    nodes = np.polynomial.Chebyshev.basis(4 * degree, [low, high]).roots().real
    values = [function(float(t)) for t in nodes]
    return np.polynomial.Chebyshev.fit(nodes, values, degree, [low, high])


def _erfcx_over_t(t: float) -> float:
    """exp(z * z) * erfc(z) / t, where t = 1 / (1 + z / 2)."""
    z = 2 / t - 2
    if z < 2:
        return math.exp(z * z) * math.erfc(z) / t
    fraction = z  # z + 1/2 / (z + 1 / (z + 3/2 / (z + ...)))
    for k in range(200, 0, -1):
        fraction = z + k / 2 / fraction
    return 1 / (math.sqrt(math.pi) * fraction * t)


def _erfcx(z):
    """exp(z * z) * erfc(z), for z at or above 0."""
    t = 1 / (1 + z / 2)
    return _fit(_erfcx_over_t, 0, 1, 24)(t) * t


@in_double
def erfcx(x):
    """exp(x * x) * erfc(x). Mirrors torch.special.erfcx."""
    right = _erfcx(np.abs(x))
    return np.where(x < 0, 2 * np.exp(x * x) - right, right)


@in_double
def erfc(x):
    """1 - erf(x), exact where that is small. Mirrors torch.erfc."""
    right = _erfcx(np.abs(x)) * np.exp(-x * x)
    return np.where(x < 0, 2 - right, right)


@in_double
def log_ndtr(x):
    """The logarithm of the normal distribution's probability below x.

    Mirrors torch.special.log_ndtr.
    """
    z = np.abs(x) / math.sqrt(2)
    log_tail = np.log(_erfcx(z) / 2) - z * z
    return np.where(x < 0, log_tail, np.log1p(-np.exp(log_tail)))


def _erfinv_over_x(square: float) -> float:
    """erfinv(x) / x of x = sqrt(square), by Newton's method."""
    x = math.sqrt(square)
    z = x
    for _ in range(20):
        z -= (math.erf(z) - x) * math.exp(z * z) * (math.sqrt(math.pi) / 2)
    return z / x


def _tail_over_w(log_w: float) -> float:
    """z / w where erfc(z) = exp(-w * w), by Newton's method on the logarithms of both sides."""
    z = w = math.exp(log_w)
    for _ in range(50):
        t = 1 / (1 + z / 2)
        scaled = _erfcx_over_t(t) * t
        z += (math.log(scaled) - z * z + w * w) * scaled * (math.sqrt(math.pi) / 2)
    return z / w


_SMALLEST, _LARGEST = 0.957, 27.5  # w, where erfc(z) is 0.4 and where it is the smallest number


def _inverse(erf, erfc):
    """The z at or above 0 with these values of erf and erfc, of which the smaller one counts."""
    z = erf * _fit(_erfinv_over_x, 0, 0.36, 14)(np.minimum(erf, 0.6) ** 2)
    tail = erf > 0.6
    w = np.sqrt(-np.log(erfc[tail]))
    z[tail] = w * _fit(_tail_over_w, math.log(_SMALLEST), math.log(_LARGEST), 28)(np.log(w))
    return np.where(erfc == 0, np.inf, z)


@in_double
def erfinv(x):
    """The inverse of erf. Mirrors torch.erfinv."""
    a = np.abs(x)
    return np.copysign(_inverse(a, 1 - a), x)


@in_double
def ndtri(p):
    """The inverse of the normal distribution's probability below x. Mirrors torch.special.ndtri."""
    both_tails = 2 * np.minimum(p, 1 - p)
    return np.copysign(math.sqrt(2) * _inverse(1 - both_tails, both_tails), p - 0.5)


# Bessel


def _scaled_bessel(n: int, x: float) -> float:
    """exp(-x) I_n(x), the mean of exp(x (cos t - 1)) cos(n t) over a circle."""
    t = np.linspace(0, 2 * math.pi, 30 + int(12 * math.sqrt(x)), endpoint=False)
    return float(np.mean(np.exp(x * (np.cos(t) - 1)) * np.cos(n * t)))


def _bessel_near(n: int, x: float) -> float:
    return _scaled_bessel(n, x) / x**n


def _bessel_far(n: int, inverse: float) -> float:
    return _scaled_bessel(n, 1 / inverse) / math.sqrt(inverse)


_of_order = {n: [functools.partial(f, n) for f in (_bessel_near, _bessel_far)] for n in (0, 1)}


def bessel_polynomials(n: int):
    """exp(-x) I_n(x) / x**n as a polynomial in x below 8; and times sqrt(x), in 1 / x above."""
    near, far = _of_order[n]
    return _fit(near, 0, 8, 26), _fit(far, 0, 1 / 8, 16)


def _modified_bessel(n: int, x):
    near, far = bessel_polynomials(n)
    a = np.abs(x)
    out = near(np.minimum(a, 8)) * x**n
    large = a > 8
    inverse = 1 / a[large]
    out[large] = far(inverse) * np.sqrt(inverse) * np.sign(x[large]) ** n
    return out


@in_double
def i0e(x):
    """exp(-|x|) i0(x). Mirrors torch.special.i0e."""
    return _modified_bessel(0, x)


@in_double
def i1e(x):
    """exp(-|x|) i1(x). Mirrors torch.special.i1e."""
    return _modified_bessel(1, x)


@in_double
def i0(x):
    """Bessel's modified function of order 0. Mirrors torch.i0."""
    return _modified_bessel(0, x) * np.exp(np.abs(x))


@in_double
def i1(x):
    """Bessel's modified function of order 1. Mirrors torch.special.i1."""
    return _modified_bessel(1, x) * np.exp(np.abs(x))
