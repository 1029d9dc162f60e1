"""Batch normalisation: each channel to mean 0 and variance 1 over the batch, scaled and shifted.

x is taken as (N, C, L), L being the positions of all other dimensions, and as (N, C) where there is
but one. A block is some channels of the whole batch, so that its statistics and its result are
computed while it is in the cache; the threads split the channels. The variance is taken from the
centred values (see layer_norm.py).
PyTorch: aten/src/ATen/native/cpu/batch_norm_kernel.cpp.
"""

from __future__ import annotations

import numpy as np

from .blocking import BLOCK, GRAIN, accumulation_dtype, blocks, rows_unbuffered, sum_positions
from .threads import parallel_for


def batch_norm_forward(x, weight=None, bias=None, mean=None, var=None, eps=1e-5):
    """(out, mean, var) of x (N, C, *); the others are (C,) or None.

    mean and var are those of x, var over all N * L values, where they are not given. They are
    float32 for half precision. Mirrors torch.native_batch_norm.
    """
    wide = accumulation_dtype(x.dtype)
    rows = _as_rows(x)
    out = np.empty(rows.shape, x.dtype)
    channels = rows.shape[1]
    given = mean is not None
    if given:
        mean, var = mean.astype(wide, copy=False), var.astype(wide, copy=False)
    else:
        mean, var = np.empty(channels, wide), np.empty(channels, wide)
    count = max(rows.size // max(channels, 1), 1)

    def work(start, stop):
        for block in blocks(start, stop, _channels_at_once(rows)):
            part = rows[:, block].astype(wide, copy=False)
            if not given:
                mean[block] = _sum(part) / count
            centred = out[:, block] if out.dtype == wide else np.empty(part.shape, wide)
            np.subtract(part, _beside(part, mean[block]), out=centred)
            if not given:
                var[block] = _dot(centred, centred) / count
            scale = 1 / np.sqrt(var[block] + wide.type(eps))
            if weight is not None:
                scale *= weight[block]
            centred *= _beside(part, scale)
            if bias is not None:
                centred += _beside(part, bias[block])
            if out.dtype != wide:
                out[:, block] = centred

    with rows_unbuffered(rows.shape[-1]):
        parallel_for(channels, work, GRAIN // count)
    return out.reshape(x.shape), mean, var


def batch_norm_backward(grad, x, weight, mean, var, eps, training, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False. Mirrors torch's function of that name.

    With xhat = (x - mean) * rstd:

        dbias = sum(grad)    dweight = sum(grad * xhat)             over the batch
        dx = rstd * weight * (grad - mean(grad) - xhat * mean(grad * xhat))

    where the means are left out if mean and var are not x's own (not `training`).
    """
    wide = accumulation_dtype(x.dtype)
    rows, grads = _as_rows(x), _as_rows(grad)
    channels = rows.shape[1]
    count = max(rows.size // max(channels, 1), 1)
    dx = np.empty(rows.shape, x.dtype) if needs[0] else None
    dw, db = np.empty(channels, wide), np.empty(channels, wide)
    rstd = 1 / np.sqrt(var.astype(wide, copy=False) + wide.type(eps))

    def work(start, stop):
        for block in blocks(start, stop, _channels_at_once(rows)):
            g = grads[:, block].astype(wide, copy=False)
            centred = rows[:, block] - _beside(rows, mean[block])  # xhat, but for rstd
            scale = rstd[block]
            dw[block] = _dot(g, centred) * scale
            db[block] = _sum(g)
            if dx is not None:
                if training:
                    centred *= _beside(g, dw[block] * scale / -count)
                    centred += g
                    centred -= _beside(g, db[block] / count)
                    g = centred
                scale = scale if weight is None else scale * weight[block]
                np.multiply(g, _beside(g, scale), out=dx[:, block], casting="unsafe")

    with rows_unbuffered(rows.shape[-1]):
        parallel_for(channels, work, GRAIN // count)
    return (
        None if dx is None else dx.reshape(x.shape),
        dw.astype(x.dtype, copy=False) if needs[1] else None,
        db.astype(x.dtype, copy=False) if needs[2] else None,
    )


def _as_rows(x):
    if x.size == 0:
        return x.reshape(*x.shape[:2], 0)
    length = x.size // (x.shape[0] * x.shape[1])
    return x.reshape(*x.shape[:2], length) if length > 1 else x.reshape(x.shape[:2])


def _channels_at_once(rows):
    """Columns of a matrix are not worth cutting: few of each row would lie side by side."""
    return rows.shape[1] if rows.ndim == 2 else BLOCK * rows.shape[1] // max(rows.size, 1)


def _beside(rows, channels):
    """A number for each channel, in a shape that broadcasts against `rows`."""
    return channels if rows.ndim == 2 else channels[:, None]


def _sum(rows):
    """The sum over each channel."""
    if rows.size <= 4096:
        return np.add.reduce(rows, axis=(0, 2)[: rows.ndim - 1])
    return sum_positions(rows).sum(0) if rows.ndim == 3 else np.ones(len(rows), rows.dtype) @ rows


def _dot(a, b):
    """The scalar product of each channel of `a` with that of `b`."""
    return np.einsum("nc,nc->c", a, b) if a.ndim == 2 else np.vecdot(a, b).sum(0)
