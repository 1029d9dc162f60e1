"""The memory of GPUs: how much is in use, how much has been, and giving it back.

CuPy keeps freed memory in a pool for the next array, as PyTorch does, and both count in blocks of
512 bytes. What CuPy does not know is the most that was ever in use; a hook of its allocator does.
And where CuPy finds no memory, it is asked through `_Allocator`, which raises PyTorch's error.
PyTorch: torch/cuda/memory.py, c10/cuda/CUDACachingAllocator.cpp.
"""

from __future__ import annotations

from typing import Any

from . import runtime


class OutOfMemoryError(RuntimeError):
    """A GPU has less memory than was asked for. Mirrors torch.cuda.OutOfMemoryError."""


class _Allocator:
    """The library's allocator, whose MemoryError becomes OutOfMemoryError, with the figures."""

    def __init__(self, library) -> None:
        self.library, self.allocate = library, library.cuda.get_allocator()

    def __call__(self, nbytes: int):
        try:
            return self.allocate(nbytes)
        except MemoryError as error:
            gpu, (free, there) = self.library.cuda.Device(), self.library.cuda.runtime.memGetInfo()
            used = self.library.get_default_memory_pool().used_bytes()
            raise OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {_size(nbytes)}: cuda:{gpu.id} has "
                f"{_size(there)}, of which {_size(free)} are free and {_size(used)} in tensors of "
                "this process. Smaller batches or fewer tensors kept alive need less"
            ) from error


def _size(nbytes: int) -> str:
    """As PyTorch writes it: 20.00 GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.2f} {unit}"
    return f"{nbytes} bytes"


class _Peak:
    """Counts the bytes that the devices' memories give out, and the most so far.

    CuPy calls hooks on the thread that has set them: the first to use a GPU. What was in use by
    then is asked of the device's memory, when it first gives something out.
    """

    def __init__(self) -> None:
        self.used: dict[int, int] = {}
        self.most: dict[int, int] = {}

    def add(self, device_id: int, nbytes: int) -> None:
        used = self.used[device_id] = self.used[device_id] + nbytes
        self.most[device_id] = max(used, self.most.get(device_id, 0))


peak = _Peak()


def watch(library) -> None:
    """Let the library's allocator tell `peak` what it does, on this thread, and raise our error."""

    class Hook(library.cuda.MemoryHook):
        name = "minitorch"

        def malloc_postprocess(self, *, device_id, mem_size, mem_ptr, **others):
            if mem_ptr == 0:  # there was not so much
                return
            if device_id not in peak.used:
                peak.used[device_id] = library.get_default_memory_pool().used_bytes() - mem_size
            peak.add(device_id, mem_size)

        def free_postprocess(self, *, device_id, mem_size, **others):
            if device_id in peak.used:
                peak.add(device_id, -mem_size)

    peak.__init__()  # type: ignore[misc]
    Hook().__enter__()
    if not isinstance(library.cuda.get_allocator(), _Allocator):
        library.cuda.set_allocator(_Allocator(library))


def _pool(device) -> Any:
    with runtime.gpu(device):
        return runtime.library().get_default_memory_pool()


def memory_allocated(device=None) -> int:
    """Bytes in use by tensors. Mirrors torch.cuda.memory_allocated."""
    if runtime.count() == 0:  # scripts print it on the CPU, too
        return 0
    with runtime.gpu(device):
        return _pool(device).used_bytes()


def memory_reserved(device=None) -> int:
    """Bytes that are kept for tensors, in use or not. Mirrors torch.cuda.memory_reserved."""
    if runtime.count() == 0:
        return 0
    with runtime.gpu(device):
        return _pool(device).total_bytes()


def max_memory_allocated(device=None) -> int:
    """The most bytes that were in use since the start, or since `reset_peak_memory_stats`.

    Mirrors torch.cuda.max_memory_allocated.
    """
    if runtime.count() == 0:
        return 0
    return max(peak.most.get(runtime.gpu(device).id, 0), memory_allocated(device))


def max_memory_reserved(device=None) -> int:
    """Like memory_reserved, for nothing goes back before `empty_cache`.

    Mirrors torch.cuda.max_memory_reserved.
    """
    return memory_reserved(device)


def reset_peak_memory_stats(device=None) -> None:
    """Let `max_memory_allocated` begin anew. Mirrors torch.cuda.reset_peak_memory_stats."""
    if runtime.count() > 0:
        peak.most[runtime.gpu(device).id] = memory_allocated(device)


def memory_stats(device=None) -> dict[str, int]:
    """Of PyTorch's statistics those that there are. Mirrors torch.cuda.memory_stats."""
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
        "reserved_bytes.all.peak": max_memory_reserved(device),
    }


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """`memory_stats` to be printed. Mirrors torch.cuda.memory_summary."""
    lines = [f"{name:30}{nbytes:>16,} bytes" for name, nbytes in memory_stats(device).items()]
    return "\n".join([f"memory of cuda:{runtime.gpu(device).id}", *lines])


def mem_get_info(device=None) -> tuple[int, int]:
    """(free, all) bytes of the GPU. Mirrors torch.cuda.mem_get_info."""
    with runtime.gpu(device):
        return runtime.library().cuda.runtime.memGetInfo()


def empty_cache() -> None:
    """Give memory that is kept but not in use back. Mirrors torch.cuda.empty_cache."""
    if runtime.count() > 0:
        runtime.library().get_default_memory_pool().free_all_blocks()
