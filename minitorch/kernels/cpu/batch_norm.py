"""Batch normalisation: each channel to mean 0 and variance 1 over the batch, scaled and shifted.

x is taken as (N, C, L), L being the positions of all other dimensions. A block is some channels of
the whole batch, so that its statistics and its result are computed while it is in the cache; the
threads split the channels. The variance is taken from the centred values (see layer_norm.py).
PyTorch: aten/src/ATen/native/cpu/batch_norm_kernel.cpp.
"""

from __future__ import annotations

import numpy as np

from .blocking import BLOCK, GRAIN, accumulation_dtype, blocks
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
        for block in blocks(start, stop, BLOCK // count):
            part = rows[:, block].astype(wide, copy=False)
            if not given:
                mean[block] = np.add.reduce(part, axis=(0, 2)) / count
            centred = out[:, block] if out.dtype == wide else np.empty(part.shape, wide)
            np.subtract(part, mean[block, None], out=centred)
            if not given:
                var[block] = np.vecdot(centred, centred).sum(0) / count
            scale = 1 / np.sqrt(var[block] + wide.type(eps))
            if weight is not None:
                scale *= weight[block]
            centred *= scale[:, None]
            if bias is not None:
                centred += bias[block, None]
            if out.dtype != wide:
                out[:, block] = centred

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
        for block in blocks(start, stop, BLOCK // count):
            g = grads[:, block].astype(wide, copy=False)
            centred = rows[:, block] - mean[block, None]  # xhat, but for rstd
            scale = rstd[block]
            dw[block] = np.vecdot(g, centred).sum(0) * scale
            db[block] = np.add.reduce(g, axis=(0, 2))
            if dx is not None:
                if training:
                    centred *= (dw[block] * scale / -count)[:, None]
                    centred += g
                    centred -= db[block, None] / count
                    g = centred
                scale = scale if weight is None else scale * weight[block]
                np.multiply(g, scale[:, None], out=dx[:, block], casting="unsafe")

    parallel_for(channels, work, GRAIN // count)
    return (
        None if dx is None else dx.reshape(x.shape),
        dw.astype(x.dtype, copy=False) if needs[1] else None,
        db.astype(x.dtype, copy=False) if needs[2] else None,
    )


def _as_rows(x):
    return x.reshape(*x.shape[:2], -1) if x.size else x.reshape(*x.shape[:2], 0)
