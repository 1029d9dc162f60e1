"""Equations A X = B: inverses, solutions, determinants; and the nearest there is to them.

PyTorch: torch/linalg/__init__.py.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..dispatch.declare import composite, functions, in_namespace
from ..dispatch.results import named_result
from ..ops import decompositions as base
from ..ops.linalg import matmul
from ..tensor import Tensor
from .factors import eigvalsh, svdvals


@in_namespace
def inv(A):
    """The inverse of square matrices. Raises LinAlgError if there is none. Mirrors linalg.inv."""
    return base.inv(A)


def _is_vector(A_shape, B_shape) -> bool:
    """Whether B is a batch of vectors and not of matrices, by PyTorch's rule."""
    return len(B_shape) == 1 or (
        len(A_shape) - 1 == len(B_shape) and tuple(A_shape[:-1]) == tuple(B_shape)
    )


@in_namespace
def solve(A, B, *, left=True):
    """X with A X = B, or X A = B if not `left`. A: (..., n, n), B: (..., n) or (..., n, k).

    Raises LinAlgError for a singular A. Mirrors torch.linalg.solve.
    """
    if _is_vector(A.shape, B.shape):
        return base.solve(A, B.unsqueeze(-1)).squeeze(-1)
    return base.solve(A, B) if left else base.solve(A.mT, B.mT).mT


@in_namespace
def solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """`solve` for a triangular A; what is on its other side is not looked at.

    `unitriangular`: take its diagonal for ones. Mirrors torch.linalg.solve_triangular.
    """
    if unitriangular:
        one = functions["eye"](A.shape[-1], dtype=A.dtype, device=A.device)
        A = (A.triu(1) if upper else A.tril(-1)) + one
    else:
        A = A.triu() if upper else A.tril()
    return base.solve(A, B) if left else base.solve(A.mT, B.mT).mT


slogdet_result = named_result("slogdet", "sign logabsdet")


@composite(out=True)
def slogdet(input):
    """(sign, log of the absolute value) of the determinant. Mirrors torch.slogdet."""
    return slogdet_result(*base.slogdet(input))


@composite(out=True)
def det(input):
    """The determinant of square matrices. Mirrors torch.det, torch.linalg.det."""
    return base.det(input)


@in_namespace
def tensorinv(A, ind=2):
    """The inverse of `tensordot` with A, whose first `ind` dimensions are the rows.

    Mirrors torch.linalg.tensorinv.
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = A.shape[:ind], A.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod({list(rows)}) == prod({list(columns)})"
        )
    return base.inv(A.reshape(math.prod(rows), -1)).reshape([*columns, *rows])


@in_namespace
def tensorsolve(A, B, dims=None):
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first.

    Mirrors torch.linalg.tensorsolve.
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = A.shape[B.ndim :]
    if math.prod(shape) != B.numel():
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {math.prod(shape)} != {B.numel()}"
        )
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)


@in_namespace
def pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None):
    """The pseudo-inverse; singular values up to max(atol, rtol * the largest) count as 0.

    Mirrors torch.linalg.pinv.
    """
    rtol = rcond if rtol is None else rtol
    if 0 in A.shape[-2:]:
        return base.pinv(A, 0.0, hermitian)
    if atol is None and not isinstance(rtol, Tensor):
        usual = max(A.shape[-2:]) * np.finfo(A.array.dtype).eps
        return base.pinv(A, usual if rtol is None else rtol, hermitian)
    with np.errstate(all="ignore"):
        largest = svdvals(A.detach())[..., :1].amax(-1)
    return base.pinv(A, _tolerance(A, largest, atol, rtol) / largest, hermitian)


def _tolerance(A, largest, atol, rtol):
    """Below this a singular value counts as 0."""
    if rtol is None:
        given = atol is not None and bool(np.any(np.asarray(atol) > 0))
        rtol = 0.0 if given else max(A.shape[-2:]) * dtypes.finfo(A.dtype).eps
    return functions["maximum"](rtol * largest, largest * 0 + (0 if atol is None else atol))


@in_namespace
def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None):
    """How many singular values are not 0, up to the tolerance. Mirrors torch.linalg.matrix_rank."""
    sizes = eigvalsh(A).abs() if hermitian else svdvals(A)
    if not sizes.numel():
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    if tol is not None:
        atol, rtol = tol, 0.0
    limit = _tolerance(A, sizes.amax(-1), atol, rtol)
    return (sizes > limit.unsqueeze(-1)).sum(-1)


lstsq_result = named_result("linalg_lstsq", "solution residuals rank singular_values")


@in_namespace
def lstsq(A, B, rcond=None, *, driver=None):
    """X for which A X is nearest to B, (..., n, m) and (..., n, k), by the pseudo-inverse.

    (solution, residuals, rank, singular values). `driver`: which of these are filled in, as
    LAPACK's routine of that name does, "gelsy" by default. Mirrors torch.linalg.lstsq.
    """
    driver = "gelsy" if driver is None else driver
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    if A.ndim < 2:
        raise RuntimeError("torch.linalg.lstsq: input must have at least 2 dimensions.")
    vector = A.ndim > B.ndim
    if vector:
        B = B.unsqueeze(-1)
    solution = matmul(pinv(A, rcond), B)
    nothing = solution.reshape(-1)[:0]
    sizes = svdvals(A.detach()) if driver in ("gelsd", "gelss") else nothing.detach()
    rank = matrix_rank(A.detach(), rtol=rcond)
    n, m = A.shape[-2:]
    residuals = nothing
    if driver != "gelsy" and n > m and bool((rank == m).all()):
        residuals = ((matmul(A, solution) - B) ** 2).sum(-2)
    if driver == "gels":
        rank = nothing.detach().to(dtypes.int64)
    return lstsq_result(solution.squeeze(-1) if vector else solution, residuals, rank, sizes)
