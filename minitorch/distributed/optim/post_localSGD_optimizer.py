"""PostLocalSGDOptimizer: an optimizer, and the mean of the parameters every few steps.

PyTorch: torch/distributed/optim/post_localSGD_optimizer.py.
"""

from __future__ import annotations

import warnings
from typing import Any

from minitorch.distributed.algorithms.model_averaging.averagers import ModelAverager
from minitorch.optim.optimizer import Optimizer

__all__ = ["PostLocalSGDOptimizer"]


class PostLocalSGDOptimizer(Optimizer):
    """`optim`, after each of whose steps `averager` has its turn. Mirrors torch's class."""

    def __init__(self, optim: Optimizer, averager: ModelAverager):
        self.optim = optim
        self.param_groups = optim.param_groups
        self.averager = averager

    @property
    def state(self):
        return self.optim.state

    def step(self, closure=None):
        """A step of the optimizer, then the mean over the ranks if it is time."""
        loss = self.optim.step() if closure is None else self.optim.step(closure)
        self.averager.average_parameters(params=self.param_groups)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, and the averager's number of steps as "step"."""
        return {**self.optim.state_dict(), "step": self.averager.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warns if there is no "step", and then counts from 0."""
        self.optim.load_state_dict(state_dict)
        self.param_groups = self.optim.param_groups
        if "step" not in state_dict:
            warnings.warn(
                "Loaded state dict does not contain a step counter for an averager. "
                "Setting step counter to 0.",
                stacklevel=2,
            )
        self.averager.step = state_dict.get("step", 0)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optim.zero_grad(set_to_none=set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.optim.add_param_group(param_group)

    def __repr__(self) -> str:
        return repr(self.optim)
