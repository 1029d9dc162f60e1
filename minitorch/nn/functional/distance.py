"""Distances and similarities of vectors. PyTorch: aten/src/ATen/native/Distance.cpp."""

from __future__ import annotations

import numpy as np

from ...dispatch.declare import composite, functions
from ...tensor import wrap_beside


@composite(method=False)
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps over the last dimension. Mirrors torch's pairwise_distance."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@composite(method=False)
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`. Mirrors torch's cosine_similarity."""
    for x in (x1, x2):
        if not x.is_floating_point() and not x.is_complex():
            raise RuntimeError("expected common dtype to be floating point")
    x1, x2 = functions["broadcast_tensors"](x1, x2)
    x1 = x1 / x1.norm(2, dim, keepdim=True).clamp(min=eps)
    x2 = x2 / x2.norm(2, dim, keepdim=True).clamp(min=eps)
    return (x1 * x2).sum(dim)


@composite(method=False)
def pdist(input, p=2.0):
    """The p-norm distances of all pairs of rows (N, D), as a vector: 0-1, 0-2, ..., 1-2, ...

    Mirrors torch.nn.functional.pdist.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = (wrap_beside(i, input) for i in np.triu_indices(input.shape[0], 1))
    return (input[first] - input[second]).norm(p, 1)
