"""Losses of each element by itself, and what all losses share: their reduction.

`reduction` is "mean", "sum" or "none"; `size_average` and `reduce` are its old form. The losses of
classes are in classification.py, those with margins in margin.py.
PyTorch: torch/nn/functional.py, aten/src/ATen/native/Loss.cpp.
"""

from __future__ import annotations

import math
import warnings

from ... import devices
from ...dispatch.declare import composite, functions
from ...ops import loss as ops
from .activation import logsigmoid

where = functions["where"]


def reduction_of(reduction, size_average=None, reduce=None) -> str:
    """The reduction, also by PyTorch's old pair of flags."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(terms, reduction, size_average=None, reduce=None, weight=None):
    """`terms`, times `weight` where given, by the reduction."""
    reduction = reduction_of(reduction, size_average, reduce)
    terms = terms if weight is None else terms * weight
    return terms if reduction == "none" else getattr(terms, reduction)()


# Distances


def _warned_of_sizes(input, target) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)^2. Mirrors torch.nn.functional.mse_loss."""
    _warned_of_sizes(input, target)
    return _reduced(ops._squared_error(input, target), reduction, size_average, reduce, weight)


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target|. Mirrors torch.nn.functional.l1_loss."""
    _warned_of_sizes(input, target)
    return _reduced((input - target).abs(), reduction, size_average, reduce, weight)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """0.5 (x - y)^2 / beta where |x - y| < beta, else |x - y| - 0.5 beta.

    Mirrors torch.nn.functional.smooth_l1_loss.
    """
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    _warned_of_sizes(input, target)
    terms = ops._huber(input, target, beta)
    return _reduced(terms if beta == 1 else terms / beta, reduction, size_average, reduce)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """0.5 (x - y)^2 where |x - y| <= delta, else delta (|x - y| - 0.5 delta).

    Mirrors torch.nn.functional.huber_loss.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _warned_of_sizes(input, target)
    return _reduced(ops._huber(input, target, delta), reduction, weight=weight)


# Probabilities


@devices.on_its_device
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
    terms = ops._binary_cross_entropy(input, target)
    return _reduced(terms, reduction, size_average, reduce, weight)


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

    pos_weight: a factor for the terms of target 1. Mirrors
    torch.nn.functional.binary_cross_entropy_with_logits.
    """
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    terms = ops._bce_with_logits(input, target)
    if pos_weight is not None:
        terms = terms - (pos_weight - 1) * target * logsigmoid(input)
    return _reduced(terms, reduction, size_average, reduce, weight)


@composite(method=False)
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target (log(target) - input): input holds log-probabilities; target too if `log_target`.

    reduction "batchmean": the sum over the number of samples, which is the divergence. Mirrors
    torch.nn.functional.kl_div.
    """
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = kl_div(input, target, reduction="sum", log_target=log_target)
        return total / input.shape[0] if input.ndim else total
    terms = target.exp() * (target - input) if log_target else ops._kl_div(input, target)
    return _reduced(terms, reduction, size_average, reduce)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """0.5 (log(var) + (input - target)^2 / var), var not below eps. `full`: + 0.5 log(2 pi).

    var: a number, of input's shape, or with 1 or nothing for its last dimension. Mirrors
    torch.nn.functional.gaussian_nll_loss.
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * input.new_ones(input.shape)
    elif (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif input.shape[:-1] != var.shape[:-1] or var.shape[-1] != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    with_floor = var.detach().clamp(min=eps) + (var - var.detach())  # the floor has no gradient
    terms = 0.5 * (with_floor.log() + ops._squared_error(input, target) / with_floor)
    return _reduced(terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction)


@composite(method=False)
def poisson_nll_loss(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """exp(input) - target input, or (not log_input) input - target log(input + eps).

    `full`: plus Stirling's approximation of log(target!) where target > 1. Mirrors
    torch.nn.functional.poisson_nll_loss.
    """
    terms = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        terms = terms + where(target > 1, stirling, 0.0)
    return _reduced(terms, reduction, size_average, reduce)
