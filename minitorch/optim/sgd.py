"""Stochastic gradient descent. PyTorch: torch/optim/sgd.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..tensor import wrap
from .optimizer import Optimizer, check_options


class SGD(Optimizer):
    """Gradient descent, with momentum if that is not 0. Mirrors torch.optim.SGD.

    With the gradient g of the parameter p (-g to `maximize`), in each step:

        g <- g + weight_decay * p
        b <- momentum * b + (1 - dampening) * g      (b <- g in the first step)
        g <- g + momentum * b if nesterov, otherwise b
        p <- p - lr * g

    Without momentum the two lines in the middle fall away. `foreach` and `fused` are accepted and
    change nothing. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_options(lr, foreach, fused, differentiable)
        if momentum < 0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        names = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
        options = {name: group[name] for name in names}
        options["lr"] = float(group["lr"])
        together: dict[bool, list[tuple]] = {}  # on a GPU: all with, or all without a past
        for p in group["params"]:
            if p._grad is None:
                continue
            buffer, first = None, False
            if group["momentum"] != 0:
                state = self.state[p]
                first = state.get("momentum_buffer") is None
                if first:
                    state["momentum_buffer"] = wrap(np.zeros_like(p.array))
                buffer = state["momentum_buffer"].array
            if type(p.array) is np.ndarray:
                kernels.sgd_step(p.array, p._grad.array, buffer, **options, first=first)
            else:
                together.setdefault(first, []).append((p.array, p._grad.array, buffer))
            p._storage.version += 1
        for first, tensors in together.items():
            kernels.find("sgd_steps", tensors[0][0])(tensors, **options, first=first)
