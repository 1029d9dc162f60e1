"""Group normalisation: each group of channels of each sample to mean 0 and variance 1.

Then each channel is scaled and shifted. Like layer_norm.py, but that the rows which are normalised
(samples x groups) and those which share a weight (channels) cut the array differently.
PyTorch: aten/src/ATen/native/cpu/group_norm_kernel.cpp.
"""

from __future__ import annotations

import numpy as np

from .blocking import (
    BLOCK,
    GRAIN,
    accumulation_dtype,
    blocks,
    row_dot,
    row_sum,
    rows_unbuffered,
    sum_positions,
)
from .threads import parallel_for


def group_norm_forward(x, groups, weight=None, bias=None, eps=1e-5):
    """(out, mean, rstd) of x (N, C, *); weight and bias (C,) or None; mean, rstd (N, groups).

    Mirrors torch.native_group_norm.
    """
    wide = accumulation_dtype(x.dtype)
    samples, size = _as_samples(x), x.size // max(len(x), 1)
    n = max(size // groups, 1)  # values of a group
    out = np.empty(samples.shape, x.dtype)
    mean, rstd = np.zeros((2, len(x) * groups, 1), wide)
    per_channel = np.ones((x.shape[1], 1), wide) if weight is None else weight[:, None]

    def work(start, stop):
        for block in blocks(start, stop, BLOCK // max(size, 1)):
            rows = samples[block].astype(wide, copy=False).reshape(-1, n)
            which = slice(block.start * groups, block.stop * groups)
            mean[which] = row_sum(rows) / n
            result = out[block] if out.dtype == wide else np.empty(out[block].shape, wide)
            rows = np.subtract(rows, mean[which], out=result.reshape(-1, n))
            rstd[which] = 1 / np.sqrt(row_dot(rows, rows) / n + wide.type(eps))
            scale = np.repeat(rstd[which], len(per_channel) // groups).reshape(len(result), -1, 1)
            result *= scale * per_channel
            if bias is not None:
                result += bias[:, None]
            if out.dtype != wide:
                out[block] = result

    if x.size:
        with rows_unbuffered(samples.shape[-1]):
            parallel_for(len(x), work, GRAIN // size)
    statistics = (len(x), groups)
    return out.reshape(x.shape), mean.reshape(statistics), rstd.reshape(statistics)


def group_norm_backward(grad, x, groups, weight, mean, rstd, needs=(True, True, True)):
    """(dx, dweight, dbias), None where `needs` has False: the formulas of layer_norm_backward."""
    wide = accumulation_dtype(x.dtype)
    samples, grads, size = _as_samples(x), _as_samples(grad), x.size // max(len(x), 1)
    n, channels = max(size // groups, 1), x.shape[1]
    dx = np.empty(samples.shape, x.dtype) if needs[0] else None
    means, rstds = mean.reshape(-1, 1), rstd.reshape(-1, 1)

    def work(start, stop):
        dw, db = np.zeros((2, channels), wide)
        for block in blocks(start, stop, BLOCK // max(size, 1)):
            g = grads[block].astype(wide, copy=False)
            which = slice(block.start * groups, block.stop * groups)
            rows, rstd = samples[block].reshape(-1, n) - means[which], rstds[which]
            # By channel; a group's sums are sums of these.
            dots, sums = np.vecdot(g, rows.reshape(g.shape)), sum_positions(g)
            dw += (dots.reshape(len(rstd), -1) * rstd).reshape(dots.shape).sum(0)
            db += sums.sum(0)
            if dx is None:
                continue
            if weight is not None:
                dots, sums, g = dots * weight, sums * weight, g * weight[:, None]
            rows *= row_sum(dots.reshape(len(rstd), -1)) * rstd * rstd / -n
            rows += g.reshape(-1, n)
            rows -= row_sum(sums.reshape(len(rstd), -1)) / n
            np.multiply(rows, rstd, out=dx[block].reshape(-1, n), casting="unsafe")
        return dw, db

    with rows_unbuffered(samples.shape[-1]):
        parts = parallel_for(len(x), work, GRAIN // size) if x.size else []
    sums = [sum((part[i] for part in parts), np.zeros(channels, wide)) for i in (0, 1)]
    return (
        None if dx is None else dx.reshape(x.shape),
        *(
            s.astype(x.dtype, copy=False) if need else None
            for s, need in zip(sums, needs[1:], strict=True)
        ),
    )


def _as_samples(x):
    """x as (N, C, L)."""
    return x.reshape(*x.shape[:2], x.size // max(x.shape[0] * x.shape[1], 1))
