"""Products of matrices: cuBLAS, by CuPy or by a call of our own; of integers matmul.cu.

CuPy hands two matrices to cuBLAS as they are. Of batches it copies transposed ones, computes
float16 in float32, and refuses bfloat16. cuBLAS itself takes all of that (gemm.py).
"""

from __future__ import annotations

from math import prod

import numpy as np

from . import gemm
from .launch import contiguous, empty, launch

TILE = 64  # matmul.cu's


def matmul(a, b):
    if a.ndim == 1:
        return matmul(a[None], b)[..., 0, :] if b.ndim > 1 else matmul(a, b[:, None])[..., 0]
    if b.ndim == 1:
        return matmul(a, b[:, None])[..., 0]
    if a.dtype.kind in "iu" and a.dtype == b.dtype:
        return tiled(a, b)
    if max(a.ndim, b.ndim) == 2 or a.dtype != b.dtype or not gemm.is_there(a):
        return np.matmul(a, b)
    return gemm.batched(a, b)


def tiled(a, b):
    """a @ b (..., n, k) @ (..., k, m) by the kernel of our own."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (n, k), m = a.shape[-2:], b.shape[-1]
    out = empty((*batch, n, m), a.dtype)
    steps = []
    for x in (a, b):
        steps.append(0 if x.ndim == 2 else x.shape[-2] * x.shape[-1])
    if a.ndim > 2:
        a = np.broadcast_to(a, (*batch, n, k))
    if b.ndim > 2:
        b = np.broadcast_to(b, (*batch, k, m))
    grid = -(-n // TILE), -(-m // TILE), prod(batch)
    launch("matmul_tiled", grid, 256, contiguous(a), contiguous(b), out, n, k, m, *steps)
    return out
