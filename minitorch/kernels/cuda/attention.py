"""Attention that never stores the scores: attention.cu."""

from __future__ import annotations

from math import prod

import numpy as np

from .launch import contiguous, empty, launch

THREADS, COLUMNS = 256, 16  # attention.cu's: threads of a block, columns of a lane


def attention_forward(q, k, v, causal: bool, scale: float):
    """(softmax(q @ k.T * scale) @ v, for each query the log of the sum of exp(score)).

    q (..., L, d), k and v (..., S, d) with S > 0 and d up to 256. causal: query i sees keys 0 to i.
    """
    out, log_sums = empty(q.shape, q.dtype), empty(q.shape[:-1], np.float32)
    arrays = *map(contiguous, (q, k, v)), out, log_sums
    _launch("attention_forward", q, q, k, arrays, scale, causal)
    return out, log_sums


def attention_backward(grad, q, k, v, out, log_sums, causal: bool, scale: float):
    """The gradients for q, k and v."""
    grad, q, k, v, out = map(contiguous, (grad, q, k, v, out))
    dq, dk, dv = (empty(x.shape, x.dtype) for x in (q, k, v))
    dots = empty(log_sums.shape, np.float32)
    arrays = grad, q, k, v, out, log_sums, dq, dots
    _launch("attention_backward_queries", q, q, k, arrays, scale, causal)
    arrays = grad, q, k, v, log_sums, dots, dk, dv
    _launch("attention_backward_keys", k, q, k, arrays, scale, causal)
    return dq, dk, dv


def _launch(name, rows, q, k, arrays, scale, causal) -> None:
    """The kernel, for all rows of `rows`: queries or keys."""
    d, heads = q.shape[-1], prod(q.shape[:-2])
    lanes = 2
    while lanes * COLUMNS < d:
        lanes *= 2
    grid = heads * -(-rows.shape[-2] // (THREADS // lanes))
    sizes = q.shape[-2], k.shape[-2], d, lanes
    launch(name, grid, THREADS, *arrays, *sizes, scale, int(causal))
