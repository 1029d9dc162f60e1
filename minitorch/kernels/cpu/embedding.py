"""The gradient of an embedding: each output row is added to the table row it was looked up from.

Rows that are looked up several times make it more than an assignment, and np.add.at takes them one
by one. Sorting the indices brings equal ones together; np.add.reduceat then sums each run of them.
This goes block by block, so that the gathered rows stay in the L2 cache: within a block each table
row occurs once among the sums, so a plain += adds them up.

PyTorch: aten/src/ATen/native/Embedding.cpp (embedding_dense_backward).
"""

from __future__ import annotations

import numpy as np

from .blocking import BLOCK, accumulation_dtype, blocks


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
    order = np.argsort(flat, kind="stable")
    for block in blocks(0, flat.size, 4 * BLOCK // dim):
        ids = flat[order[block]]
        starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
        out[ids[starts]] += np.add.reduceat(rows[order[block]], starts, axis=0, dtype=out.dtype)
    if padding_idx is not None:
        out[padding_idx] = 0
    return out.astype(grad.dtype, copy=False)
