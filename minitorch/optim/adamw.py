"""AdamW (Loshchilov and Hutter 2019). PyTorch: torch/optim/adamw.py."""

from __future__ import annotations

from .adam import Adam


class AdamW(Adam):
    """Adam whose weight decay does not go through the averages. Mirrors torch.optim.AdamW.

    In each step p <- p - lr * weight_decay * p, then Adam's step without weight decay. (In Adam the
    decay is part of the gradient, and so weakest where gradients are large.)
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
