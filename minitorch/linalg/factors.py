"""Matrices as products of simpler ones.

PyTorch: torch/linalg/__init__.py.
"""

from __future__ import annotations

from ..dispatch.declare import composite, functions, in_namespace
from ..dispatch.results import named_result
from ..ops import decompositions as base


@composite(out=True)
def cholesky(input, upper=False):
    """L, lower triangular, with L Lᵀ = input, symmetric and positive-definite. `upper`: Lᵀ.

    Raises LinAlgError for other matrices. Mirrors torch.cholesky, torch.linalg.cholesky.
    """
    return base.cholesky(input.mT).mT if upper else base.cholesky(input)


qr_result = named_result("qr", "Q R")


@in_namespace
def qr(A, mode="reduced"):
    """Q with orthonormal columns and R upper triangular, Q R = A. Mirrors torch.linalg.qr.

    mode: "reduced", "complete" (Q square), or "r" (Q is empty).
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    n, m = A.shape[-2:] if A.ndim > 1 else (0, 0)
    if n < m:  # the first n columns decide about Q; the others are multiplied by it
        q, r = base.qr(A[..., :n], False)
        r = functions["cat"]([r, q.mT @ A[..., n:]], -1)
    else:
        q, r = base.qr(A, mode == "complete")
    return qr_result(q.new_empty(0) if mode == "r" else q, r)


eigh_result = named_result("linalg_eigh", "eigenvalues eigenvectors")


@in_namespace
def eigh(A, UPLO="L"):
    """Eigenvalues, ascending, and orthonormal eigenvectors of symmetric matrices, of which only the
    half UPLO, "L" or "U", is read. Mirrors torch.linalg.eigh."""
    return eigh_result(*base.eigh(A, UPLO))


@in_namespace
def eigvalsh(A, UPLO="L"):
    """The eigenvalues of symmetric matrices, ascending. Mirrors torch.linalg.eigvalsh."""
    return base.eigh(A, UPLO)[0]


eig_result = named_result("linalg_eig", "eigenvalues eigenvectors")


@in_namespace
def eig(A):
    """Eigenvalues and eigenvectors of square matrices, complex. Mirrors torch.linalg.eig."""
    return eig_result(*base.eig(A))


@in_namespace
def eigvals(A):
    """The eigenvalues of square matrices, complex. Mirrors torch.linalg.eigvals."""
    return base.eig(A)[0]


svd_result = named_result("linalg_svd", "U S Vh")


@in_namespace
def svd(A, full_matrices=True, *, driver=None):
    """U, S, Vh with U diag(S) Vh = A: S descending, U's columns and Vh's rows orthonormal.

    `full_matrices`: complete them to square ones. Mirrors torch.linalg.svd.
    """
    return svd_result(*base.svd(A, full_matrices))


@in_namespace
def svdvals(A, *, driver=None):
    """The singular values, descending. Mirrors torch.linalg.svdvals."""
    return base.svd(A, False)[1]
