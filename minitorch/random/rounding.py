"""The last digit: logarithms, sines and multiply-adds as PyTorch's compiled loops round them.

Why: equal words give equal numbers only if every step from one to the other is rounded alike, and
NumPy's vectorised functions differ from PyTorch's in the last digit of one result in ten. There are
three cases. The processor's fused multiply-add rounds once, where NumPy's product and sum round
twice. Of doubles, PyTorch takes the functions of the C library, which Python has in `math`. Of
float32 numbers made 16 at a time, PyTorch takes polynomials from Moshier's Cephes library, compiled
so that each step is one multiply-add; they are here step by step.
PyTorch: aten/src/ATen/native/cpu/avx_mathfun.h (on processors with AVX2; others differ in a digit).
"""

from __future__ import annotations

import math

import numpy as np

FEW = 1024  # so many doubles go through `math` one by one; more would take too long that way

float32, float64 = np.float32, np.float64


def multiply_add(x: np.ndarray, y, z, dtype=float64) -> np.ndarray:
    """x * y + z rounded once, in the type of x: float32 or float64. `dtype`: see `c_library`."""
    if x.dtype == float32:  # a product of two floats is exact in double
        wide = np.multiply(x, y, dtype=float64)
        wide += z
        return wide.astype(float32)
    if dtype != float64:
        return x * y + z
    # The rounding errors of product (Dekker) and sum (Knuth) are added back.
    y, z = float(y), float(z)
    product = x * y
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    total = product + z
    z_part = total - product
    error += (product - (total - z_part)) + (z - z_part)
    return total + error


def _halves(x):
    """x as a sum of two numbers of 26 bits, whose products are exact."""
    spread = x * (2.0**27 + 1)
    high = spread - (spread - x)
    return high, x - high


def c_library(name: str, x: np.ndarray, dtype=float64) -> np.ndarray:
    """NumPy's function of that name; of at most FEW doubles, as the C library rounds it.

    `dtype`: of the number that is made of it. If that is a smaller one the last digit is lost.
    """
    if x.size <= FEW and x.dtype == float64 == dtype:
        try:
            values = map(getattr(math, name), x.ravel().tolist())
            return np.array([*values], float64).reshape(x.shape)
        except (ValueError, OverflowError):  # log(0), exp(1000): infinities, which NumPy knows
            pass
    return getattr(np, name)(x)


# Cephes in single precision. Coefficients of the highest power first.
_LOG: tuple[float, ...] = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1)
_LOG += (1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_LN2 = (-2.12194440e-4, 0.693359375)  # ln 2 as a sum; the second one has nine bits
_PI_4 = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # pi / 4, likewise


def _polynomial(coefficients, x: np.ndarray) -> np.ndarray:
    """Horner's scheme, each step a multiply-add: computed in double, rounded to float32."""
    first, second, *others = [float(float32(c)) for c in coefficients]
    x = x.astype(float64)
    value = x * first
    value += second
    for c in others:
        np.multiply(value.astype(float32), x, out=value)
        value += c
    return value.astype(float32)


def log(x: np.ndarray) -> np.ndarray:
    """The logarithm of numbers above 0, float32 or float64.

    x = m 2^e with m in [sqrt(1/2), sqrt(2)): log x = log m + e ln 2, and with f = m - 1,
    log m = f - f^2 / 2 + f^3 p(f).
    """
    if x.dtype == float64:
        return c_library("log", x)
    f, e = np.frexp(x)
    small = (f < float32(math.sqrt(0.5))).astype(float32)
    e = e.astype(float32) - small
    f *= small + float32(1)
    f -= float32(1)
    square = f * f
    p = _polynomial(_LOG, f)
    p *= f
    p = multiply_add(p, square, e * float32(_LN2[0]))
    p -= square * float32(0.5)
    p += f
    p += e * float32(_LN2[1])
    return p


def cos_sin(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosine and the sine of angles in [0, 2 pi], float32 or float64.

    An even number j of eighths of a turn is taken off, and leaves t in [-pi/4, pi/4]. There
    sin t = t + t^3 p(t^2) and cos t = 1 - t^2 / 2 + t^4 q(t^2); j says which of them the sine is,
    and with what sign.
    """
    if x.dtype == float64:
        return c_library("cos", x), c_library("sin", x)
    j = (x * float32(4 / math.pi)).astype(np.int32)
    j += 1
    j &= ~1
    turn = j.astype(float32)
    t = x - turn * float32(_PI_4[0])
    t -= turn * float32(_PI_4[1])
    t = multiply_add(turn, float32(-_PI_4[2]), t)
    square = t * t
    sin = _polynomial(_SIN, square)
    sin *= square
    sin = multiply_add(sin, t, t)
    cos = _polynomial(_COS, square)
    cos *= square
    cos = multiply_add(cos, square, square * float32(-0.5))
    cos += float32(1)
    # Exchanging the two and changing signs, all on the bits: quicker than np.where.
    sin_bits, cos_bits = sin.view(np.int32), cos.view(np.int32)
    swap = (sin_bits ^ cos_bits) & -(j >> 1 & 1)
    sin_bits ^= swap
    cos_bits ^= swap
    sin_bits ^= j << 29 & -(2**31)  # bit 2 of j becomes the sign
    cos_bits ^= j + 2 << 29 & -(2**31)
    return cos, sin
