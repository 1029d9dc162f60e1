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


def current_device_index() -> int:
    """The number of the current one. Mirrors torch.accelerator.current_device_index."""
    return cuda.current_device()


def set_device_index(device) -> None:
    """Make one the current one. Mirrors torch.accelerator.set_device_index."""
    cuda.set_device(device)


def synchronize(device=None) -> None:
    """Wait until it has done all that it was asked for. Mirrors torch.accelerator.synchronize."""
    cuda.synchronize(device)


def empty_cache() -> None:
    """Give memory that is kept but not in use back. Mirrors torch.accelerator.empty_cache."""
    cuda.empty_cache()


def get_memory_info(device=None) -> tuple[int, int]:
    """(free, all) bytes of its memory. Mirrors torch.accelerator.get_memory_info."""
    return cuda.mem_get_info(device)


device_index = cuda.device
current_device_idx, set_device_idx = current_device_index, set_device_index  # the older names
current_stream, set_stream = cuda.current_stream, cuda.set_stream
memory_allocated, memory_reserved = cuda.memory_allocated, cuda.memory_reserved
max_memory_allocated, max_memory_reserved = cuda.max_memory_allocated, cuda.max_memory_reserved
memory_stats, reset_peak_memory_stats = cuda.memory_stats, cuda.reset_peak_memory_stats
