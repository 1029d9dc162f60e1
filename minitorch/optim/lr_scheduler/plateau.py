"""ReduceLROnPlateau: the one schedule that looks at how training goes."""

from __future__ import annotations

import math
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler, per_group


class ReduceLROnPlateau(LRScheduler):
    """Times `factor` when a metric has not got better for more than `patience` epochs.

    `step(metric)` is told how the epoch went. A metric is better if it is below the best so far
    (above it with mode="max") by `threshold`, a fraction of the best (an amount with
    threshold_mode="abs"). After a reduction `cooldown` epochs do not count. Rates do not fall below
    `min_lr`, nor by less than `eps`.

    Raises ValueError for options out of range. Mirrors torch.optim.lr_scheduler.ReduceLROnPlateau.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        if factor >= 1:
            raise ValueError("Factor should be < 1.0.")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown! Expected 'min' or 'max'.")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"threshold mode {threshold_mode} is unknown! Expected 'rel' or 'abs'."
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.eps = eps
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = per_group(min_lr, optimizer, "min_lrs")
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self._reset()

    def _reset(self) -> None:
        """Forget how training has gone so far."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Go on to the next epoch; `metrics` is the loss, or whatever is watched, of the last."""
        self.last_epoch += 1
        value = float(metrics)
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.num_bad_epochs > self.patience:
            rates = [self._reduced(float(lr), i) for i, lr in enumerate(rates)]
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._set_rates(rates)

    def _reduced(self, lr: float, i: int) -> float:
        # A group that was added later has the common lower limit.
        least = self.min_lrs[i] if i < len(self.min_lrs) else self.default_min_lr
        if least is None:
            raise RuntimeError(
                f"the optimizer has {len(self.optimizer.param_groups)} param groups, but min_lr "
                f"was given for {len(self.min_lrs)}: append the new groups' to `min_lrs`"
            )
        new = max(lr * self.factor, least)
        return new if lr - new > self.eps else lr

    def _is_better(self, value: float) -> bool:
        if self.mode == "min":
            relative = self.threshold_mode == "rel"
            limit = self.best * (1 - self.threshold) if relative else self.best - self.threshold
            return value < limit
        relative = self.threshold_mode == "rel"
        limit = self.best * (self.threshold + 1) if relative else self.best + self.threshold
        return value > limit
