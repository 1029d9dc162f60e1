"""Norms of tensors, and of their differences.

PyTorch: torch/functional.py (norm, cdist), aten/src/ATen/native/Distance.cpp.
"""

from __future__ import annotations

from ..dispatch.declare import composite
from ..dispatch.errors import require
from ..linalg.norms import matrix_norm, vector_norm
from ..ops.choose import where


@composite(out=True)
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """The p-norm over `dim` (default: of everything). Mirrors torch.norm.

    p: "fro" or 2 (Euclidean), inf, -inf, 0 or another number; "nuc" is of matrices.
    """
    if p == "nuc":
        dims = tuple(range(input.ndim)) if dim is None else dim
        return matrix_norm(input, p, dims, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@composite(out=True)
def dist(input, other, p=2):
    """The p-norm of input - other, broadcast. Mirrors torch.dist."""
    return vector_norm(input - other, p)


@composite(out=True)
def renorm(input, p, dim, maxnorm):
    """`input` with each slice along `dim` scaled down to a p-norm of `maxnorm` where it has more.

    Mirrors torch.renorm.
    """
    n = input.ndim
    require(n > 1, "renorm: input needs at least 2 dimensions, got {} dimensions", n)
    size = vector_norm(input, p, [d for d in range(n) if d != dim % n], keepdim=True)
    return input * where(size > maxnorm, maxnorm / (size + 1e-7), 1)


@composite(function=False)
def renorm_(self, p, dim, maxnorm):
    """`renorm`, in place. Mirrors torch.Tensor.renorm_."""
    before = self.clone()  # which the norm's slope needs
    return self.copy_(renorm(before, p, dim, maxnorm))


_MANY = 25  # from more rows than these on, a product of matrices is quicker than all differences
_MODES = {
    "use_mm_for_euclid_dist_if_necessary": lambda n: n > _MANY,
    "use_mm_for_euclid_dist": lambda n: True,
    "donot_use_mm_for_euclid_dist": lambda n: False,
}


@composite(method=False)
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distance of each row of `x1` (..., n, k) to each of `x2` (..., m, k): (..., n, m).

    `compute_mode`: whether Euclidean distances may come from a product of matrices, which is
    quicker, and less exact for near points. Mirrors torch.cdist.
    """
    for name, x in {"X1": x1, "X2": x2}.items():
        floats = x.is_floating_point()
        require(floats, "cdist only supports floating-point dtypes, {} got: {}", name, x.dtype)
        require(x.ndim > 1, "cdist only supports at least 2D tensors, {} got: {}D", name, x.ndim)
    n, m = x1.shape[-1], x2.shape[-1]
    require(n == m, "X1 and X2 must have the same number of columns. X1: {} X2: {}", n, m)
    require(p >= 0, "cdist only supports non-negative p values")
    known = compute_mode in _MODES
    require(known, "{} is not a valid value for compute_mode", compute_mode, error=ValueError)
    if not n:
        return x1 @ x2.mT  # no coordinates, no distance
    if p == 2 and _MODES[compute_mode](max(x1.shape[-2], x2.shape[-2])):
        return _by_product(x1, x2)
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _by_product(x, y):
    """The roots of |x|^2 + |y|^2 - 2 x.y, without the infinite slope of a root at 0."""
    square = (x * x).sum(-1).unsqueeze(-1) + (y * y).sum(-1).unsqueeze(-2) - 2 * (x @ y.mT)
    apart = square > 0
    return where(apart, where(apart, square, 1).sqrt(), 0)
