"""Adadelta (Zeiler 2012). PyTorch: torch/optim/adadelta.py."""

from __future__ import annotations

import numpy as np

from .elementwise import Elementwise, decay_towards_square


class Adadelta(Elementwise):
    """Steps as large as the last ones were, whatever the unit of p. Mirrors torch.optim.Adadelta.

    With the gradient g of the parameter p (-g to `maximize`), in each step:

        g <- g + weight_decay * p
        v <- rho * v + (1 - rho) * g^2               mean square of the gradient
        d <- sqrt(u + eps) / sqrt(v + eps) * g
        u <- rho * u + (1 - rho) * d^2               mean square of the steps
        p <- p - lr * d

    `foreach` and `capturable` are accepted and change nothing. Raises ValueError for options out of
    range.
    """

    remembers = ("square_avg", "acc_delta")

    def __init__(
        self,
        params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def move(self, param, grad, state, step, group):
        decay_towards_square(state["square_avg"], grad, group["rho"])
        delta = np.sqrt(state["acc_delta"] + group["eps"])
        delta /= np.sqrt(state["square_avg"] + group["eps"])
        delta *= grad
        decay_towards_square(state["acc_delta"], delta, group["rho"])
        delta *= group["lr"]
        param -= delta
