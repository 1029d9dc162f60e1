"""Products of vectors and matrices: matmul, which all others are made of.

PyTorch: aten/src/ATen/native/LinearAlgebra.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes, kernels
from ..dispatch.declare import op
from ..tensor import Tensor


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
    return product(input, other).astype(input.dtype, copy=False)  # of bfloat16 it is float32


def _matrix(a, vector_is_column: int) -> str:
    shape = a.shape if a.ndim > 1 else ((a.shape[0], 1) if vector_is_column else (1, a.shape[0]))
    return f"{shape[-2]}x{shape[-1]}"


def product(a, b):
    """a @ b in a formula: the kernel for arrays, the operation for Tensors."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return matmul(a, b)
    if (
        (a.ndim > 2 and b.ndim == 2 and a.size)
        # Copying the rows of a so that they follow each other must be little beside the product.
        and (a.flags.c_contiguous or b.shape[1] >= 8 * a.shape[-2])
    ):  # one product with all rows: one for each matrix of the batch would read b again and again
        rows = kernels.matmul(np.reshape(a, (-1, a.shape[-1])), b)
        return rows.reshape(*a.shape[:-1], b.shape[1])
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
