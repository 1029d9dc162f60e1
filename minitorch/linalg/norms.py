"""How large vectors and matrices are.

PyTorch: torch/linalg/__init__.py.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..dispatch.declare import in_namespace
from ..ops import decompositions as base
from ..ops.reduce import _norm
from .factors import svdvals


@in_namespace
def vector_norm(input, ord=2, dim=None, keepdim=False, *, dtype=None):
    """sum(|x| ** ord) ** (1 / ord) over `dim` (default: of everything), of floats.

    `ord`: any number; inf and -inf are the largest and the smallest |x|, 0 counts what is not 0.
    Mirrors torch.linalg.vector_norm.
    """
    input = input if dtype is None else input.to(dtype)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating dtype, but got {input.dtype}")
    return _norm(input.abs() if input.is_complex() else input, ord, dim, keepdim)


@in_namespace
def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """The norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf or -inf. Mirrors linalg.matrix_norm."""
    A = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return vector_norm(A, 2, tuple(dim), keepdim)
    rows, columns = (d % A.ndim for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({rows}, {columns})")
    if ord == "nuc" or abs(ord) == 2:
        sizes = svdvals(A.movedim((rows, columns), (-2, -1)))
        result = sizes.sum(-1) if ord == "nuc" else sizes.amax(-1) if ord > 0 else sizes.amin(-1)
    elif abs(ord) in (1, math.inf):
        sums = A.abs().sum(rows if abs(ord) == 1 else columns, True)
        result = (sums.amax if ord > 0 else sums.amin)((rows, columns))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if not keepdim:
        return result
    return result.reshape([1 if i in (rows, columns) else n for i, n in enumerate(A.shape)])


@in_namespace
def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """The norm of vectors (`dim` an integer) or matrices (two of them). Mirrors torch.linalg.norm.

    Without `ord`: the root of the sum of all squares over `dim`.
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(dim, int) or (dim is not None and len(dim) == 1) or (dim is None and A.ndim == 1):
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    if (A.ndim if dim is None else len(dim)) != 2:
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.ndim}D."
        )
    return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)


@in_namespace
def cond(A, p=None):
    """How much a relative error may grow in solving: norm(A) * norm(base.inv(A)).

    Mirrors torch.linalg.cond.
    """
    if p is None or p in (2, -2):
        sizes = svdvals(A)
        return sizes[..., -1] / sizes[..., 0] if p == -2 else sizes[..., 0] / sizes[..., -1]
    return matrix_norm(A, p) * matrix_norm(base.inv(A), p)
