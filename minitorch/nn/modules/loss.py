"""Losses as modules. `reduction` is "mean", "sum" or "none"; `size_average` and `reduce` are its
old form. PyTorch: torch/nn/modules/loss.py.
"""

from __future__ import annotations

from .. import functional as F
from ..functional.loss import reduction_of
from .fixed import Silent

_OLD = {"size_average": None, "reduce": None, "reduction": "mean"}


class _Loss(Silent):
    """A loss. Tensors among its arguments, `weight` and `pos_weight`, are buffers."""

    def _fix(self, size_average=None, reduce=None, **arguments) -> None:
        if size_average is not None or reduce is not None:
            arguments["reduction"] = reduction_of(arguments["reduction"], size_average, reduce)
        for name in ("weight", "pos_weight"):
            if name in arguments:
                self.register_buffer(name, arguments[name])
        super()._fix(**arguments)


class L1Loss(_Loss, function=F.l1_loss, **_OLD):
    """|input - target|. Mirrors torch.nn.L1Loss."""


class MSELoss(_Loss, function=F.mse_loss, **_OLD):
    """(input - target)^2. Mirrors torch.nn.MSELoss."""


class SmoothL1Loss(_Loss, function=F.smooth_l1_loss, **_OLD, beta=1.0):
    """Quadratic within `beta` of the target, linear outside. Mirrors torch.nn.SmoothL1Loss."""


class HuberLoss(_Loss, function=F.huber_loss, reduction="mean", delta=1.0):
    """`delta` times SmoothL1Loss of beta=delta. Mirrors torch.nn.HuberLoss."""


class NLLLoss(
    _Loss,
    function=F.nll_loss,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Minus the log-probabilities (N, C, *) of the targets (N, *). Mirrors torch.nn.NLLLoss.

    weight: (C,) a factor for each class; ignore_index: targets that do not count.
    """


class NLLLoss2d(NLLLoss):
    """An old name of NLLLoss. Mirrors torch.nn.NLLLoss2d."""


class CrossEntropyLoss(
    _Loss,
    function=F.cross_entropy,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """NLLLoss of log_softmax(input); the targets are classes, or probabilities of input's shape.

    label_smoothing: the share of each target that is spread over all classes. Mirrors
    torch.nn.CrossEntropyLoss.
    """


class BCELoss(_Loss, function=F.binary_cross_entropy, weight=None, **_OLD):
    """Cross entropy of probabilities and targets in [0, 1]. Mirrors torch.nn.BCELoss."""


class BCEWithLogitsLoss(
    _Loss, function=F.binary_cross_entropy_with_logits, weight=None, **_OLD, pos_weight=None
):
    """BCELoss of sigmoid(input), without overflow. Mirrors torch.nn.BCEWithLogitsLoss."""


class KLDivLoss(_Loss, function=F.kl_div, **_OLD, log_target=False):
    """target (log(target) - input), input log-probabilities. Mirrors torch.nn.KLDivLoss."""


class GaussianNLLLoss(_Loss, function=F.gaussian_nll_loss, full=False, eps=1e-6, reduction="mean"):
    """Of (input, target, var): 0.5 (log(var) + (input - target)^2 / var).

    Mirrors torch.nn.GaussianNLLLoss.
    """

    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(full, eps, reduction)


class PoissonNLLLoss(
    _Loss,
    function=F.poisson_nll_loss,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """exp(input) - target input. Mirrors torch.nn.PoissonNLLLoss."""


class CTCLoss(_Loss, function=F.ctc_loss, blank=0, reduction="mean", zero_infinity=False):
    """Minus the log-probability of a sequence whatever its timing. Mirrors torch.nn.CTCLoss."""


class SoftMarginLoss(_Loss, function=F.soft_margin_loss, **_OLD):
    """log(1 + exp(-target input)). Mirrors torch.nn.SoftMarginLoss."""


class HingeEmbeddingLoss(_Loss, function=F.hinge_embedding_loss, margin=1.0, **_OLD):
    """input where target is 1, max(margin - input, 0) where -1. Mirrors torch's class."""


class MarginRankingLoss(_Loss, function=F.margin_ranking_loss, margin=0.0, **_OLD):
    """max(-target (input1 - input2) + margin, 0). Mirrors torch.nn.MarginRankingLoss."""


class CosineEmbeddingLoss(_Loss, function=F.cosine_embedding_loss, margin=0.0, **_OLD):
    """1 - cos where target is 1, max(cos - margin, 0) where -1. Mirrors torch's class."""


class TripletMarginLoss(
    _Loss, function=F.triplet_margin_loss, margin=1.0, p=2.0, eps=1e-6, swap=False, **_OLD
):
    """max(d(anchor, positive) - d(anchor, negative) + margin, 0). Mirrors torch's class."""


class TripletMarginWithDistanceLoss(
    _Loss,
    function=F.triplet_margin_with_distance_loss,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """TripletMarginLoss by another distance. Mirrors torch.nn.TripletMarginWithDistanceLoss."""

    def __init__(self, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
        super().__init__(distance_function, margin, swap, reduction)


class MultiMarginLoss(_Loss, function=F.multi_margin_loss, p=1, margin=1.0, weight=None, **_OLD):
    """The mean over other classes of max(margin - x[target] + x[i], 0)^p. Mirrors torch's class."""


class MultiLabelMarginLoss(_Loss, function=F.multilabel_margin_loss, **_OLD):
    """max(1 - (x[j] - x[i]), 0) over targets j, other classes i. Mirrors torch's class."""


class MultiLabelSoftMarginLoss(_Loss, function=F.multilabel_soft_margin_loss, weight=None, **_OLD):
    """The mean over classes of BCEWithLogitsLoss. Mirrors torch.nn.MultiLabelSoftMarginLoss."""
