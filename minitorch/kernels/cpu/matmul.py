"""Matrix products, shared out among the kernels' own threads.

Why: BLAS has threads of its own, which go on spinning for a while after a product, waiting for the
next one. On few cores they take the processor from the threads of the kernel that follows: beside
them, two threads of ours were no quicker than one. So a large product is cut into one piece a
thread (threads.parallel_for keeps BLAS to one thread meanwhile), and BLAS never wakes its own.

BLAS has no integers, and NumPy's own loop over them is dozens of times as slow. But a float64 holds
every whole number up to 2^53: where no sum of products can exceed that, the product of the matrices
as float64 is exact.

PyTorch: at::mm calls MKL or OpenBLAS, built on the same OpenMP threads as PyTorch's loops.
"""

from __future__ import annotations

import numpy as np

from .threads import parallel_for

GRAIN = 1 << 18
"""Multiplications in the smallest piece; OpenBLAS keeps to one thread up to about as many."""

FEW = 4096
"""Multiplications of integers below which NumPy's loop is quicker than looking at their sizes."""


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.matmul(a, b). Two matrices are cut by rows or columns, two batches by their first axis."""
    whole = a.dtype.kind in "iu" and a.dtype == b.dtype and a.size * b.shape[-1] > FEW
    if whole and _largest_sum(a, b) <= 2**53:
        return matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64).astype(a.dtype)
    if a.ndim < 2 or b.ndim < 2 or a.size * b.shape[-1] < 2 * GRAIN:
        return np.matmul(a, b)
    work = a.size * b.shape[-1]  # of two matrices; a batch on the right alone is cut too finely
    if a.ndim == b.ndim == 2:
        out = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
        by_rows = a.shape[0] >= b.shape[1]

        def piece(start, stop):
            if by_rows:
                np.matmul(a[start:stop], b, out=out[start:stop])
            else:
                np.matmul(a, b[:, start:stop], out=out[:, start:stop])

        n = a.shape[0] if by_rows else b.shape[1]
    elif a.shape[:-2] == b.shape[:-2]:
        out = np.empty((*a.shape[:-1], b.shape[-1]), np.result_type(a, b))

        def piece(start, stop):
            np.matmul(a[start:stop], b[start:stop], out=out[start:stop])

        n = a.shape[0]
    else:
        return np.matmul(a, b)
    parallel_for(n, piece, max(n * GRAIN // max(work, 1), 1))
    return out


def _largest_sum(a, b) -> int:
    """What no entry of the product of integers a and b, nor a part of its sum, exceeds."""
    sizes = [max(int(m.max(initial=0)), -int(m.min(initial=0))) for m in (a, b)]
    return sizes[0] * sizes[1] * a.shape[-1]
