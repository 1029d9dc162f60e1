"""RAdam (Liu et al. 2020). PyTorch: torch/optim/radam.py."""

from __future__ import annotations

import math

from .elementwise import Elementwise, decay_towards, decay_towards_square, root


class RAdam(Elementwise):
    """Adam whose first steps do not trust the mean square yet. Mirrors torch.optim.RAdam.

    With the gradient g of the parameter p (-g to `maximize`), in step t = 1, 2, ...:

        g <- g + weight_decay * p
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        r = R - 2 * t * beta2^t / (1 - beta2^t)      R = 2 / (1 - beta2) - 1
        p <- p - lr * m' * rectified / (sqrt(v') + eps)      if r > 5, otherwise p - lr * m'

    m' and v' are Adam's; r says how many gradients v is the mean of, and rectified grows with it
    from 0 to 1. `decoupled_weight_decay` is AdamW's. `foreach` and `capturable` are accepted and
    change nothing. Raises ValueError for options out of range.
    """

    remembers = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def move(self, param, grad, state, step, group):
        beta1, beta2 = group["betas"]
        decay_towards(state["exp_avg"], grad, beta1)
        decay_towards_square(state["exp_avg_sq"], grad, beta2)
        move = state["exp_avg"] / (1 - beta1**step)
        move *= group["lr"]
        left = 1 - beta2**step
        most = 2 / (1 - beta2) - 1
        r = most - 2 * step * beta2**step / left
        if r > 5:
            move *= math.sqrt(left) / root(state["exp_avg_sq"], group["eps"])
            move *= math.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r))
        param -= move
