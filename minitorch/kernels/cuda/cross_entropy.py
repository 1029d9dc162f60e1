"""nll_loss and cross_entropy for class targets: cross_entropy.cu.

Signatures as in ../cpu/cross_entropy.py. A target that is no class is not an IndexError here, but
an assertion that fails on the GPU, as in PyTorch: to raise, the host would have to wait for it.
"""

from __future__ import annotations

import numpy as np

from ..cpu.blocking import accumulation_dtype
from ..cpu.cross_entropy import _sizes
from .launch import THREADS, blocks, contiguous, empty, launch, row_grid, threads
from .softmax import log_softmax_forward


def nll_loss_forward(log_probs, target, weight=None, reduction="mean", ignore_index=-100):
    """(loss, sum of weights) of log_probs (N, C, *d) or (C,) at integer target (N, *d) or ()."""
    dtype, wide = log_probs.dtype, accumulation_dtype(log_probs.dtype)
    sizes, (target, weight) = _sizes(log_probs.shape), _prepared(target, weight, wide)
    losses, weights = empty(target.shape, wide), empty(target.shape, wide)
    arrays = contiguous(log_probs), target, weight, losses, weights
    n = target.size
    launch("nll_loss_forward", blocks(n), THREADS, *arrays, n, *sizes[1:], ignore_index)
    loss, total = empty((), dtype), empty((), wide)
    arrays = losses, weights, loss, total
    launch("nll_loss_sum", 1, threads(n), *arrays, n, reduction == "mean", dtype=dtype)
    return losses.astype(dtype, copy=False) if reduction == "none" else loss, total


def nll_loss_backward(grad, shape, target, weight, reduction, ignore_index, total_weight):
    """The gradient for log_probs, whose shape is `shape`: zeros but for the target's entries."""
    dx = np.zeros(shape, grad.dtype, like=grad)
    arrays, numbers = _backward(grad, shape, target, weight, reduction, ignore_index, total_weight)
    launch(
        "nll_loss_backward", blocks(numbers[0]), THREADS, contiguous(grad), *arrays, dx, *numbers
    )
    return dx


def cross_entropy_forward(logits, target, weight=None, reduction="mean", ignore_index=-100):
    """nll_loss of log_softmax(logits): (loss, log_probs, sum of weights)."""
    log_probs = log_softmax_forward(logits, 1 if logits.ndim > 1 else 0)
    loss, total = nll_loss_forward(log_probs, target, weight, reduction, ignore_index)
    return loss, log_probs, total


def cross_entropy_backward(grad, log_probs, target, weight, reduction, ignore_index, total_weight):
    """The gradient for logits: (softmax - one_hot(target)) * grad * weight."""
    shape, dx = log_probs.shape, empty(log_probs.shape, log_probs.dtype)
    arrays, numbers = _backward(grad, shape, target, weight, reduction, ignore_index, total_weight)
    grid, block = row_grid(*numbers[:3])
    inputs = contiguous(grad), contiguous(log_probs), *arrays
    launch("cross_entropy_backward", grid, block, *inputs, dx, *numbers)
    return dx


def _prepared(target, weight, wide):
    target = contiguous(target.astype(np.int64, copy=False))
    return target, None if weight is None else contiguous(weight.astype(wide, copy=False))


def _backward(grad, shape, target, weight, reduction, ignore_index, total_weight):
    """What both kernels of the backward pass take: arrays, and numbers."""
    target, weight = _prepared(target, weight, accumulation_dtype(grad.dtype))
    total = total_weight if reduction == "mean" else None
    numbers = target.size, *_sizes(shape)[1:], reduction == "none", ignore_index
    return (target, weight, total), numbers
