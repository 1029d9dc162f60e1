"""When to average the parameters over the ranks: every few steps.

Why: ranks that train on their own for a few steps and then take the mean of their parameters send a
fraction of what gradients in every step would cost (local SGD).
PyTorch: torch/distributed/algorithms/model_averaging/averagers.py.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from minitorch.distributed.algorithms.model_averaging import utils

__all__ = ["ModelAverager", "PeriodicModelAverager"]


class ModelAverager(ABC):
    """Base class: call `average_parameters` after each step. Mirrors torch's ModelAverager."""

    def __init__(self, process_group: Any = None):
        self.process_group = process_group
        self.step = 0

    @abstractmethod
    def average_parameters(self, params: Iterable) -> None:
        """Count the step, and average what is due."""


class PeriodicModelAverager(ModelAverager):
    """Averages in step `warmup_steps`, counted from 0, and in each `period`-th after it.

    Mirrors torch's PeriodicModelAverager. Raises ValueError for a negative number of steps.
    """

    def __init__(self, period: int, warmup_steps: int = 0, process_group: Any = None):
        super().__init__(process_group)
        if warmup_steps < 0:
            raise ValueError("Arg ``warmup_steps`` must be a non-negative number.")
        if period < 1:
            raise ValueError("Arg ``period`` must be a positive value.")
        if period == 1:
            warnings.warn(
                "averaging the parameters after each step costs as much as averaging the "
                "gradients: DistributedDataParallel alone does that",
                stacklevel=2,
            )
        self.warmup_steps = warmup_steps
        self.period = period

    def average_parameters(self, params: Iterable) -> None:
        """Average the parameters of a model, or of an optimizer's groups, if it is time."""
        late = self.step - self.warmup_steps
        if late >= 0 and late % self.period == 0:
            utils.average_parameters_or_parameter_groups(params, self.process_group)
        self.step += 1
