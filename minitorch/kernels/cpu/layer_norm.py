"""Layer normalisation: each row to mean 0 and variance 1, then scaled and shifted.

The variance is taken from the centred row, never as E[x*x] - E[x]^2, which cancels when the mean is
large. Sums over rows and over columns are matrix-vector products, since BLAS reads memory several
times as fast as np.sum. PyTorch: aten/src/ATen/native/cpu/layer_norm_kernel.cpp.
"""

from __future__ import annotations

from math import prod

import numpy as np

from .blocking import BLOCK, GRAIN, accumulation_dtype, blocks, row_dot, row_sum, rows_unbuffered
from .threads import parallel_for


def layer_norm_forward(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(out, mean, rstd) of x (*, *normalized_shape); weight and bias are normalized_shape or None.

    mean and rstd (1 / standard deviation) are (*, 1, ..., 1), in float32 for half precision.
    Mirrors torch.native_layer_norm.
    """
    rows, n, wide = _as_rows(x, normalized_shape)
    out = np.empty(rows.shape, wide)
    w, b = (None if p is None else p.astype(wide, copy=False).reshape(-1) for p in (weight, bias))

    def normalize(rows, out):
        mean = row_sum(rows) / n
        np.subtract(rows, mean, out=out)
        rstd = 1 / np.sqrt(row_dot(out, out) / n + eps)
        out *= rstd
        if w is not None:
            out *= w
        if b is not None:
            out += b
        return mean, rstd

    def work(start, stop):
        for block in blocks(start, stop, BLOCK // n):
            mean[block], rstd[block] = normalize(rows[block], out[block])

    if 0 < rows.size <= GRAIN:
        mean, rstd = normalize(rows, out)
    else:
        mean, rstd = np.zeros((len(rows), 1), wide), np.full((len(rows), 1), np.nan, wide)
        if rows.size:
            with rows_unbuffered(n):
                parallel_for(len(rows), work, GRAIN // n)
    kept = x.ndim - len(normalized_shape)
    statistics = (*x.shape[:kept], *[1] * len(normalized_shape))
    out = out.reshape(x.shape).astype(x.dtype, copy=False)
    return out, mean.reshape(statistics), rstd.reshape(statistics)


def layer_norm_backward(grad, x, mean, rstd, weight=None, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False. Mirrors torch.native_layer_norm_backward.

    dweight and dbias have weight's shape; without a weight, that of the dimensions that mean lacks.

    With xhat = (x - mean) * rstd and g = grad * weight:

        dbias = sum(grad)    dweight = sum(grad * xhat)                          over rows
        dx = rstd * (g - mean(g) - xhat * mean(g * xhat))                        within a row
    """
    normalized_shape = _lacking(x, rstd) if weight is None else weight.shape
    rows, n, wide = _as_rows(x, normalized_shape)
    grads = _as_rows(grad, normalized_shape)[0]
    mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    w = np.ones(n, wide) if weight is None else weight.astype(wide, copy=False).reshape(-1)
    dx = np.empty(rows.shape, wide) if needs[0] else None
    share, zero = w / max(n, 1), np.zeros((), wide)

    def gradients(g, x, mean, rstd, dx):
        """Writes dx; returns (dweight, dbias) of these rows."""
        centred = x - mean
        product = np.multiply(g, centred, out=dx)  # in dx until that is computed, to save memory
        dw = rstd[:, 0] @ product if needs[1] else zero
        db = np.ones(len(g), wide) @ g if needs[2] else zero
        if dx is not None:
            g_mean = (g @ share)[:, None]  # mean(g * w): no need to form g * w first
            centred *= (product @ share)[:, None] * rstd * rstd
            np.multiply(g, w, out=dx)
            dx -= centred
            dx -= g_mean
            dx *= rstd
        return dw, db

    def work(start, stop):
        dw, db = np.zeros(n, wide), np.zeros(n, wide)
        for block in blocks(start, stop, BLOCK // n):
            part = None if dx is None else dx[block]
            more = gradients(grads[block], rows[block], mean[block], rstd[block], part)
            dw += more[0]
            db += more[1]
        return dw, db

    if 0 < rows.size <= GRAIN:
        dw, db = gradients(grads, rows, mean, rstd, dx)
    else:
        dw, db = np.zeros(n, wide), np.zeros(n, wide)
        with rows_unbuffered(n):
            parts = parallel_for(len(rows), work, GRAIN // n) if rows.size else ()
        for more in parts:
            dw += more[0]
            db += more[1]
    dx = None if dx is None else dx.reshape(x.shape).astype(x.dtype, copy=False)
    return (
        dx,
        dw.reshape(normalized_shape).astype(x.dtype, copy=False) if needs[1] else None,
        db.reshape(normalized_shape).astype(x.dtype, copy=False) if needs[2] else None,
    )


def _lacking(x, statistics):
    """The trailing dimensions of x that are 1 in its statistics."""
    kept = next((i for i in reversed(range(x.ndim)) if statistics.shape[i] != 1), -1) + 1
    return x.shape[kept:]


def _as_rows(x, normalized_shape):
    """x as contiguous rows (rows, n) of the type to compute in; n; that type."""
    n, wide = prod(normalized_shape), accumulation_dtype(x.dtype)
    count = x.size // n if n else prod(x.shape[: x.ndim - len(normalized_shape)])
    return np.ascontiguousarray(x, wide).reshape(count, n), n, wide
