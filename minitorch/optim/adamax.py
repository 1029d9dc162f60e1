"""Adamax (Kingma and Ba 2015). PyTorch: torch/optim/adamax.py."""

from __future__ import annotations

import numpy as np

from .elementwise import Elementwise, add_quotient, decay_towards


class Adamax(Elementwise):
    """Adam with the largest gradient in place of the mean square. Mirrors torch.optim.Adamax.

    With the gradient g of the parameter p (-g to `maximize`), in step t = 1, 2, ...:

        g <- g + weight_decay * p
        m <- beta1 * m + (1 - beta1) * g
        u <- max(beta2 * u, |g| + eps)
        p <- p - lr / (1 - beta1^t) * m / u

    `foreach` and `capturable` are accepted and change nothing. Raises ValueError for options out of
    range.
    """

    remembers = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def move(self, param, grad, state, step, group):
        beta1, beta2 = group["betas"]
        mean, largest = state["exp_avg"], state["exp_inf"]
        decay_towards(mean, grad, beta1)
        largest *= beta2
        np.maximum(largest, np.abs(grad) + group["eps"], out=largest)
        add_quotient(param, mean, largest, -group["lr"] / (1 - beta1**step))
