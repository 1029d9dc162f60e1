"""Dropout whose mask is not stored: dropout.cu."""

from __future__ import annotations

from .launch import THREADS, blocks, contiguous, empty, launch


def dropout(x, p: float, seed: int):
    """x / (1 - p), but 0 with probability p, by a generator that starts from the 64-bit `seed`.

    It is linear, and its derivative is itself: dropout(grad, p, seed) for the same p and seed.
    """
    out = empty(x.shape, x.dtype)
    keep, scale = round((1 - p) * 2**32), 1 / (1 - p)
    grid = blocks(x.size, THREADS * 16 // x.itemsize)
    launch("dropout", grid, THREADS, contiguous(x), out, x.size, keep, scale, seed)
    return out
