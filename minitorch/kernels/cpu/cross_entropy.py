"""The negative log-likelihood of the target classes, alone and fused with log_softmax.

A loss is computed for each target, and weighted by its class:

    loss[i] = -weight[target[i]] * log_probs[i, target[i]]        0 where target is ignore_index

'mean' divides the sum by the sum of the weights, not by the count: with no weights they agree, and
ignored targets do not count. The forward passes hand out that sum, because backward needs it.

The fused gradient is the one that everybody remembers, (softmax - one_hot) * scale: one pass, where
the two separate gradients would first fill an array with zeros but for one entry a row.

Of all the log-probabilities the loss needs one a row. For a vocabulary of 50,000 words the others
are a burden: they are never written, and forward keeps two numbers a row instead, the maximum and
the sum of exp(x - maximum), from which backward has the softmax of its input again. (One number,
their log-sum-exp, would do, but where logits are around 1000 its rounding would show.) Where all
the log-probabilities are a few, to keep them is quicker than to compute them twice.

PyTorch: aten/src/ATen/native/LossNLL.cpp.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import numpy as np

from . import half
from .blocking import GRAIN, accumulation_dtype, over_rows, row_sum
from .exponential import exp
from .softmax import log_softmax_forward

Reduction = Literal["none", "mean", "sum"]


def nll_loss_forward(
    log_probs: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> tuple[np.ndarray, np.ndarray]:
    """(loss, sum of weights) of log_probs (N, C, *d) or (C,) at integer target (N, *d) or ().

    `weight` is (C,) or None. The loss has target's shape for 'none', else no dimensions. Raises
    IndexError for a target that is neither a class nor ignore_index. Mirrors torch's nll_loss.
    """
    wide = accumulation_dtype(log_probs.dtype)
    entries, weights = _entries(log_probs.shape, target, weight, ignore_index, wide)
    return _loss(log_probs.reshape(-1)[entries], target.shape, weights, reduction)


def nll_loss_backward(
    grad: np.ndarray,
    shape: tuple[int, ...],
    target: np.ndarray,
    weight: np.ndarray | None,
    reduction: Reduction,
    ignore_index: int,
    total_weight: np.ndarray,
) -> np.ndarray:
    """The gradient for log_probs, whose shape is `shape`: zeros but for the target's entries."""
    wide = accumulation_dtype(grad.dtype)
    entries, weights = _entries(shape, target, weight, ignore_index, wide)
    dx = np.zeros(shape, grad.dtype)
    dx.reshape(-1)[entries] = -_scale(grad, weights, reduction, total_weight)
    return dx


