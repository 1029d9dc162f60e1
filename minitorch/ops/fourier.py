"""The three Fourier transforms that minitorch.fft is made of. NumPy computes them.

The matrix of a discrete Fourier transform is symmetric, so its transpose, which is what a
derivative needs, is the transform itself. Of the transform of real numbers one half says all: the
other half is its conjugate.
PyTorch: torch/fft/__init__.py, aten/src/ATen/native/SpectralOps.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import functions, op
from ..dispatch.op import plain, zeros

INVERSE_NORM = {"backward": "forward", "forward": "backward", "ortho": "ortho", None: "forward"}


@op(function=False, method=False)
def complex_to_complex(input, n, dim, norm, inverse):
    return (np.fft.ifft if inverse else np.fft.fft)(input, n, dim, norm)


def resized(x, n: int, dim: int):
    """`x` cut, or filled up with zeros, to `n` along `dim`."""
    have = x.shape[dim]
    if have > n:
        return x[(slice(None),) * dim + (slice(n),)]
    rest = zeros((*x.shape[:dim], n - have, *x.shape[dim + 1 :]), x) if have < n else None
    return x if rest is None else functions["cat"]([x, rest], dim)


complex_to_complex.derivatives(
    input=lambda grad, input_shape, dim, norm, inverse: resized(
        complex_to_complex(grad, grad.shape[dim], dim, norm, inverse), input_shape[dim], dim
    )
)


@op(function=False, method=False)
def real_to_half(input, n, dim, norm):
    return np.fft.rfft(input, n, dim, norm)


# The gradient of the half, with zeros for the other, goes through the whole transform; the engine
# takes the real part for the real input.
real_to_half.derivatives(
    input=lambda grad, input_shape, n, dim, norm: resized(
        complex_to_complex(resized(grad, n, dim), n, dim, norm, False), input_shape[dim], dim
    )
)


@op(function=False, method=False)
def half_to_real(input, n, dim, norm):
    return np.fft.irfft(input, n, dim, norm)


def _half_to_real_by_input(grad, input_shape, n, dim, norm):
    """All frequencies but 0 and the highest of an even n stand for two, themselves and their twin
    of the other half."""
    weights = np.full_like(plain(grad), 2, shape=n // 2 + 1)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    weights = weights.reshape([-1 if i == dim else 1 for i in range(len(input_shape))])
    spectrum = np.conj(real_to_half(grad, n, dim, INVERSE_NORM[norm]))
    return resized(spectrum * weights, input_shape[dim], dim)


half_to_real.derivatives(input=_half_to_real_by_input)
