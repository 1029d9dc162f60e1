"""Products of vectors, and of many matrices; powers and the exponential.

PyTorch: torch/linalg/__init__.py.
"""

from __future__ import annotations

import functools
import math

from .. import dtypes
from ..dispatch.declare import composite, functions, in_namespace
from ..dispatch.dims import axes
from ..ops import decompositions as base
from ..ops.linalg import matmul


@in_namespace
def cross(input, other, *, dim=-1):
    """The cross product of vectors of three along `dim`, broadcast. Mirrors torch.linalg.cross."""
    dim = axes(dim, max(input.ndim, other.ndim))[0] - max(input.ndim, other.ndim)
    if input.ndim != other.ndim or input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3, and both the same number of "
            f"dimensions. Got {list(input.shape)} and {list(other.shape)}"
        )
    a, b = functions["broadcast_tensors"](input, other)
    roll = functions["roll"]
    return roll(a, -1, dim) * roll(b, 1, dim) - roll(a, 1, dim) * roll(b, -1, dim)


@in_namespace
def vecdot(x, y, *, dim=-1):
    """The dot products of vectors along `dim`, broadcast. Mirrors torch.linalg.vecdot."""
    return (functions["conj"](x) * y).sum(dim)


@composite(out=True)
def matrix_power(input, n):
    """The square matrix `input` (..., k, k) times itself, `n` factors; n < 0: of its inverse.

    Mirrors torch.matrix_power, torch.linalg.matrix_power.
    """
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            "linalg.matrix_power: A must be batches of square matrices, but they are "
            f"{list(input.shape[-2:])}"
        )
    if n < 0:
        input, n = base.inv(input), -n
    if n == 0:
        one = functions["eye"](input.shape[-1], dtype=input.dtype, device=input.device)
        always = functions["ones_like"](input, dtype=dtypes.bool_)
        # Not of `input`, but in its graph.
        return functions["where"](always, one.expand(input.shape), input)
    power, result = input, None
    while n:  # the binary digits of n say which of the powers 1, 2, 4, ... to multiply
        if n & 1:
            result = power if result is None else matmul(result, power)
        n >>= 1
        power = matmul(power, power) if n else power
    return result.clone() if result is input else result


@in_namespace
def multi_dot(tensors):
    """The product of several matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors. Mirrors torch.linalg.multi_dot.
    """
    if len(tensors) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(tensors)))
    for i, t in enumerate(tensors):
        if t.ndim != 2 and not (t.ndim == 1 and i in (0, len(tensors) - 1)):
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {t.ndim}D")
    extents = [tensors[0].shape[0] if tensors[0].ndim > 1 else 1]
    extents += [t.shape[0] for t in tensors[1:]]
    extents.append(tensors[-1].shape[1] if tensors[-1].ndim > 1 else 1)

    @functools.cache
    def best(i, j):
        """The fewest multiplications for the factors i to j, and where to cut them in two."""
        if i == j:
            return 0, i
        return min(
            (best(i, k)[0] + best(k + 1, j)[0] + extents[i] * extents[k + 1] * extents[j + 1], k)
            for k in range(i, j)
        )

    def multiply(i, j):
        if i == j:
            return tensors[i]
        k = best(i, j)[1]
        return matmul(multiply(i, k), multiply(k + 1, j))

    return multiply(0, len(tensors) - 1)


@composite
def matrix_exp(A):
    """The exponential of square matrices: 1 + A + A²/2! + ... Mirrors torch.linalg.matrix_exp.

    exp(A) = exp(A / 2ˢ) squared s times, with s so large that a short series is exact.
    """
    if A.dtype in (dtypes.float16, dtypes.bfloat16):
        return matrix_exp(A.to(dtypes.float32)).to(A.dtype)
    base.lapack("matrix_exp", A.array, function=lambda A: A)
    largest = float(A.detach().abs().sum(-2).amax()) if A.numel() else 0.0
    if not math.isfinite(largest):
        return A * math.nan
    squarings = max(0, math.ceil(math.log2(largest)) + 1) if largest > 0 else 0
    A = A / 2**squarings
    one = functions["eye"](A.shape[-1], dtype=A.dtype, device=A.device)
    result = one
    for k in range(18, 0, -1):  # Horner; the rest after 18 terms is below 1e-21 for norms up to 1/2
        result = one + matmul(A, result.expand(A.shape)) / k
    for _ in range(squarings):
        result = matmul(result, result)
    return result


@in_namespace
def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """`torch.diagonal` of matrices in the last two dimensions. Mirrors torch.linalg.diagonal."""
    return A.diagonal(offset, dim1, dim2)


def powers(x, n: int):
    """1, x, x ** 2, ...: `n` of them, along a new last dimension."""
    factors = [functions["ones_like"](x)] + [x] * (n - 1)
    return functions["stack"](factors, -1).cumprod(-1)[..., :n]


@in_namespace
def vander(x, *, N=None):
    """The first `N` powers of each element (..., n): (..., n, N). Mirrors torch.linalg.vander."""
    n = N if N is not None else x.shape[-1] if x.ndim else 1
    if n < 2:
        raise RuntimeError("N must be greater than 1.")
    return powers(x if x.ndim else x.reshape(1), n)
