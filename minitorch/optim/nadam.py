"""NAdam (Dozat 2016). PyTorch: torch/optim/nadam.py."""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import functions
from .elementwise import Elementwise, add_quotient, decay_towards, decay_towards_square


class NAdam(Elementwise):
    """Adam with Nesterov's momentum, which looks a step ahead. Mirrors torch.optim.NAdam.

    With the gradient g of the parameter p (-g to `maximize`), in step t = 1, 2, ...:

        g <- g + weight_decay * p
        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2),  M(t) = mu(1) * ... * mu(t)
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        p <- p - lr * ((1 - mu(t)) / (1 - M(t)) * g + mu(t+1) / (1 - M(t+1)) * m) / (sqrt(v') + eps)

    with v' = v / (1 - beta2^t). `decoupled_weight_decay` is AdamW's. `foreach` and `capturable` are
    accepted and change nothing. Raises ValueError for options out of range.
    """

    remembers = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def start(self, p, group):
        return super().start(p, group) | {"mu_product": functions["tensor"](1.0)}

    def move(self, param, grad, state, step, group):
        beta1, beta2 = group["betas"]
        lr, product = group["lr"], state["mu_product"]
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1)
        )
        product *= mu
        product_next = float(product) * mu_next
        decay_towards(state["exp_avg"], grad, beta1)
        decay_towards_square(state["exp_avg_sq"], grad, beta2)
        scale = np.sqrt(state["exp_avg_sq"] / (1 - beta2**step)) + group["eps"]
        add_quotient(param, grad, scale, -lr * (1 - mu) / (1 - float(product)))
        add_quotient(param, state["exp_avg"], scale, -lr * mu_next / (1 - product_next))
