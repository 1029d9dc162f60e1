"""RMSprop (Hinton 2012). PyTorch: torch/optim/rmsprop.py."""

from __future__ import annotations

import numpy as np

from ..tensor import wrap
from .elementwise import Elementwise, add_quotient, decay_towards, decay_towards_square, root


class RMSprop(Elementwise):
    """The gradient over the root of the mean of its square. Mirrors torch.optim.RMSprop.

    With the gradient g of the parameter p (-g to `maximize`), in each step:

        g <- g + weight_decay * p
        v <- alpha * v + (1 - alpha) * g^2
        a <- alpha * a + (1 - alpha) * g             if centered; v - a^2 then stands for v below
        b <- momentum * b + g / (sqrt(v) + eps)
        p <- p - lr * b

    `foreach` and `capturable` are accepted and change nothing. Raises ValueError for negative
    options.
    """

    remembers = ("square_avg",)

    def __init__(
        self,
        params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def start(self, p, group):
        state = super().start(p, group)
        if group["momentum"] > 0:
            state["momentum_buffer"] = wrap(np.zeros_like(p.array))
        if group["centered"]:
            state["grad_avg"] = wrap(np.zeros_like(p.array))
        return state

    def move(self, param, grad, state, step, group):
        variance = state["square_avg"]
        decay_towards_square(variance, grad, group["alpha"])
        if group["centered"]:
            mean = state["grad_avg"]
            decay_towards(mean, grad, group["alpha"])
            variance = variance - mean * mean
        scale = root(variance, group["eps"])
        if group["momentum"] > 0:
            velocity = state["momentum_buffer"]
            velocity *= group["momentum"]
            velocity += grad / scale
            param -= velocity * group["lr"]
        else:
            add_quotient(param, grad, scale, -group["lr"])
