"""What losses compute, before their reduction where that stands apart (nn/functional/loss.py).

`reduction` is "none", "sum" or "mean".
PyTorch: aten/src/ATen/native/Loss.cpp, LossNLL.cpp, LossCTC.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..dispatch.declare import elementwise, functions, op
from ..tensor import Tensor
from .choose import between, select
from .elementwise import over
from .index import unindex
from .nn import fused, log_softmax
from .ufuncs import sigmoid

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


@op(method=False, function=False, outputs=("out", "kept", "total"), node="NllLoss")
def _cross_entropy(input, target, weight, reduction, ignore_index):
    return kernels.cross_entropy_forward(input, target, weight, reduction, ignore_index)


@_cross_entropy.defined_by
def _(input, target, weight, reduction, ignore_index):
    return _nll_loss(log_softmax(input, 1), target, weight, reduction, ignore_index)[0]


def _cross_entropy_by_input(grad, input, target, weight, reduction, ignore_index, kept, total):
    if not isinstance(grad, Tensor):
        return kernels.cross_entropy_backward(
            grad, input, kept, target, weight, reduction, ignore_index, total
        )
    shape = tuple(input.shape)
    g = _nll_loss_composition(grad, shape, target, weight, reduction, ignore_index, total)
    return g - functions["softmax"](input, 1) * g.sum(1, keepdim=True)


_cross_entropy.derivatives(input=_cross_entropy_by_input)

# Element by element


@elementwise(function=False, method=False)
def _squared_error(input, target):
    d = input - target
    return over(np.multiply, d, d)


def _twice(grad, difference):
    return over(np.multiply, over(np.multiply, difference, 2), grad)


_squared_error.derivatives(
    input=lambda grad, input, target: _twice(grad, input - target),
    target=lambda grad, input, target: _twice(grad, target - input),
)


@elementwise(function=False, method=False, promoted=("input", "target"))
def _huber(input, target, delta):
    d = over(np.absolute, input - target)
    half = over(np.multiply, between(d, high=delta), 0.5)
    product = over(np.multiply, over(np.subtract, d, half), half)
    return over(np.multiply, product, 2)  # d^2 / 2, or delta (d - delta / 2)


_huber.derivatives(
    input=lambda grad, input, target, delta: over(
        np.multiply, between(input - target, -delta, delta), grad
    ),
    target=lambda grad, input, target, delta: over(
        np.multiply, between(target - input, -delta, delta), grad
    ),
)


@elementwise(function=False, method=False)
def _binary_cross_entropy(input, target):
    log_p, log_q = np.maximum(np.log(input), -100), np.maximum(np.log1p(-input), -100)
    return (target - 1) * log_q - target * log_p


_binary_cross_entropy.derivatives(
    input=lambda grad, input, target: (
        grad * (input - target) / np.maximum(input * (1 - input), 1e-12)
    ),
    target=lambda grad, input: grad * (np.log1p(-input) - np.log(input)),
)


@elementwise(function=False, method=False)
def _bce_with_logits(input, target):
    # log(1 + exp(-x)) = max(-x, 0) + log(1 + exp(-|x|)), which cannot overflow
    tail = np.log1p(np.exp(-np.absolute(input))) - between(input, high=0)
    return (1 - target) * input + tail


_bce_with_logits.derivatives(
    input=lambda grad, input, target: grad * (sigmoid(input) - target),
    target=lambda grad, input: -grad * input,
)


@elementwise(function=False, method=False)
def _kl_div(input, target):
    return select(target > 0, target * np.log(target), target * 0) - target * input


_kl_div.derivatives(
    input=lambda grad, target: -grad * target,
    target=lambda grad, input, target: select(
        target > 0, grad * (np.log(target) + 1 - input), -grad * input
    ),
)

# Sequences without an alignment


@op(method=False, function=False, outputs=("out", "log_alpha"))
def _ctc_loss(log_probs, targets, input_lengths, target_lengths, blank):
    return kernels.ctc_loss_forward(log_probs, targets, input_lengths, target_lengths, blank)


def _ctc_by_log_probs(
    grad, log_probs, targets, input_lengths, target_lengths, blank, out, log_alpha
):
    if isinstance(grad, Tensor):
        raise RuntimeError("derivative for ctc_loss_backward is not implemented")
    return kernels.ctc_loss_backward(
        grad, log_probs, targets, input_lengths, target_lengths, blank, out, log_alpha
    )


_ctc_loss.derivatives(log_probs=_ctc_by_log_probs)
