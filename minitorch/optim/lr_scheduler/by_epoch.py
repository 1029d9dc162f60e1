"""Schedules that need nothing but the epoch: stairs, ramps, half a cosine, a function."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from .scheduler import LRScheduler, per_group


class _ByFactor(LRScheduler):
    """Multiplies the learning rates of all groups by one factor each epoch."""

    _relative = True

    def factor(self) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        factor = self.factor()
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class StepLR(_ByFactor):
    """Times `gamma` every `step_size` epochs. Mirrors torch.optim.lr_scheduler.StepLR."""

    def __init__(self, optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return 1.0
        return self.gamma


class MultiStepLR(_ByFactor):
    """Times `gamma` at each of the epochs `milestones`.

    Mirrors torch.optim.lr_scheduler.MultiStepLR.
    """

    def __init__(
        self, optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ):
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        return self.gamma ** self.milestones[self.last_epoch]


class ExponentialLR(_ByFactor):
    """Times `gamma` every epoch. Mirrors torch.optim.lr_scheduler.ExponentialLR."""

    def __init__(self, optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        return 1.0 if self._is_initial else self.gamma


class ConstantLR(LRScheduler):
    """Times `factor` until epoch `total_iters`. Mirrors torch.optim.lr_scheduler.ConstantLR."""

    _relative = True

    def __init__(
        self, optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ):
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factor = 1.0
        if self.last_epoch == 0:
            factor = self.factor
        elif self.last_epoch == self.total_iters:
            factor = 1.0 / self.factor
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class LinearLR(_ByFactor):
    """From `start_factor` to `end_factor` times the base rate in `total_iters` epochs: warm-up.

    Mirrors torch.optim.lr_scheduler.LinearLR.
    """

    def __init__(
        self,
        optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal "
                "to 1."
            )
        if not 0 <= end_factor <= 1:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        if self.last_epoch == 0:
            return self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        return 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)


class PolynomialLR(_ByFactor):
    """(1 - epoch / total_iters) ^ power times the base rate; 0 from `total_iters` on.

    Mirrors torch.optim.lr_scheduler.PolynomialLR.
    """

    def __init__(self, optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        if self._is_initial or self.last_epoch > self.total_iters:
            return 1.0
        now, before = self.last_epoch, self.last_epoch - 1
        return ((1.0 - now / self.total_iters) / (1.0 - before / self.total_iters)) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the base rate down to `eta_min` in `T_max` epochs (and up again).

    Mirrors torch.optim.lr_scheduler.CosineAnnealingLR.
    """

    _relative = True

    def __init__(self, optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, period, low = self.last_epoch, self.T_max, self.eta_min
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        if (epoch - 1 - period) % (2 * period) == 0:  # just left the bottom, where a ratio is 0 / 0
            rise = 1 - math.cos(math.pi / period)
            return [
                lr + (base - low) * rise / 2 for lr, base in zip(rates, self.base_lrs, strict=True)
            ]
        now, before = (1 + math.cos(math.pi * e / period) for e in (epoch, epoch - 1))
        return [now / before * (lr - low) + low for lr in rates]


class LambdaLR(LRScheduler):
    """The base rate times a function of the epoch. Mirrors torch.optim.lr_scheduler.LambdaLR.

    lr_lambda: a function, or one for each group.
    """

    def __init__(
        self,
        optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        self.lr_lambdas = per_group(lr_lambda, optimizer, "lr_lambdas")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [
            base * function(self.last_epoch)
            for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the functions, which the program must give again."""
        return {**super().state_dict(), "lr_lambdas": [None] * len(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "lr_lambdas": self.lr_lambdas})


class MultiplicativeLR(LambdaLR):
    """Times a function of the epoch, every epoch.

    Mirrors torch.optim.lr_scheduler.MultiplicativeLR.
    """

    def get_lr(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, rates, strict=True)]
