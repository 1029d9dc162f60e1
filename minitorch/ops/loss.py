"""Losses. PyTorch: torch/nn/functional.py, aten/src/ATen/native/LossNLL.cpp.

`reduction` is "none", "sum" or "mean".
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..tensor import Tensor
from .declare import composite, functions, op
from .index import unindex
from .nn import fused, log_softmax


def reduction_of(reduction, size_average=None, reduce=None) -> str:
    """The reduction, also by PyTorch's old pair of flags."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss, reduction: str):
    return loss if reduction == "none" else getattr(loss, reduction)()


# Negative log likelihood


@op(method=False, function=False, outputs=("out", "total"))
def _nll_loss(input, target, weight, reduction, ignore_index):
    return kernels.nll_loss_forward(input, target, weight, reduction, ignore_index)


def _nll_loss_composition(grad, shape, target, weight, reduction, ignore_index, total):
    """`grad`, weighted, at the target classes; 0 elsewhere."""
    kept = target != ignore_index
    target = np.where(kept, target, 0)
    scaled = -grad * kept if weight is None else -grad * kept * weight[target]
    if reduction == "mean":
        scaled = scaled / total
    sample, *positions = np.ogrid[tuple(slice(n) for n in target.shape)]
    at_target = (sample, target, *positions)
    return unindex(scaled, at_target, shape, unique=True)


_nll_loss_backward = fused(kernels.nll_loss_backward, _nll_loss_composition)
_nll_loss.derivatives(
    input=lambda grad, input_shape, target, weight, reduction, ignore_index, total: (
        _nll_loss_backward(grad, input_shape, target, weight, reduction, ignore_index, total)
    )
)


@op(method=False, function=False, outputs=("out", "log_p", "total"), node="NllLoss")
def _cross_entropy(input, target, weight, reduction, ignore_index):
    return kernels.cross_entropy_forward(input, target, weight, reduction, ignore_index)


@_cross_entropy.defined_by
def _(input, target, weight, reduction, ignore_index):
    return _nll_loss(log_softmax(input, 1), target, weight, reduction, ignore_index)[0]


def _cross_entropy_by_input(grad, input, target, weight, reduction, ignore_index, log_p, total):
    if not isinstance(grad, Tensor):
        return kernels.cross_entropy_backward(
            grad, log_p, target, weight, reduction, ignore_index, total
        )
    shape = tuple(input.shape)
    g = _nll_loss_composition(grad, shape, target, weight, reduction, ignore_index, total)
    return g - functions["softmax"](input, 1) * g.sum(1, keepdim=True)


_cross_entropy.derivatives(input=_cross_entropy_by_input)


def _batched(operation, input, target, weight, reduction, ignore_index):
    """`operation` with a batch dimension, which a single sample (C,) lacks, and sizes checked."""
    if target.is_floating_point():
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.legacy_name}"
        )
    single = input.ndim == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    if input.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({target.shape[0]})."
        )
    if input.shape[2:] != target.shape[1:]:
        raise RuntimeError(
            f"Expected target size {[input.shape[0], *input.shape[2:]]}, got {list(target.shape)}"
        )
    loss = operation(input, target, weight, reduction, ignore_index)[0]
    return loss.squeeze(0) if single and reduction == "none" else loss


@composite(method=False)
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
    return _batched(_nll_loss, input, target, weight, reduction, ignore_index)


@composite(method=False)
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
        return _batched(_cross_entropy, input, target, weight, reduction, ignore_index)
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


# Distances


def _pointwise(name: str, meaning: str, formula):
    def loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
        terms = formula(input, target)
        if weight is not None:
            terms = terms * weight
        return _reduced(terms, reduction_of(reduction, size_average, reduce))

    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = f"{meaning}, reduced. Mirrors torch.nn.functional.{name}."
    return composite(loss, method=False)


mse_loss = _pointwise("mse_loss", "(input - target) ** 2", lambda x, y: (x - y).square())
l1_loss = _pointwise("l1_loss", "|input - target|", lambda x, y: (x - y).abs())


@composite(method=False)
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """0.5 (x - y)^2 / beta where |x - y| < beta, else |x - y| - 0.5 beta.

    Mirrors torch.nn.functional.smooth_l1_loss.
    """
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    d = (input - target).abs()
    terms = functions["where"](d < beta, 0.5 * d * d / beta, d - 0.5 * beta)
    return _reduced(terms, reduction_of(reduction, size_average, reduce))


@composite(method=False)
def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """-(target log(input) + (1 - target) log(1 - input)), the logarithms not below -100.

    input: probabilities. Mirrors torch.nn.functional.binary_cross_entropy.
    """
    if input.shape != target.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if input.numel() and not 0 <= input.array.min() <= input.array.max() <= 1:
        raise RuntimeError("all elements of input should be between 0 and 1")
    terms = -(
        target * input.log().clamp(min=-100) + (1 - target) * (1 - input).log().clamp(min=-100)
    )
    terms = terms if weight is None else terms * weight
    return _reduced(terms, reduction_of(reduction, size_average, reduce))


@composite(method=False)
def binary_cross_entropy_with_logits(
    input,
    target,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
    pos_weight=None,
):
    """binary_cross_entropy of sigmoid(input), without overflow.

    Mirrors torch.nn.functional.binary_cross_entropy_with_logits.
    """
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    # log(1 + exp(-x)) = max(-x, 0) + log(1 + exp(-|x|))
    tail = (-input).clamp(min=0) + (-input.abs()).exp().log1p()
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    terms = (1 - target) * input + factor * tail
    terms = terms if weight is None else terms * weight
    return _reduced(terms, reduction_of(reduction, size_average, reduce))
