"""Solving, inverting and factoring matrices, and batches of them: (..., n, m).

NumPy calls LAPACK for the values. A derivative is found by differentiating the equation that
defines the result (A X = B, L Lᵀ = A, ...) and solving it for the change of the result: each
formula names its equation. What is made of these, and all public names, are in minitorch/linalg.py.
For complex matrices ᵀ is also the conjugate; `np.conj` leaves real ones as they are.
PyTorch: aten/src/ATen/native/BatchLinearAlgebra.cpp, torch/csrc/autograd/FunctionsManual.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes, kernels
from ..dispatch.declare import op
from ..dispatch.op import plain
from ..tensor import Tensor


class LinAlgError(RuntimeError):
    """A matrix is singular, or not of the kind asked for. Mirrors torch.linalg.LinAlgError."""


def lapack(name: str, A, *more, square=True, function=None, failed="", **options):
    """`np.linalg`'s function of this name, with PyTorch's requirements and errors."""
    if A.dtype.kind not in "fc" or A.dtype.itemsize < 4:
        low = A.dtype.kind in "fV" or (A.dtype.itemsize < 4 and A.dtype.kind not in "biu")
        got = dtypes.of(A).legacy_name
        raise RuntimeError(
            f"linalg.{name}: Low precision dtypes not supported. Got {got}"
            if low
            else f"linalg.{name}: Expected a floating point or complex tensor as input. Got {got}"
        )
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, got {A.ndim}."
        )
    if square and A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {A.shape[-2]} by "
            f"{A.shape[-1]} matrices"
        )
    try:
        return (function or getattr(np.linalg, name))(A, *more, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{name}: {failed or error}") from None


def _real(A, name: str) -> None:
    if np.issubdtype(plain(A).dtype, np.complexfloating):
        raise RuntimeError(f"linalg.{name}: no derivative for complex matrices here, only values")


def _skew(X):
    return X - X.mT


def _one(like, dtype=None):
    """The identity with as many columns as `like`. (CuPy's eye cannot be asked through NumPy's.)"""
    like = plain(like)
    return np.asarray(np.eye(like.shape[-1], dtype=dtype or like.dtype), like=like)


def _diagonal_matrix(x):
    """The vectors x (..., n) on the diagonals of matrices (..., n, n)."""
    return np.expand_dims(x, -1) * _one(x)


def _inverse_differences(x):
    """1 / (x_j - x_i) at (i, j), and 0 on the diagonal."""
    one = _one(x)
    return 1 / (np.expand_dims(x, -2) - np.expand_dims(x, -1) + one) - one


# Solving


_SINGULAR = (
    "the matrix is singular (in a batch: one of them), there is no inverse. linalg.pinv and "
    "linalg.lstsq give the nearest there is."
)


@op(function=False, method=False)
def inv(A):
    failed = "The inversion could not be completed: " + _SINGULAR
    return lapack("inv", A, function=kernels.inverse, failed=failed)


inv.derivatives(A=lambda grad, out: -(out.mT @ grad @ out.mT))  # A X = 1: dX = -X dA X


@op(function=False, method=False)
def solve(A, B):
    square = A.ndim < 2 or A.shape[-1] == A.shape[-2]  # otherwise it is for lapack to say so
    if square and (B.ndim < 2 or A.shape[-1] != B.shape[-2]):
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation AX = B: {A.shape} and "
            f"{B.shape}"
        )
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type "
            f"{dtypes.of(A)} and B of type {dtypes.of(B)} instead"
        )
    return lapack("solve", A, B, failed="The solver failed: " + _SINGULAR)


# A X = B: dX = inv(A) (dB - dA X)
solve.derivatives(
    A=lambda grad, A, out: -(solve(A.mT, grad) @ out.mT),
    B=lambda grad, A: solve(A.mT, grad),
)


# The determinant: d det(A) = <cofactors of A, dA>; where A has an inverse these are det(A) inv(A)ᵀ.


@op(function=False, method=False)
def det(A):
    return lapack("det", A)


def _det_by_input(grad, A, out):
    grad = grad[..., None, None]
    if isinstance(A, Tensor) or _invertible(A):
        return grad * (out[..., None, None] * inv(A).mT)
    u, s, vh = np.linalg.svd(A)  # of a singular matrix: the products of all but one of them
    others = np.where(_one(s, bool), 1, s[..., None, :]).prod(-1)
    sign = (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    return grad * (sign * ((u * others[..., None, :]) @ vh)).conj()


def _invertible(A) -> bool:
    return not A.size or bool(np.all(np.linalg.cond(A) < 0.1 / np.finfo(A.dtype).eps))


det.derivatives(A=_det_by_input)


@op(function=False, method=False, many=True)
def slogdet(A):
    return tuple(lapack("slogdet", A))


@slogdet.joint_derivative("A")
def _slogdet_by_input(grads, wanted, A):
    if grads[0] is not None:  # the sign of a real determinant has steps alone
        _real(A, "slogdet")
    return [0 * A if grads[1] is None else grads[1][..., None, None] * inv(A).mT]


# Factorings


@op(function=False, method=False)
def cholesky(A):
    return lapack(
        "cholesky",
        A,
        failed="The factorization could not be completed because the input is not "
        "positive-definite.",
    )


def _cholesky_by_input(grad, out):
    """L Lᵀ = A: dL = L Φ(inv(L) dA inv(L)ᵀ), where Φ takes the lower half."""
    half = np.tri(out.shape[-1], like=plain(out)) - _one(out, float) / 2
    inner = (out.mT @ grad) * half.astype(plain(out).dtype)
    inverse = inv(out)
    grad = inverse.mT @ inner @ np.conj(inverse)
    return (grad + np.conj(grad).mT) / 2


cholesky.derivatives(A=_cholesky_by_input)


@op(function=False, method=False, many=True, outputs=("q", "r"))
def qr(A, complete):
    mode = "complete" if complete else "reduced"
    return tuple(lapack("qr", A, square=False, mode=mode))


@qr.joint_derivative("A")
def _qr_by_input(grads, wanted, A_shape, q, r, complete):
    """Q R = A with QᵀQ = 1: for A (n, m) with n >= m."""
    if complete and A_shape[-2] > A_shape[-1]:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
        )
    _real(q, "qr")
    by_q, by_r = (0 * x if g is None else g for x, g in zip((q, r), grads, strict=True))
    M = r @ by_r.mT - by_q.mT @ q
    lower = np.tri(M.shape[-1], dtype=plain(M).dtype, like=plain(M))
    symmetric = M * lower + (M * (lower - _one(M))).mT
    return [solve(r, (by_q + q @ symmetric).mT).mT]


@op(function=False, method=False, many=True, outputs=("values", "vectors"))
def eigh(A, UPLO):
    return tuple(lapack("eigh", A, UPLO=UPLO))


@eigh.joint_derivative("A")
def _eigh_by_input(grads, wanted, values, vectors):
    """A V = V diag(L) with VᵀV = 1."""
    by_values, by_vectors = grads
    inner = 0 if by_values is None else _diagonal_matrix(by_values)
    if by_vectors is not None:
        inner = inner + (vectors.mT @ by_vectors) * _inverse_differences(values)
    grad = np.conj(vectors) @ inner @ vectors.mT
    return [(grad + np.conj(grad).mT) / 2]


@op(function=False, method=False, many=True, outputs=("values", "vectors"))
def eig(A):
    values, vectors = lapack("eig", A)
    kind = np.result_type(A.dtype, np.complex64)  # complex, even where all of them are real
    return values.astype(kind, copy=False), vectors.astype(kind, copy=False)


@eig.joint_derivative("A")
def _eig_by_input(grads, wanted, values, vectors):
    """A V = V diag(L) with columns of V of length 1."""
    by_values, by_vectors = grads
    inner = 0 if by_values is None else _diagonal_matrix(by_values)
    if by_vectors is not None:
        along = vectors.mT @ by_vectors
        length = np.expand_dims((by_vectors * vectors).sum(-2).real, -2)  # which does not change
        along = along - (vectors.mT @ np.conj(vectors)) * length
        inner = inner + along * _inverse_differences(values)
    return [solve(vectors.mT, inner @ vectors.mT)]


@op(function=False, method=False, many=True, outputs=("u", "s", "vh"))
def svd(A, full_matrices):
    return tuple(lapack("svd", A, square=False, full_matrices=full_matrices))


@svd.joint_derivative("A")
def _svd_by_input(grads, wanted, A_shape, u, s, vh):
    """U diag(S) Vᵀ = A with UᵀU = VᵀV = 1."""
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    by_u, by_s, by_vh = grads
    if by_u is not None or by_vh is not None:
        _real(u, "svd")
    inner = 0 if by_s is None else _diagonal_matrix(by_s)
    sizes = s * s
    outside = 0  # what a change of U or V does outside of the space that the others span
    if by_u is not None:
        by_u = by_u[..., :k]
        inner = inner + _skew(u.mT @ by_u) * _inverse_differences(sizes) * np.expand_dims(s, -2)
        if A_shape[-2] > k:
            scaled = by_u / np.expand_dims(s, -2)
            outside = (scaled - u @ (u.mT @ scaled)) @ vh
    if by_vh is not None:
        by_v = by_vh[..., :k, :].mT
        inner = inner + np.expand_dims(s, -1) * (_skew(vh @ by_v) * _inverse_differences(sizes))
        if A_shape[-1] > k:
            scaled = (by_v / np.expand_dims(s, -2)).mT
            outside = outside + u @ (scaled - (scaled @ vh.mT) @ vh)
    return [np.conj(u) @ inner @ np.conj(vh) + outside]


@op(function=False, method=False)
def pinv(A, rcond, hermitian):
    if type(A) is np.ndarray:
        return lapack("pinv", A, square=False, rcond=rcond, hermitian=hermitian)
    rcond = np.asarray(rcond, like=A)
    if hermitian:  # one triangle counts, and the diagonal's real part; CuPy's would read all of it
        half = (np.tril(A) + np.tril(A, -1)) / 2
        A = half + np.conj(half).mT
    return lapack("pinv", A, square=False, rcond=rcond)


def _pinv_by_input(grad, A, out):
    """A P A = A, P A P = P, with A P and P A symmetric."""
    _real(A, "pinv")
    P, G = out, grad
    along = -(P.mT @ G @ P.mT)
    left = (G.mT - A @ (P @ G.mT)) @ (P @ P.mT)
    right = (P.mT @ P) @ (G.mT - (G.mT @ P) @ A)
    return along + left + right


pinv.derivatives(A=_pinv_by_input)
