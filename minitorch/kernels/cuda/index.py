"""Adding to where indices say, also to one place several times: index.cu."""

from __future__ import annotations

import numpy as np

from .launch import contiguous, launch
from .scan import OPERATIONS


def embedding_backward(grad, indices, num_embeddings, padding_idx=None):
    dim = grad.shape[-1]
    out = np.zeros_like(grad, shape=(num_embeddings, dim), order="C")
    scatter(out, indices.reshape(-1), grad.reshape(indices.size, dim))
    if padding_idx is not None:
        out[padding_idx] = 0
    return out


def scatter(out, indices, values, operation: str = "add") -> None:
    """np.<operation>.at(out, indices, values): out (rows, dim), values (n, dim); changes out.

    indices (n,) count from 0. The same result in each run, unlike atomic additions.
    """
    if not out.flags.c_contiguous:
        whole = out.copy(order="C")
        scatter(whole, indices, values, operation)
        out[...] = whole
        return
    if out.dtype.kind == "c" and operation == "add":  # a complex number is two, which lie together
        real = out.real.dtype
        scatter(out.view(real), indices, contiguous(values).view(real))
        return
    dim = out.shape[1]
    indices = indices.astype(np.int64, copy=False)
    order = np.argsort(indices, kind="stable")
    # The threads of a block: so many columns, and so many rows of a run at a time.
    columns = min(1 << dim.bit_length() - 1, 32) if dim else 1
    block = columns, 8 if columns == 32 else 32 // columns
    arrays = contiguous(values), indices[order], order.astype(np.int64, copy=False), out
    grid = len(indices), -(-dim // columns)
    launch("join_runs", grid, block, *arrays, len(indices), dim, OPERATIONS[operation])
