"""matmul for a stated number of dimensions, and what such a product is added to.

PyTorch: aten/src/ATen/native/LinearAlgebra.cpp, Blas.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import composite
from ..ops.complex_numbers import conj
from ..ops.linalg import matmul


def _expect(function: str, **tensors) -> None:
    """Raise unless each of `tensors`, name=(tensor, dimensions), has that many dimensions."""
    for name, (tensor, ndim) in tensors.items():
        if tensor.array.ndim != ndim:
            kind = {1: "vector", 2: "matrix", 3: "3D tensor"}[ndim]
            raise RuntimeError(f"{function}: {name} must be a {kind}, got {tensor.ndim}-D tensor")


@composite(out=True)
def mm(input, mat2):
    """The product of two matrices (n, k) @ (k, m). Mirrors torch.mm."""
    _expect("mm", self=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2)


@composite(out=True)
def bmm(input, mat2):
    """The products of two batches (b, n, k) @ (b, k, m). Mirrors torch.bmm."""
    _expect("bmm", batch1=(input, 3), batch2=(mat2, 3))
    if input.array.shape[0] != mat2.array.shape[0]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, "
            f"{input.shape[2]}] but got: [{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    return matmul(input, mat2)


@composite(out=True)
def mv(input, vec):
    """A matrix (n, m) times a vector (m). Mirrors torch.mv."""
    _expect("mv", input=(input, 2), vec=(vec, 1))
    return matmul(input, vec)


@composite(out=True)
def dot(input, tensor):
    """The sum of the products of two vectors' elements. Mirrors torch.dot."""
    _expect("dot", self=(input, 1), tensor=(tensor, 1))
    if input.shape != tensor.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{len(input)}] and src [{len(tensor)}] to "
            "have the same number of elements, but got "
            f"{len(input)} and {len(tensor)} elements respectively"
        )
    return matmul(input, tensor)


@composite(out=True)
def vdot(input, other):
    """`dot` with the complex conjugate of `input`. Mirrors torch.vdot."""
    return dot(conj(input), other)


@composite(out=True, aliases=("ger",))
def outer(input, vec2):
    """All products of the elements of two vectors: (n), (m) -> (n, m). Mirrors torch.outer."""
    _expect("outer", self=(input, 1), vec2=(vec2, 1))
    return input.unsqueeze(1) * vec2


# beta * input + alpha * a product


def _add(input, beta, alpha, value):
    """beta * input + alpha * value, in a shape of value's; `input` counts for nothing if beta is 0,
    though it be nan."""
    if np.broadcast_shapes(input.shape, value.shape) != value.shape:
        raise RuntimeError(
            f"The expanded size of the tensor must match: {list(input.shape)} does not broadcast "
            f"to {list(value.shape)}"
        )
    if not (value.dtype.is_floating_point or value.dtype.is_complex):
        beta, alpha = int(beta), int(alpha)
    if input.dtype is not value.dtype:
        raise RuntimeError(
            f"self and the product must have the same dtype, got {input.dtype} and {value.dtype}"
        )
    value = value if alpha == 1 else value * alpha
    if beta == 0:
        return value
    return (input if beta == 1 else input * beta) + value


@composite(out=True, inplace=True)
def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    """beta * input + alpha * (mat1 @ mat2). Mirrors torch.addmm."""
    return _add(input, beta, alpha, mm(mat1, mat2))


@composite(out=True, inplace=True)
def addmv(input, mat, vec, *, beta=1, alpha=1):
    """beta * input + alpha * (mat @ vec). Mirrors torch.addmv."""
    return _add(input, beta, alpha, mv(mat, vec))


@composite(out=True, inplace=True)
def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """beta * input + alpha * outer(vec1, vec2). Mirrors torch.addr."""
    return _add(input, beta, alpha, outer(vec1, vec2))


@composite(out=True, inplace=True)
def baddbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * bmm(batch1, batch2). Mirrors torch.baddbmm."""
    return _add(input, beta, alpha, bmm(batch1, batch2))


@composite(out=True, inplace=True)
def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * (the sum of bmm(batch1, batch2)). Mirrors torch.addbmm."""
    return _add(input, beta, alpha, bmm(batch1, batch2).sum(0))
