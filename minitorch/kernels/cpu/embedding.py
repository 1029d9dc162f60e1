"""The gradient of an embedding: each output row is added to the table row it was looked up from.

Rows that are looked up several times make it more than an assignment, and np.add.at takes them one
by one. Sorting the indices brings equal ones together in runs. A few long runs are summed one by
one. Of many short ones, each second row is added to the one before and dropped, until every index
is left once: each round is a few operations on long arrays, and halves all runs.

PyTorch: aten/src/ATen/native/Embedding.cpp (embedding_dense_backward).
"""

from __future__ import annotations

import numpy as np

from .blocking import accumulation_dtype

FEW = 1024
"""Elements up to which np.add.at is quicker than sorting."""


def embedding_backward(
    grad: np.ndarray, indices: np.ndarray, num_embeddings: int, padding_idx: int | None = None
) -> np.ndarray:
    """The gradient (num_embeddings, D) for the table: grad (*, D), integer indices (*).

    The row `padding_idx` gets no gradient. Mirrors torch's embedding_dense_backward.
    """
    dim = grad.shape[-1]
    flat = indices.reshape(-1)
    rows = np.ascontiguousarray(grad).reshape(flat.size, dim)
    out = np.zeros((num_embeddings, dim), accumulation_dtype(grad.dtype))
    if grad.size == 0:
        return out.astype(grad.dtype, copy=False)
    if grad.size <= FEW:
        np.add.at(out, flat, rows)
    elif flat.size <= 16:  # long rows
        for i, row in zip(flat.tolist(), rows, strict=True):
            out[i] += row
    else:
        indices, sums = _summed(flat, rows.astype(out.dtype, copy=False))
        out[indices] = sums
    if padding_idx is not None:
        out[padding_idx] = 0
    return out.astype(grad.dtype, copy=False)


def _summed(indices, rows):
    """(each index once, the sum of its rows)."""
    order = np.argsort(indices, kind="stable")
    indices = indices[order]
    starts = _starts(indices)
    lengths = np.diff(starts, append=len(indices))
    if len(starts) * max(8, FEW // rows.shape[1]) <= len(indices):
        sums = np.empty((len(starts), rows.shape[1]), rows.dtype)
        ones = np.ones(lengths.max(), rows.dtype)
        for out, start, n in zip(sums, starts.tolist(), lengths.tolist(), strict=True):
            np.matmul(ones[:n], rows.take(order[start : start + n], axis=0), out=out)
        return indices[starts], sums
    rows = rows.take(order, axis=0)
    while len(starts) < len(indices):
        place_in_run = np.arange(len(indices)) - np.repeat(starts, lengths)
        odd, even = np.flatnonzero(place_in_run & 1), np.flatnonzero(place_in_run & 1 == 0)
        rows[odd - 1] += rows[odd]
        indices, rows = indices[even], rows[even]
        starts = _starts(indices)
        lengths = np.diff(starts, append=len(indices))
    return indices, rows


def _starts(indices):
    """Where each run of equal indices begins."""
    return np.flatnonzero(np.concatenate(([True], indices[1:] != indices[:-1])))
