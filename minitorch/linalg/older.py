"""The functions of torch and methods of Tensor that were there before torch.linalg.

PyTorch: torch/linalg/__init__.py.
"""

from __future__ import annotations

import functools
import math

from ..dispatch.declare import composite, functions
from ..dispatch.results import named_result
from ..ops import decompositions as base
from .factors import qr as linalg_qr
from .products import cross as linalg_cross
from .products import multi_dot
from .solving import pinv, slogdet

_linalg = functools.partial(composite, function=False, method=False, out=True)


@composite(out=True)
def inverse(input):
    """The inverse of square matrices. Mirrors torch.inverse."""
    return base.inv(input)


@composite
def logdet(input):
    """The log of the determinant, nan if that is negative. Mirrors torch.logdet."""
    sign, logabsdet = slogdet(input)
    return functions["where"](sign < 0, math.nan, logabsdet)


@composite(out=True)
def cholesky_solve(input, L, upper=False):
    """X with A X = input, given the Cholesky factor of A. Mirrors torch.cholesky_solve."""
    L = L.triu().mT if upper else L.tril()
    return base.solve(L.mT, base.solve(L, input))


@composite(out=True)
def cholesky_inverse(L, upper=False):
    """The inverse of A, given its Cholesky factor. Mirrors torch.cholesky_inverse."""
    one = functions["eye"](L.shape[-1], dtype=L.dtype, device=L.device)
    return cholesky_solve(one.expand(L.shape), L, upper)


@composite(out=True)
def qr(input, some=True):
    """`linalg.qr`, complete if not `some`. Mirrors torch.qr."""
    return linalg_qr(input, "reduced" if some else "complete")


svd_result = named_result("svd", "U S V")


@composite(out=True)
def svd(input, some=True, compute_uv=True):
    """U, S, V with U diag(S) Vᵀ = input. Mirrors torch.svd; torch.linalg.svd is the newer one."""
    u, s, vh = base.svd(input, not some)
    if not compute_uv:
        u, vh = (input.new_zeros((*input.shape[:-2], n, n)) for n in input.shape[-2:])
    return svd_result(u, s, functions["conj"](vh).mT)


@composite
def pinverse(input, rcond=1e-15):
    """The pseudo-inverse. Mirrors torch.pinverse."""
    return pinv(input, rcond)


@composite(out=True)
def cross(input, other, dim=None):
    """The cross product of vectors along `dim`, by default the first of extent 3.

    Mirrors torch.cross.
    """
    if dim is None:
        if 3 not in input.shape:
            raise RuntimeError("no dimension of size 3 in input")
        dim = input.shape.index(3)
    return linalg_cross(input, other, dim=dim)


@composite(out=True)
def kron(input, other):
    """The Kronecker product: `other` times every element of `input`. Mirrors torch.kron."""
    ndim = max(input.ndim, other.ndim)
    shape_a, shape_b = ((1,) * (ndim - t.ndim) + tuple(t.shape) for t in (input, other))
    # (n, 1) * (1, m) for every dimension; then each of these pairs becomes one of extent n * m
    a = input.reshape([x for n in shape_a for x in (n, 1)])
    b = other.reshape([x for m in shape_b for x in (1, m)])
    return (a * b).reshape([n * m for n, m in zip(shape_a, shape_b, strict=True)])


@composite(out=True)
def trace(input):
    """The sum of a matrix's diagonal. Mirrors torch.trace."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return input.diagonal().sum()


@composite(method=False)
def chain_matmul(*matrices):
    """`multi_dot` of matrices, one of them included. Mirrors torch.chain_matmul."""
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)
