"""Products of vectors and matrices: matmul, and what is matmul for a stated number of dimensions.

PyTorch: aten/src/ATen/native/LinearAlgebra.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes, kernels
from ..tensor import Tensor
from .declare import composite, functions, op


def _same_type(a, b) -> None:
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_name(a)} != {_name(b)}"
        )


def _name(a) -> str:
    d = dtypes.of(a)
    return {"Long": "long int", "Byte": "unsigned char"}.get(d.legacy_name, d.legacy_name.lower())


@op(numpy=np.matmul, pair=True)
def matmul(input, other):
    """The product of vectors, matrices or batches of them, (..., n, k) @ (..., k, m).

    Raises RuntimeError for sizes or dtypes that do not go together. Mirrors torch.matmul.
    """
    _same_type(input, other)
    if not input.ndim or not other.ndim:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{input.ndim}D and {other.ndim}D"
        )
    inner = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({_matrix(input, 0)} and "
            f"{_matrix(other, 1)})"
        )
    if input.ndim > 2 and other.ndim == 2 and input.size and input.flags.c_contiguous:
        # One product with all rows is quicker than one for each matrix of the batch.
        rows = kernels.matmul(input.reshape(-1, inner), other)
        result = rows.reshape(*input.shape[:-1], other.shape[-1])
    else:
        result = kernels.matmul(input, other)
    return result.astype(input.dtype, copy=False)  # that of bfloat16 comes as float32


def _matrix(a, vector_is_column: int) -> str:
    shape = a.shape if a.ndim > 1 else ((a.shape[0], 1) if vector_is_column else (1, a.shape[0]))
    return f"{shape[-2]}x{shape[-1]}"


def product(a, b):
    """a @ b in a formula: the kernel for arrays, the operation for Tensors."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return matmul(a, b)
    return kernels.matmul(a, b)


def _matmul_by_input(grad, input_shape, other):
    if len(other.shape) == 1:  # (..., n) @ (n) -> (...)
        return np.expand_dims(grad, -1) * other
    if len(input_shape) == 1:  # (n) @ (..., n, m) -> (..., m)
        return product(other, np.expand_dims(grad, -1))[..., 0]
    return product(grad, other.swapaxes(-1, -2))  # (..., n, m) @ (m, k) -> (..., n, k)


def _matmul_by_other(grad, input, other_shape):
    if len(input.shape) == 1:
        if len(other_shape) == 1:  # (n) @ (n) -> ()
            return grad * input
        return np.expand_dims(input, -1) * np.expand_dims(grad, -2)
    if len(other_shape) == 1:
        return product(np.swapaxes(input, -1, -2), np.expand_dims(grad, -1))[..., 0]
    if len(other_shape) == 2 and len(input.shape) > 2:
        # a weight for many rows: the product sums over them
        rows = math.prod(input.shape[:-1])
        input = np.reshape(input, (rows, input.shape[-1]))
        grad = np.reshape(grad, (rows, grad.shape[-1]))
    return product(input.swapaxes(-1, -2), grad)  # (k, n) @ (n, m) -> (k, m)


matmul.derivatives(input=_matmul_by_input, other=_matmul_by_other)


# Products of a stated number of dimensions


def _expect(function: str, **tensors) -> None:
    """Raise unless each of `tensors`, name=(tensor, dimensions), has that many dimensions."""
    for name, (tensor, ndim) in tensors.items():
        if tensor.ndim != ndim:
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
    if input.shape[0] != mat2.shape[0]:
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
    return dot(functions["conj"](input), other)


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
