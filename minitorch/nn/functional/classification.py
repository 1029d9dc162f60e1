"""Losses of classes: the negative log likelihood of the right one, or of the right sequence.

PyTorch: torch/nn/functional.py, aten/src/ATen/native/LossNLL.cpp, LossCTC.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from ... import devices
from ...dispatch.declare import composite
from ...ops import loss as ops
from ...tensor import Tensor, wrap, wrap_beside
from .activation import log_softmax
from .embedding import linear
from .loss import _reduced, reduction_of, where


def _by_class(operation, input, target, weight, reduction, ignore_index):
    """`operation` with a batch dimension, which a single sample (C,) lacks, and sizes checked."""
    if target.array.dtype.kind not in "iu":
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.legacy_name}"
        )
    if not input.ndim:
        raise RuntimeError("input tensor should be 1D or 2D, but it has no dimensions")
    single = input.ndim == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    (batch, classes, *sizes), of_target = input.array.shape, target.array.shape
    if batch != of_target[0]:
        raise ValueError(
            f"Expected input batch_size ({batch}) to match target batch_size ({of_target[0]})."
        )
    if sizes != list(of_target[1:]):
        raise RuntimeError(f"Expected target size {[batch, *sizes]}, got {list(of_target)}")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            "weight tensor should be defined either for all or no classes: expected shape "
            f"[{classes}], got {list(weight.shape)}"
        )
    loss = operation(input, target, weight, reduction, ignore_index)[0]
    return loss.squeeze(0) if single and reduction == "none" else loss


def nll_loss(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Minus the log-probabilities of the target classes: (N, C, *) and (N, *), or (C,) and ().

    weight: (C,) a factor for each class, which the mean is weighted by; ignore_index: targets that
    do not count. Raises IndexError for a class that is not there, ValueError for batch sizes that
    differ. Mirrors torch.nn.functional.nll_loss.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    return _by_class(ops._nll_loss, input, target, weight, reduction, ignore_index)


def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """nll_loss of log_softmax(input). target: classes, or probabilities of input's shape.

    label_smoothing: the share of each target that is spread over all classes. Mirrors
    torch.nn.functional.cross_entropy.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    hard = not target.is_floating_point()
    if not hard and target.shape != input.shape:
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.legacy_name}: a "
            "floating target holds probabilities, and is of input's shape; make classes .long()"
        )
    if hard and not label_smoothing:
        return _by_class(ops._cross_entropy, input, target, weight, reduction, ignore_index)
    dim = 0 if input.ndim == 1 else 1
    log_p = log_softmax(input, dim)
    if not hard:
        return _soft_cross_entropy(log_p, target, weight, dim, reduction, label_smoothing)
    loss = nll_loss(log_p, target, weight, ignore_index=ignore_index, reduction=reduction)
    kept = target != ignore_index
    factors = None if weight is None else weight.reshape(-1, *[1] * (log_p.ndim - dim - 1))
    smooth = -(log_p if factors is None else log_p * factors).sum(dim) * kept
    if reduction == "sum":
        smooth = smooth.sum()
    elif reduction == "mean":
        count = kept.sum() if weight is None else (weight[target * kept] * kept).sum()
        smooth = smooth.sum() / count
    return (1 - label_smoothing) * loss + label_smoothing / input.shape[dim] * smooth


def _soft_cross_entropy(log_p, target, weight, dim, reduction, label_smoothing):
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / log_p.shape[dim]
    terms = log_p * target
    if weight is not None:
        terms = terms * weight.reshape(-1, *[1] * (log_p.ndim - dim - 1))
    loss = -terms.sum(dim)
    if reduction == "mean":
        return loss.sum() / (loss.numel() or 1)
    return _reduced(loss, reduction)


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """cross_entropy of linear(input, linear_weight). Mirrors torch's linear_cross_entropy.

    input: (N, in) or (in,); linear_weight: (C, *, in), for logits (N, C, *). `options`, which would
    cut the work into chunks, make no difference.
    """
    outputs = linear_weight.shape[:-1]  # classes, and perhaps dimensions
    if len(outputs) > 1:
        if input.ndim < 2:
            raise RuntimeError(
                f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
                f"requires batched input, got unbatched input with shape {tuple(input.shape)}"
            )
        linear_weight = linear_weight.reshape(-1, linear_weight.shape[-1])
        linear_bias = linear_bias if linear_bias is None else linear_bias.reshape(-1)
    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    logits = linear(input, linear_weight, linear_bias).reshape(*input.shape[:-1], *outputs)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignored,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


@composite(method=False)
@devices.on_its_device
def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Minus the log-probability that log_probs (T, N, C) spell the targets, whatever the timing.

    targets: (N, S) classes, or all of them in one vector; the lengths: of each sample, sequences or
    tensors. "mean" divides by the targets' lengths first. zero_infinity: targets that do not fit
    lose 0. Has no second derivative. Mirrors torch.nn.functional.ctc_loss.
    """
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.unsqueeze(0) if targets.ndim == 1 else targets
    steps, n, classes = log_probs.shape
    lengths = []
    for value, name in ((input_lengths, "input_lengths"), (target_lengths, "target_lengths")):
        value = value.numpy(force=True) if isinstance(value, Tensor) else value
        array = np.atleast_1d(np.asarray(value))
        if array.dtype.kind not in "iu" and array.size:
            raise RuntimeError(f"{name} must be integral")
        if len(array) != n:
            raise RuntimeError(f"{name} must be of size batch_size: expected {n}, got {len(array)}")
        lengths.append(array.astype(np.int64))
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    if lengths[0].max(initial=0) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got {lengths[0].max()}"
        )
    if targets.is_floating_point():
        raise RuntimeError("Expected targets to be integral")
    classes_of = targets.array
    if targets.ndim == 1:
        longest = int(lengths[1].max(initial=0))
        starts = np.cumsum(lengths[1]) - lengths[1]
        places = np.minimum(starts[:, None] + np.arange(longest), max(len(classes_of) - 1, 0))
        places = np.asarray(places, like=classes_of)
        classes_of = classes_of[places] if longest else classes_of[:0].reshape(n, 0)
    elif lengths[1].max(initial=0) > targets.shape[1]:
        raise RuntimeError(
            f"Expected tensor to have size at least {lengths[1].max()} at dimension 1, but got "
            f"size {list(targets.shape)} for targets"
        )
    counts = np.arange(classes_of.shape[1]) < lengths[1][:, None]
    classes_of = np.where(np.asarray(counts, like=classes_of), classes_of, blank)
    of = [wrap_beside(n, log_probs) for n in lengths]
    losses = ops._ctc_loss(log_probs, wrap(classes_of), *of, blank)[0]
    if zero_infinity:
        losses = where(losses == math.inf, 0.0, losses)
    if reduction == "mean":
        sizes = np.maximum(lengths[1], 1).astype(losses.array.dtype)
        return (losses / wrap_beside(sizes, losses)).mean()
    losses = losses.squeeze(0) if single else losses
    return _reduced(losses, reduction)
