"""Functions of two numbers: fmod, remainder and floor_divide, hypot, logaddexp.

NumPy computes these one element after the other, with every precaution there and then. Here a block
is first computed the plain way, by quick loops, and one look at the intermediate results (a maximum
or a scalar product, in which infinities and nans show) tells whether it needed any precaution. The
few blocks that did are handed to NumPy. Results are the same, or closer.

Why the plain way is exact for division: in float64 the quotient of two float32 numbers below 2^29
never rounds up to a whole number, because x / y keeps a distance of at least 2^-24 of itself from
any whole number that it is not. Its whole part has 29 bits and y has 24, so that their product fits
the 53 bits of a float64; and so does the difference from x.

PyTorch: aten/src/ATen/native/cpu/BinaryOpsKernel.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .blocking import blocks, elementwise
from .exponential import FEW

_BLOCK = 1 << 15
_SIGN = np.int32(-(2**31))  # the bit
_FLOAT32 = np.finfo(np.float32)


def _guarded(careful: np.ufunc, dtypes: str = "f"):
    """Decorates quick(out, x, y, work), which says whether `out` is right; else it is `careful`'s.

    `work` has room for three float64 blocks.
    """

    def decorate(quick: Callable[..., bool]):
        def block(out, x, y):
            out, x, y = out.reshape(-1), x.reshape(-1), y.reshape(-1)
            work = np.empty((3, min(out.size, _BLOCK)))
            with np.errstate(all="ignore"):
                for part in blocks(0, out.size, _BLOCK):
                    if not quick(out[part], x[part], y[part], work[:, : part.stop - part.start]):
                        careful(x[part], y[part], out=out[part])

        def kernel(x, y):
            dtype = x.dtype if isinstance(x, np.ndarray) else y.dtype
            if max(np.size(x), np.size(y)) <= FEW or dtype.char not in dtypes:
                return careful(x, y)
            x, y = np.broadcast_arrays(np.asarray(x, dtype), np.asarray(y, dtype))
            return elementwise(block, np.ascontiguousarray(x), np.ascontiguousarray(y))

        kernel.__name__ = kernel.__qualname__ = careful.__name__
        kernel.__doc__ = f"np.{careful.__name__}(x, y), broadcast. {quick.__doc__}"
        return kernel

    return decorate


def _whole_quotient(x, y, work, rounding):
    """x, y and their quotient, rounded by `rounding`, in float64; and whether that is exact."""
    wide, divisor, quotient = work
    wide[...], divisor[...] = x, y
    np.divide(wide, divisor, out=quotient)
    rounding(quotient, out=quotient)
    return wide, divisor, quotient, quotient @ quotient < 2.0**58 and math.isfinite(y @ y)


def _rest(out, x, y, work, rounding, signed):
    """out = x - rounding(x / y) * y, where a 0 has the sign of `signed`."""
    wide, divisor, quotient, exact = _whole_quotient(x, y, work, rounding)
    quotient *= divisor
    wide -= quotient
    out[...] = wide
    bits = out.view(np.int32)
    bits |= signed.view(np.int32) & _SIGN
    return exact


@_guarded(np.fmod)
def fmod(out, x, y, work):
    """Mirrors torch.fmod."""
    return _rest(out, x, y, work, np.trunc, x)


@_guarded(np.remainder)
def remainder(out, x, y, work):
    """Mirrors torch.remainder."""
    return _rest(out, x, y, work, np.floor, y)


@_guarded(np.floor_divide)
def floor_divide(out, x, y, work):
    """Mirrors torch.floor_divide."""
    *_, out[...], exact = _whole_quotient(x, y, work, np.floor)
    return exact


@_guarded(np.hypot)
def hypot(out, x, y, work):
    """Mirrors torch.hypot."""
    square, other, _ = work
    square[...], other[...] = x, y
    square *= square
    other *= other
    square += other
    out[...] = square
    inside = out.min() >= _FLOAT32.smallest_normal and out.max() <= _FLOAT32.max
    np.sqrt(out, out=out)
    return inside


@_guarded(np.logaddexp, "fd")
def logaddexp(out, x, y, work):
    """max(x, y) + log1p(exp(-|x - y|)), in which nothing overflows. Mirrors torch.logaddexp."""
    np.maximum(x, y, out=out)
    below = work[0].view(out.dtype)[: out.size]
    np.minimum(x, y, out=below)
    below -= out
    if np.isnan(below.max()):
        below[np.isinf(out)] = 0  # infinity less infinity; the sum is infinite anyhow
    np.exp(below, out=below)
    np.log1p(below, out=below)
    out += below
    return True
