"""What all schedulers have in common: when they step, and what they save."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer


class LRScheduler:
    """Base class: override `get_lr`. Mirrors torch.optim.lr_scheduler.LRScheduler.

    last_epoch: -1 begins; another value continues after that epoch, for an optimizer whose state
    was loaded (its groups know their initial_lr).
    """

    _is_initial = False  # whether the step under way is the constructor's
    _relative = False  # whether get_lr changes rates that are base_lrs in epoch 0

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0: load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The learning rates of the groups in epoch `last_epoch`."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step has set."""
        return self._last_lr

    def step(self) -> None:
        """Go on to the next epoch. Call it after the optimizer's step."""
        opt = self.optimizer
        if self._step_count == 1 and type(opt).step is Optimizer.step and not opt._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order, otherwise the first value of the learning rate schedule is "
                "skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self._set_epoch(self.last_epoch + 1)

    def _set_epoch(self, epoch: int) -> None:
        """Set the learning rates of an epoch."""
        self.last_epoch = epoch
        self._set_rates(self.get_lr())

    def _begin(self) -> None:
        """Set the learning rates of epoch 0, whatever the present ones are."""
        if self._relative:
            self._set_rates(self.base_lrs)
        self._is_initial = self._relative
        self._set_epoch(0)
        self._is_initial = False

    def _set_rates(self, rates: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


def per_group(value: Any, optimizer: Optimizer, name: str) -> list:
    """An option that may be given once, or as a list with an entry for each parameter group."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"Expected {n} {name}, but got {len(value)}")
    return list(value)
