"""torch.accelerator: the device that is quicker than the CPU, if there is one.

PyTorch: torch/accelerator/__init__.py.
"""

from __future__ import annotations

from . import cuda
from .devices import device


def is_available() -> bool:
    """Whether there is an accelerator that can be used. Mirrors torch.accelerator.is_available."""
    return cuda.is_available()


def device_count() -> int:
    """How many there are. Mirrors torch.accelerator.device_count."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> device | None:
    """The kind of accelerator, as a device without an index; None if there is none.

    Mirrors torch.accelerator.current_accelerator.
    """
    return device("cuda") if cuda.is_available() else None
