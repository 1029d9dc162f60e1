"""GradScaler: keeps small gradients from vanishing in 16-bit numbers.

The loss is multiplied by a large scale before backward, and the gradients are divided by it again
before the optimizer's step. If they overflowed, the step is left out and the scale is halved; after
many steps without overflow it is doubled. PyTorch: torch/amp/grad_scaler.py.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import cuda, devices, dtypes
from ..optim import Optimizer
from ..tensor import Tensor


class GradScaler:
    """Scales losses, and steps optimizers with what remains. Mirrors torch.amp.GradScaler.

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)               # only to look at the gradients, or clip them
        scaler.step(optimizer)
        scaler.update()

    With enabled=False, `scale` returns the loss as it is, `step` is optimizer.step, and the rest
    does nothing; so it is for device="cuda" where there is no GPU, with a warning, as in PyTorch.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        self._device = devices.device(device).type
        if enabled and self._device == "cuda" and not cuda.is_available():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        if enabled and growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if enabled and backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0  # steps without overflow since the scale last changed
        # Since the last update: whether gradients overflowed, and who has made a step.
        self._overflow: dict[Optimizer, bool] = {}
        self._stepped: set[Optimizer] = set()

    def scale(self, outputs):
        """A tensor times the scale, or each of a list or tuple of them."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(output) for output in outputs])
        raise ValueError(
            f"outputs must be a Tensor or an iterable of Tensors, got {type(outputs).__name__}"
        )

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place.

        Raises RuntimeError the second time between updates, ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        if optimizer in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        if optimizer in self._overflow:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        inverse = np.float32(1 / self._scale)
        found = False
        for group in optimizer.param_groups:
            for grad in [p.grad for p in group["params"] if p.grad is not None]:
                if grad.dtype is dtypes.float16:
                    raise ValueError(
                        "Attempting to unscale FP16 gradients: keep the parameters in float32"
                    )
                with devices.guard(grad.array):
                    found = found or not np.isfinite(grad.array).all()
                    grad.array *= inverse
                grad._bump_version()
        self._overflow[optimizer] = found

    def step(self, optimizer: Optimizer, *args, **kwargs):
        """Unscale, if that is not done; then optimizer.step(), unless gradients overflowed.

        Returns what the step returns, None if it was left out.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if optimizer in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if optimizer not in self._overflow:
            self.unscale_(optimizer)
        self._stepped.add(optimizer)
        return None if self._overflow[optimizer] else optimizer.step()

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adjust the scale after the steps of all optimizers, or set it to `new_scale`."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflow:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._overflow.values()):
            self._scale = float(np.float32(self._scale * self._backoff_factor))
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = np.float32(self._scale * self._growth_factor)
                self._scale = float(grown) if np.isfinite(grown) else self._scale
                self._growth_tracker = 0
        self._overflow.clear()
        self._stepped.clear()

    def is_enabled(self) -> bool:
        return self._enabled

    def get_scale(self) -> float:
        """The present scale; 1 if the scaler is disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The scale and what changes it, to be saved; empty if the scaler is disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state. RuntimeError if it is that of a disabled scaler."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        for name, value in state_dict.items():
            setattr(self, name if name[0] == "_" else "_" + name, value)