def cross_entropy_forward(
    logits: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """nll_loss of log_softmax(logits): (loss, kept, sum of weights), the latter for backward.

    kept is (2, *target.shape): each row's maximum, and its sum of exp(logits - maximum); or, for up
    to GRAIN logits, their log_softmax. Shapes and errors as in nll_loss_forward. Mirrors torch's
    cross_entropy for class targets.
    """
    if logits.size <= GRAIN:
        log_probs = log_softmax_forward(logits, 1 if logits.ndim > 1 else 0)
        loss, total = nll_loss_forward(log_probs, target, weight, reduction, ignore_index)
        return loss, log_probs, total
    dtype, shape = logits.dtype, logits.shape
    wide = accumulation_dtype(dtype)
    entries, weights = _entries(shape, target, weight, ignore_index, wide)
    rows, columns = _layout(shape)
    logits = np.ascontiguousarray(logits).reshape(rows)
    kept = np.empty((2, *columns), wide)

    def kernel(x, largest, exp_sum):
        np.maximum.reduce(x, 1, out=largest, keepdims=True)
        e = np.subtract(x, largest)
        exp_sum[...] = row_sum(exp(e, e))

    over_rows(kernel, logits, *kept)
    largest, exp_sum = kept.reshape(2, -1)
    log_p = logits.reshape(-1)[entries] - largest
    log_p -= np.log(exp_sum)
    log_p = log_p.astype(dtype, copy=False)  # as nll_loss would read it
    loss, total = _loss(log_p, target.shape, weights, reduction)
    return loss, kept.reshape(2, *target.shape), total


def cross_entropy_backward(
    grad: np.ndarray,
    logits: np.ndarray,
    kept: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    reduction: Reduction,
    ignore_index: int,
    total_weight: np.ndarray,
) -> np.ndarray:
    """The gradient for logits: (softmax - one_hot(target)) * grad * weight."""
    dtype, shape = logits.dtype, logits.shape
    wide = accumulation_dtype(dtype)
    entries, weights = _entries(shape, target, weight, ignore_index, wide)
    scale = _scale(grad, weights, reduction, total_weight)
    rows, columns = _layout(shape)
    scales = scale.reshape(columns) if scale.ndim else scale
    dx = np.empty(shape, wide)
    dx_rows = dx.reshape(rows)

    def kernel(x, dx, largest, factor):
        np.subtract(x, largest, out=dx)
        exp(dx, dx)
        dx *= factor

    if logits.size <= GRAIN:
        exp(kept.astype(wide, copy=False), dx)
        dx_rows *= scales
    else:
        largest, exp_sum = kept.reshape(2, *columns)
        logits = np.ascontiguousarray(logits).reshape(rows)
        over_rows(kernel, logits, dx_rows, largest, scales / exp_sum)
    dx.reshape(-1)[entries] -= scale
    return dx if wide is dtype else half.astype(dx, dtype)


def _loss(log_p, shape, weights, reduction):
    """(loss, sum of weights) of the targets' log-probabilities and weights, both flat."""
    dtype = log_p.dtype
    wide = accumulation_dtype(dtype)
    losses = log_p.astype(wide, copy=False)
    if weights is None:
        losses, total = np.negative(losses), wide.type(losses.size)
    else:  # an ignored target's log-probability may be inf, and 0 * inf would be nan
        losses, total = np.where(weights == 0, weights, losses) * -weights, weights.sum()
    if reduction == "none":
        return losses.reshape(shape).astype(dtype, copy=False), np.asarray(total)
    loss = np.add.reduce(losses)
    if reduction == "mean":
        loss = loss / total
    return np.asarray(loss, dtype), np.asarray(total)


def _entries(shape, target, weight, ignore_index, dtype):
    """For each target: where its class lies in the flat input, and its weight (0 if ignored).

    An ignored target is replaced by class 0. The weights are None where all are 1.
    """
    n, classes, inner = _sizes(shape)
    target = target.reshape(-1).astype(np.int64, copy=False)
    ignored = None
    # As unsigned numbers the negative ones are the largest: one maximum finds all that are wrong.
    highest = np.maximum.reduce(target.view(np.uint64)) if n * inner else 0
    if highest >= classes or 0 <= ignore_index < classes:
        ignored = target == ignore_index
        wrong = target[((target < 0) | (target >= classes)) & ~ignored]
        if wrong.size:
            raise IndexError(f"Target {wrong[0]} is out of bounds.")
    weights = None
    if ignored is not None:
        target = np.where(ignored, 0, target)
    if weight is not None:
        weights = weight.astype(dtype)[target]
        if ignored is not None:
            weights[ignored] = 0
    elif ignored is not None:
        weights = np.logical_not(ignored).astype(dtype)
    if inner == 1:
        return np.arange(0, n * classes, classes) + target, weights
    start = (np.arange(n) * classes * inner)[:, None] + np.arange(inner)
    return start.reshape(-1) + target * inner, weights


def _scale(grad, weights, reduction, total_weight):
    """d result / d loss[i], times the weight: (targets,), or () where it is the same for all."""
    if reduction == "mean":
        grad = grad / total_weight
        # Where all are ignored the loss is nan, yet the gradient is 0.
        return grad if weights is None else np.where(weights == 0, weights, weights * grad)
    if weights is None:
        return grad.reshape(-1) if reduction == "none" else grad
    return weights * grad.reshape(-1)


def _layout(shape):
    """The shape of an input as rows, which run along axis 1, and that of one number a row."""
    n, classes, inner = _sizes(shape)
    return ((n, classes), (n, 1)) if inner == 1 else ((n, classes, inner), (n, 1, inner))


def _sizes(shape):
    """(N, C, entries of the other dimensions) of an input's shape."""
    return (*shape[:2], prod(shape[2:])) if len(shape) > 1 else (1, shape[0], 1)
