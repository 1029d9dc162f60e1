"""Running sums, products and extremes: scan.cu."""

from __future__ import annotations

import numpy as np

from .launch import THREADS, blocks, contiguous, launch

OPERATIONS = {"add": 0, "multiply": 1, "maximum": 2, "minimum": 3, "logaddexp": 4}
"""NumPy's names for what joining.cuh can do, and its numbers for them."""

WIDTH = 1 << 13
"""Elements of a row that one block takes."""


def accumulate(x, operation: str, axis: int):
    """np.<operation>.accumulate(x, axis): a new array."""
    x = x.swapaxes(axis, -1)
    out = _along_rows(contiguous(x), OPERATIONS[operation])
    return contiguous(out.swapaxes(axis, -1))


def _along_rows(x, operation: int):
    n, out = x.shape[-1], np.empty_like(x)
    rows, pieces = x.size // max(n, 1), -(-n // WIDTH)
    launch("scan", (rows, pieces), THREADS, x, out, n, WIDTH, operation)
    if pieces > 1:
        totals = _along_rows(contiguous(out[..., WIDTH - 1 :: WIDTH]), operation)
        sizes = n, WIDTH, totals.shape[-1], out.size
        launch("scan_join", blocks(out.size), THREADS, out, totals, *sizes, operation)
    return out
