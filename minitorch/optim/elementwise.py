"""Elementwise: the frame of the optimizers that are a few lines of NumPy each.

A subclass names what it remembers of each parameter (`remembers`), and says in `move` what one step
does with the arrays. This class takes care of the rest, which is the same for all of them: of the
options that all have, of the count of steps, and of the state, which is PyTorch's name for name.
SGD and Adam, which most scripts use, have kernels instead. PyTorch: the _single_tensor_* functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch.declare import functions
from ..tensor import wrap
from .optimizer import Optimizer, check_options


class Elementwise(Optimizer):
    """Base class: override `move`, and name in `remembers` the arrays that it is to be given."""

    remembers: tuple[str, ...] = ()

    def __init__(self, params, defaults: dict[str, Any]):
        check_options(
            defaults["lr"], defaults["foreach"], defaults.get("fused"), defaults["differentiable"]
        )
        for i, beta in enumerate(defaults.get("betas", ())):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        for option, word in _NOT_NEGATIVE.items():
            if not defaults.get(option, 0) >= 0:
                raise ValueError(f"Invalid {word} value: {defaults[option]}")
        super().__init__(params, defaults)

    def start(self, p, group: dict[str, Any]) -> dict[str, Any]:
        """What is remembered of `p` before the first step: zeros."""
        step = functions["tensor"](0.0)
        return {"step": step} | {name: wrap(np.zeros_like(p.array)) for name in self.remembers}

    def move(self, param, grad, state: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        """One step: change `param` and the arrays of `state` in place. `step` counts from 1."""
        raise NotImplementedError

    def _update(self, group: dict[str, Any]) -> None:
        options = {**group, "lr": float(group["lr"])}
        for p in group["params"]:
            if p._grad is None:
                continue
            state = self.state[p]
            if not state:
                state.update(self.start(p, group))
            state["step"].array += 1
            param, grad = p.array, p._grad.array
            if group["maximize"]:
                grad = -grad
            if group["weight_decay"]:
                if group.get("decoupled_weight_decay"):
                    param *= 1 - options["lr"] * group["weight_decay"]
                else:
                    grad = grad + param * group["weight_decay"]
            arrays = {name: tensor.array for name, tensor in state.items()}
            self.move(param, grad, arrays, int(state["step"].array), options)
            p._storage.version += 1


_NOT_NEGATIVE = {  # options, and PyTorch's word for each in its errors
    "eps": "epsilon",
    "momentum": "momentum",
    "alpha": "alpha",
    "lr_decay": "lr_decay",
    "initial_accumulator_value": "initial_accumulator_value",
    "momentum_decay": "momentum_decay",
    "weight_decay": "weight_decay",
}


def decay_towards(average, value, beta: float) -> None:
    """average <- beta * average + (1 - beta) * value, from the nearer end: PyTorch's lerp_."""
    if 1 - beta < 0.5:
        average += (value - average) * (1 - beta)
    else:
        average[...] = value - (value - average) * beta


def decay_towards_square(average, value, beta: float) -> None:
    """average <- beta * average + (1 - beta) * value^2."""
    average *= beta
    square = value * (1 - beta)
    square *= value
    average += square


def root(average, eps: float):
    """sqrt(average) + eps"""
    result = np.sqrt(average)
    result += eps
    return result


def add_quotient(param, numerator, denominator, factor: float) -> None:
    """param <- param + factor * numerator / denominator."""
    quotient = numerator * factor
    quotient /= denominator
    param += quotient
