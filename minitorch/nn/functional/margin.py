"""Losses that are content once one thing exceeds another by a margin.

PyTorch: torch/nn/functional.py, aten/src/ATen/native/Loss.cpp, LossMultiMargin.cpp.
"""

from __future__ import annotations

import numpy as np

from ... import devices
from ...dispatch.declare import composite, functions
from ...tensor import wrap
from .activation import logsigmoid
from .distance import pairwise_distance
from .loss import _reduced, reduction_of, where


def _check_target_shape(name: str, input, target) -> None:
    if input.shape != target.shape:
        raise RuntimeError(
            f"{name}: input and target must have the same size, got {list(input.shape)} and "
            f"{list(target.shape)}"
        )


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-target input)), target 1 or -1. Mirrors torch's soft_margin_loss."""
    return _reduced(-logsigmoid(target * input), reduction, size_average, reduce)


@composite(method=False)
def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """input where target is 1, max(margin - input, 0) where it is -1.

    Mirrors torch.nn.functional.hinge_embedding_loss.
    """
    apart = where(target != 1, (margin - input).clamp(min=0), 0.0)
    together = where(target != -1, input, 0.0)
    return _reduced(apart + together, reduction, size_average, reduce)


@composite(method=False)
def margin_ranking_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """max(-target (input1 - input2) + margin, 0). Mirrors torch's margin_ranking_loss."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape!r}, input2: {input2.shape!r}, target: {target.shape!r} "
        )
    terms = (-target * (input1 - input2) + margin).clamp(min=0)
    return _reduced(terms, reduction, size_average, reduce)


@composite(method=False)
def cosine_embedding_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """1 - cos(input1, input2) where target is 1, max(cos - margin, 0) where it is -1.

    (N, D), (N, D) and (N,), or (D,), (D,) and (). Mirrors torch's cosine_embedding_loss.
    """
    if target.ndim + 1 != input1.ndim or target.ndim + 1 != input2.ndim or target.ndim > 1:
        raise RuntimeError(
            "cosine_embedding_loss: expects inputs of one dimension more than the target, which "
            f"has 0 or 1, but got {list(input1.shape)}, {list(input2.shape)} and "
            f"{list(target.shape)}"
        )
    squares = [(x * x).sum(-1) + 1e-12 for x in (input1, input2)]
    cos = (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()
    terms = where(target == 1, 1 - cos, 0.0) + where(target == -1, (cos - margin).clamp(min=0), 0.0)
    return _reduced(terms, reduction, size_average, reduce)


@composite(method=False)
def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """max(d(anchor, positive) - d(anchor, negative) + margin, 0), d the p-norm's distance.

    swap: d(positive, negative) where that is less. Mirrors torch's triplet_margin_loss.
    """
    reduction = reduction_of(reduction, size_average, reduce)

    def distance(x, y):
        return pairwise_distance(x, y, p, eps)

    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=distance,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """triplet_margin_loss by another distance. Mirrors torch's function of that name."""
    if not margin > 0:
        raise ValueError(f"Expected margin to be greater than 0, but got {margin} instead.")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = functions["minimum"](far, distance(positive, negative))
    return _reduced((near - far + margin).clamp(min=0), reduction)


@devices.on_its_device
def multi_margin_loss(
    input,
    target,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """The mean over other classes i of max(margin - x[target] + x[i], 0) ** p.

    input (N, C) or (C,), target (N,) or (): classes; weight: (C,), by the target. Mirrors
    torch.nn.functional.multi_margin_loss.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    x, y = input, target.reshape(-1)
    if x.ndim > 2 or (x.numel() == 0 and x.shape[-1:] == (0,)):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(x.shape)}"
        )
    x = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    if target.ndim > 1 or y.numel() != x.shape[0]:
        raise RuntimeError(
            f"inconsistent target size, expected {[x.shape[0]]} but got {list(target.shape)}"
        )
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    if weight is not None and weight.numel() != x.shape[1]:
        raise RuntimeError(
            f"inconsistent weight size, expected {x.shape[1]} but got {list(weight.shape)}"
        )
    y = y.unsqueeze(1)
    terms = (margin - x.gather(1, y) + x).clamp(min=0)
    terms = terms if p == 1 else terms * terms
    terms = terms if weight is None else terms * weight[y]
    other = y.array != np.arange(x.shape[1], like=y.array)
    loss = where(wrap(other), terms, 0.0).sum(1) / x.shape[1]
    return _reduced(loss.reshape(target.shape) if input.ndim < 2 else loss, reduction)


@devices.on_its_device
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """The mean over targets j and other classes i of max(1 - (x[j] - x[i]), 0).

    input and target (N, C) or (C,); a row's targets are its classes up to the first -1. Mirrors
    torch.nn.functional.multilabel_margin_loss.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    _check_target_shape("multilabel_margin_loss", input, target)
    if input.ndim > 2:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )
    c = input.shape[-1] if input.ndim else 1
    x, y = input.reshape(-1, c), target.array.reshape(-1, c)
    counts = np.cumsum(y < 0, axis=1) == 0  # those before the first -1
    classes = np.arange(c, like=y)
    is_target = np.any((y[:, :, None] == classes) & counts[:, :, None], axis=1)  # (n, classes)
    y = np.where(counts, y, 0)
    at_target = x.gather(1, wrap(y)).unsqueeze(2)  # (n, targets, 1)
    terms = (1 - at_target + x.unsqueeze(1)).clamp(min=0)  # (n, targets, classes)
    pairs = counts[:, :, None] & ~is_target[:, None, :]
    loss = where(wrap(pairs), terms, 0.0).sum((1, 2)) / c
    return _reduced(loss if input.ndim == 2 else loss.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean over classes of binary_cross_entropy_with_logits. Mirrors torch's function."""
    terms = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    terms = terms if weight is None else terms * weight
    return _reduced(terms.mean(-1), reduction, size_average, reduce)
