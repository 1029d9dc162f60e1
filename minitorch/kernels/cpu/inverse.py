"""The inverses of many small matrices at once, by Gauss and Jordan's elimination.

LAPACK inverts one matrix a call, and for a 3 by 3 one the calls take longer than the arithmetic.
Here the matrices lie side by side, (row, column, matrix): a step of the elimination is the same
operation on one entry of each of them, so NumPy does it for thousands in one go. With the largest
entry left in the column as pivot, as in LAPACK, the result is as good.

PyTorch: aten/src/ATen/native/BatchLinearAlgebra.cpp, which loops over LAPACK.
"""

from __future__ import annotations

import numpy as np

from .blocking import blocks
from .threads import parallel_for

MANY = 256
"""Matrices from which on it pays."""

SMALL = 6
"""Rows up to which it pays: the work grows like their third power, and LAPACK's calls do not."""

_BLOCK = 1 << 17  # elements of a block


def inverse(A: np.ndarray) -> np.ndarray:
    """np.linalg.inv(A) for A (..., n, n), which raises LinAlgError where a matrix has none."""
    n = A.shape[-1]
    count = A.size // max(n * n, 1)
    if count < MANY or not 0 < n <= SMALL or A.dtype.char not in "fd":
        return np.linalg.inv(A)
    matrices = A.reshape(count, n, n)
    out = np.empty(A.shape, A.dtype)
    inverses = out.reshape(count, n, n)

    def work(start, stop):
        for part in blocks(start, stop, _BLOCK // (n * n)):
            inverses[part] = np.moveaxis(_eliminate(np.moveaxis(matrices[part], 0, -1)), -1, 0)

    parallel_for(count, work, _BLOCK // (n * n))
    return out


def _eliminate(A):
    """The inverses of A (n, n, count): what turns [A | 1] into [1 | inverse], row by row."""
    n, _, count = A.shape
    rows = np.zeros((n, 2 * n, count), A.dtype)
    rows[:, :n] = A
    rows[np.arange(n), np.arange(n, 2 * n)] = 1
    for i in range(n):
        pivot = i + np.abs(rows[i:, i]).argmax(0)
        swapped = np.flatnonzero(pivot != i)
        pivot = pivot[swapped]
        rows[i, :, swapped], rows[pivot, :, swapped] = (
            rows[pivot, :, swapped],
            rows[i, :, swapped],
        )
        if not rows[i, i].all():
            raise np.linalg.LinAlgError("Singular matrix")
        # Up to here: zeros left of column i, and right of column n + i if no rows were swapped.
        rows[i, i:] /= rows[i, i].copy()
        for j in range(n):
            if j != i:
                rows[j, i:] -= rows[j, i].copy() * rows[i, i:]
    return rows[:, n:]
