"""Optimizer steps on one parameter's arrays, in place.

PyTorch's formulas, with its operations in its order, so that the results agree to the last bits.
What its foreach and fused variants do across parameters, blocks do here within one: a step is ten
to fifteen NumPy operations, and a block goes through all of them while it is in the L2 cache.

PyTorch: torch/optim/sgd.py and adam.py (_single_tensor_*).
"""

from __future__ import annotations

import math

import numpy as np

from .blocking import BLOCK, GRAIN, blocks
from .threads import parallel_for


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    momentum_buffer: np.ndarray | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first: bool = False,
) -> None:
    """One step of stochastic gradient descent; changes param and momentum_buffer.

    `first`: momentum_buffer holds nothing yet, and becomes the gradient. Momentum needs it.
    """

    def kernel(scratch, param, grad, buffer=None):
        grad = _adjusted(grad, param, weight_decay, maximize)
        if buffer is not None:
            if first:
                buffer[...] = grad
            else:
                buffer *= momentum
                buffer += np.multiply(grad, 1 - dampening, out=scratch) if dampening else grad
            if nesterov:
                np.multiply(buffer, momentum, out=scratch)
                scratch += grad
                grad = scratch
            else:
                grad = buffer
        param -= np.multiply(grad, lr, out=scratch)

    arrays = [param, grad] if momentum == 0 else [param, grad, momentum_buffer]
    _in_blocks(kernel, *arrays)


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    max_exp_avg_sq: np.ndarray | None = None,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> None:
    """One step of Adam, or AdamW with `decoupled_weight_decay`; changes param and the averages.

    `step` counts from 1. With max_exp_avg_sq it is the AMSGrad variant.
    """
    step_size = lr / (1 - beta1**step)
    root = math.sqrt(1 - beta2**step)
    shrink = 1 - lr * weight_decay if decoupled_weight_decay else 1.0

    def kernel(scratch, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq=None):
        if shrink != 1.0:
            param *= shrink
        grad = _adjusted(grad, param, 0.0 if decoupled_weight_decay else weight_decay, maximize)
        # exp_avg.lerp_(grad, 1 - beta1): from the nearer of its two ends
        np.subtract(grad, exp_avg, out=scratch)
        if 1 - beta1 < 0.5:
            scratch *= 1 - beta1
            exp_avg += scratch
        else:
            scratch *= beta1
            np.subtract(grad, scratch, out=exp_avg)
        exp_avg_sq *= beta2
        np.multiply(grad, 1 - beta2, out=scratch)
        scratch *= grad
        exp_avg_sq += scratch
        if max_exp_avg_sq is not None:
            exp_avg_sq = np.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
        denominator = np.sqrt(exp_avg_sq, out=scratch)
        denominator /= root
        denominator += eps
        update = exp_avg * -step_size
        update /= denominator
        param += update

    arrays = [param, grad, exp_avg, exp_avg_sq]
    _in_blocks(kernel, *(arrays if max_exp_avg_sq is None else [*arrays, max_exp_avg_sq]))


def _adjusted(grad, param, weight_decay, maximize):
    """The gradient to descend along: turned round to maximize, and with L2 regularisation."""
    if maximize:
        grad = -grad
    if weight_decay != 0:
        grad = grad + param * weight_decay
    return grad


def _in_blocks(kernel, param, grad, *state):
    """kernel(scratch, *blocks) over flat blocks of arrays of one size; param and the state change.

    The scratch block is one for each thread: it stays in the cache from block to block.
    """
    arrays = [param, grad, *state]
    if param.size <= GRAIN or not all(a.flags.c_contiguous for a in (param, *state)):
        kernel(np.empty_like(param), *arrays)  # a single block, or no flat view exists
        return
    arrays = [np.ascontiguousarray(a).reshape(-1) for a in arrays]

    def work(start, stop):
        scratch = np.empty(BLOCK, param.dtype)
        for block in blocks(start, stop, BLOCK):
            kernel(scratch[: block.stop - block.start], *[a[block] for a in arrays])

    parallel_for(param.size, work, GRAIN)
