"""Adam (Kingma and Ba 2015). PyTorch: torch/optim/adam.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..dispatch.declare import functions
from ..tensor import wrap
from .optimizer import Optimizer, check_options


class Adam(Optimizer):
    """Steps of about lr for every element, whatever its gradient's scale. Mirrors torch.optim.Adam.

    With the gradient g of the parameter p (-g to `maximize`), in step t = 1, 2, ...:

        g <- g + weight_decay * p
        m <- beta1 * m + (1 - beta1) * g             mean of the gradient
        v <- beta2 * v + (1 - beta2) * g^2           mean of its square
        p <- p - lr * m' / (sqrt(v') + eps)          m' = m / (1 - beta1^t), v' = v / (1 - beta2^t)

    m' and v' make up for m and v starting at 0. `amsgrad` takes the largest v so far in place of v.
    `decoupled_weight_decay` is AdamW: instead of the first line, p <- p - lr * weight_decay * p.
    `foreach`, `fused` and `capturable` are accepted and change nothing. Raises ValueError for
    options out of range.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_options(lr, foreach, fused, differentiable)
        if not eps >= 0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if not weight_decay >= 0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        defaults = {
            "lr": lr,
            "betas": (float(betas[0]), float(betas[1])),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _start(self, p, amsgrad: bool) -> dict[str, Any]:
        state = {
            "step": functions["tensor"](0.0),
            "exp_avg": wrap(np.zeros_like(p.array)),
            "exp_avg_sq": wrap(np.zeros_like(p.array)),
        }
        if amsgrad:
            state["max_exp_avg_sq"] = wrap(np.zeros_like(p.array))
        return state

    def _update(self, group: dict[str, Any]) -> None:
        names = ("eps", "weight_decay", "decoupled_weight_decay", "maximize")
        options = {name: group[name] for name in names}
        options["lr"] = float(group["lr"])
        options["beta1"], options["beta2"] = group["betas"]
        amsgrad = group["amsgrad"]
        together: dict[int, list[tuple]] = {}  # on a GPU: what takes the same step
        for p in group["params"]:
            if p._grad is None:
                continue
            state = self.state[p]
            if not state:
                state.update(self._start(p, amsgrad))
            state["step"].array += 1
            arrays = (
                p.array,
                p._grad.array,
                state["exp_avg"].array,
                state["exp_avg_sq"].array,
                state["max_exp_avg_sq"].array if amsgrad else None,
            )
            step = int(state["step"].array)
            if type(p.array) is np.ndarray:
                kernels.adam_step(*arrays, step=step, **options)
            else:
                together.setdefault(step, []).append(arrays)
            p._storage.version += 1
        for step, tensors in together.items():
            kernels.find("adam_steps", tensors[0][0])(tensors, step=step, **options)
