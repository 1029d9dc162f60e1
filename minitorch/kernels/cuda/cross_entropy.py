"""nll_loss and cross_entropy for class targets: cross_entropy.cu.

Signatures as in ../cpu/cross_entropy.py. A target that is no class is not an IndexError here, but
an assertion that fails on the GPU, as in PyTorch: to raise, the host would have to wait for it.
"""

from __future__ import annotations

import numpy as np

from ..cpu.blocking import accumulation_dtype
from ..cpu.cross_entropy import _sizes
from .launch import THREADS, blocks, contiguous, empty, launch, threads
from .rows import row_grid


def nll_loss_forward(log_probs, target, weight=None, reduction="mean", ignore_index=-100):
    """(loss, sum of weights) of log_probs (N, C, *d) or (C,) at integer target (N, *d) or ()."""
    wide, n = accumulation_dtype(log_probs.dtype), target.size
    sizes, arrays = _sizes(log_probs.shape)[1:], _prepared(target, weight, wide)
    losses, weights = empty(target.shape, wide), empty(target.shape, wide)
    arrays = contiguous(log_probs), *arrays, losses, weights
    launch("nll_loss_forward", blocks(n), THREADS, *arrays, n, *sizes, ignore_index)
    return _loss(losses, weights, reduction, log_probs.dtype)


def nll_loss_backward(grad, shape, target, weight, reduction, ignore_index, total_weight):
    """The gradient for log_probs, whose shape is `shape`: zeros but for the target's entries."""
    dx = np.zeros(shape, grad.dtype, like=grad)
    arrays, numbers = _backward(grad, shape, target, weight, reduction, ignore_index, total_weight)
    launch(
        "nll_loss_backward", blocks(numbers[0]), THREADS, contiguous(grad), *arrays, dx, *numbers
    )
    return dx


def cross_entropy_forward(logits, target, weight=None, reduction="mean", ignore_index=-100):
    """nll_loss of log_softmax(logits): (loss, kept, sum of weights)."""
    wide, n = accumulation_dtype(logits.dtype), target.size
    sizes, arrays = _sizes(logits.shape)[1:], _prepared(target, weight, wide)
    losses, weights = empty(target.shape, wide), empty(target.shape, wide)
    kept = empty((2, *target.shape), wide)
    arrays = contiguous(logits), *arrays, losses, weights, kept
    grid, block = row_grid(n, *sizes, logits.itemsize)
    launch("cross_entropy_forward", grid, block, *arrays, n, *sizes, ignore_index)
    loss, total = _loss(losses, weights, reduction, logits.dtype)
    return loss, kept, total


def cross_entropy_backward(
    grad, logits, kept, target, weight, reduction, ignore_index, total_weight
):
    """The gradient for logits: (softmax - one_hot(target)) * grad * weight."""
    shape, dx = logits.shape, empty(logits.shape, logits.dtype)
    arrays, numbers = _backward(grad, shape, target, weight, reduction, ignore_index, total_weight)
    grid, block = row_grid(*numbers[:3], dx.itemsize)
    inputs = contiguous(grad), contiguous(logits), kept, *arrays
    launch("cross_entropy_backward", grid, block, *inputs, dx, *numbers)
    return dx


def _loss(losses, weights, reduction, dtype):
    """(loss, sum of weights), from what the kernels of the forward pass write."""
    loss, total, n = empty((), dtype), empty((), weights.dtype), weights.size
    arrays = losses, weights, loss, total
    launch("nll_loss_sum", 1, threads(n), *arrays, n, reduction == "mean", dtype=dtype)
    return losses.astype(dtype, copy=False) if reduction == "none" else loss, total


def _prepared(target, weight, wide):
    target = contiguous(target.astype(np.int64, copy=False))
    return target, None if weight is None else contiguous(weight.astype(wide, copy=False))


def _backward(grad, shape, target, weight, reduction, ignore_index, total_weight):
    """What both kernels of the backward pass take: arrays, and numbers."""
    target, weight = _prepared(target, weight, accumulation_dtype(grad.dtype))
    total = total_weight if reduction == "mean" else None
    numbers = target.size, *_sizes(shape)[1:], reduction == "none", ignore_index
    return (target, weight, total), numbers
