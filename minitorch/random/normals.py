"""Normal numbers made 16 together, as PyTorch makes them in contiguous tensors of 16 or more.

By Box and Muller's method a radius, whose square is exponential, and a uniform angle give two
independent normals, r cos(angle) and r sin(angle). Of 16 uniforms the first eight become radii and
the last eight angles; the cosines come first, then the sines.
Smaller tensors, and those that are not contiguous, get theirs from `Generator.normals`.
PyTorch: NormalFill16 in aten/src/ATen/native/cpu/DistributionTemplates.h.
"""

from __future__ import annotations

import math

import numpy as np

from minitorch.kernels.cpu.threads import parallel_for
from minitorch.random import rounding
from minitorch.random.generator import BLOCK, Generator, as_floats

PIECE = 32768  # numbers made at a time, in each thread: the temporaries stay in its cache


def normal_blocks(generator: Generator, n: int, dtype) -> np.ndarray:
    """n standard normals of dtype float32 or float64, n a multiple of 16. A uniform for each."""
    if dtype == np.float32 and n <= BLOCK // 2:
        radius, cos, sin = generator.take(n, as_polar).reshape(3, -1, 2, 8)
        radius, cos, sin = radius[:, 0], cos[:, 1], sin[:, 1]
        return np.concatenate([radius * cos, radius * sin], axis=1).reshape(-1)
    draw = generator.floats if dtype == np.float32 else generator.doubles
    uniforms = draw(n).reshape(-1, 2, 8)
    normals = np.empty((n // 16, 2, 8), dtype)

    def work(start: int, stop: int) -> None:
        radius = radii(uniforms[start:stop, 0])
        cos, sin = cos_sin(uniforms[start:stop, 1])
        np.multiply(radius, cos, out=normals[start:stop, 0])
        np.multiply(radius, sin, out=normals[start:stop, 1])

    parallel_for(n // 16, work, PIECE // 16)
    return normals.reshape(-1)


def as_polar(words: np.ndarray) -> np.ndarray:
    """Each word as a radius, and as an angle's cosine and sine: float32 (3, n).

    Twice as much as is needed, but the generator keeps it for a whole block of words, and the few
    normals of a small tensor are then three slices and two products.
    """
    uniforms = as_floats(words)
    return np.stack([radii(uniforms), *cos_sin(uniforms)])


def radii(uniforms: np.ndarray) -> np.ndarray:
    """sqrt(-2 log(1 - u))."""
    squares = rounding.log(np.ascontiguousarray(1 - uniforms))
    squares *= uniforms.dtype.type(-2)
    return np.sqrt(squares, out=squares)


def cos_sin(uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos(2 pi u) and sin(2 pi u)."""
    return rounding.cos_sin(uniforms * uniforms.dtype.type(2 * math.pi))
