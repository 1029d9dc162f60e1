"""Adagrad (Duchi, Hazan and Singer 2011). PyTorch: torch/optim/adagrad.py."""

from __future__ import annotations

import numpy as np

from .. import devices
from ..dispatch.declare import functions
from ..tensor import wrap
from .elementwise import Elementwise, add_quotient, root


class Adagrad(Elementwise):
    """The gradient over the root of the sum of its squares so far. Mirrors torch.optim.Adagrad.

    With the gradient g of the parameter p (-g to `maximize`), in step t = 1, 2, ...:

        g <- g + weight_decay * p
        s <- s + g^2                                 s is initial_accumulator_value at first
        p <- p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    `foreach` and `fused` are accepted and change nothing. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:  # PyTorch's too is here before the first step
            for p in group["params"]:
                self.state[p] = self.start(p, group)

    def start(self, p, group):
        with devices.guard(p.array):
            first = np.full_like(p.array, self.defaults["initial_accumulator_value"])
        return {"step": functions["tensor"](0.0), "sum": wrap(first)}

    def move(self, param, grad, state, step, group):
        state["sum"] += grad * grad
        lr = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        add_quotient(param, grad, root(state["sum"], group["eps"]), -lr)
