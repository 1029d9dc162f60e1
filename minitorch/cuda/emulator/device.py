"""Emulated devices, their streams and their memory: what stands for cupy.cuda.

An emulated GPU does everything at once, in the thread that asks: a stream has nothing under way,
and an event has happened when it is recorded. MINITORCH_CUDA=emulate:2 makes two devices.
CuPy: cupy/cuda/device.pyx, stream.pyx, memory.pyx.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

VARIABLE = "MINITORCH_CUDA"
TOTAL = 1 << 34
"""Bytes of memory of each device."""


@functools.cache
def count() -> int:
    """How many devices MINITORCH_CUDA=emulate[:n] asks for and CUDA_VISIBLE_DEVICES shows.

    ValueError for what is no number.
    """
    kind, _, number = os.environ.get(VARIABLE, "").partition(":")
    if kind != "emulate" or not (number or "1").isdigit():
        raise ValueError(
            f"{VARIABLE}={os.environ.get(VARIABLE)!r} is not understood: 'emulate' makes one "
            "emulated GPU, 'emulate:2' two"
        )
    there, shown = int(number or 1), os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return there
    visible: list[int] = []
    for entry in shown.split(","):  # those up to the first that is not there, as the driver does
        if not entry.strip().isdigit() or int(entry) >= there:
            break
        if int(entry) in visible:  # for the driver a list that names a GPU twice shows none
            return 0
        visible.append(int(entry))
    return len(visible)


class _Current(threading.local):
    device = 0

    def __init__(self) -> None:
        self.outer: list[int] = []  # the current devices around the `with` blocks that are open


_current = _Current()


class OutOfMemoryError(MemoryError):
    """A device has less memory than was asked for. Stands for cupy.cuda.memory.OutOfMemoryError."""


class Memory:
    """How many bytes of one device are in use. Stands for cupy.get_default_memory_pool()."""

    def __init__(self, device: int) -> None:
        self.used, self.device = 0, device

    def malloc(self, nbytes: int) -> None:
        size = -(-nbytes // 512) * 512  # CuPy's blocks
        enough = self.used + size <= TOTAL
        self.used += size * enough
        for hook in _hooks:
            hook.malloc_postprocess(
                device_id=self.device, size=nbytes, mem_size=size, mem_ptr=int(enough)
            )
        if not enough:
            raise OutOfMemoryError(f"Out of memory allocating {size} bytes")

    def give(self, nbytes: int) -> None:
        size = -(-nbytes // 512) * 512
        self.used -= size
        for hook in _hooks:
            hook.free_postprocess(device_id=self.device, mem_size=size)

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.used

    def free_all_blocks(self) -> None:
        pass


_memories: dict[int, Memory] = {}
_hooks: list[MemoryHook] = []


def _from_the_current_device(nbytes: int) -> None:
    Device().memory.malloc(nbytes)


_allocator: list[Callable[[int], Any]] = [_from_the_current_device]


def get_allocator() -> Callable[[int], Any]:
    """What new arrays ask for memory. Stands for cupy.cuda.get_allocator."""
    return _allocator[0]


def set_allocator(allocator: Callable[[int], Any]) -> None:
    """Let new arrays ask `allocator` for memory. Stands for cupy.cuda.set_allocator."""
    _allocator[0] = allocator


class MemoryHook:
    """Is told of memory that is taken and given back. Stands for cupy.cuda.MemoryHook."""

    def malloc_postprocess(self, **what) -> None:
        pass

    def free_postprocess(self, **what) -> None:
        pass

    def __enter__(self) -> MemoryHook:
        _hooks[:] = [hook for hook in _hooks if hook.name != self.name] + [self]
        return self

    name = "MemoryHook"


class PinnedMemoryPointer(bytearray):
    """Page-locked memory of the host. Stands for cupy.cuda.PinnedMemoryPointer."""


class Device:
    """The emulated GPU number `id`, by default the current one. Stands for cupy.cuda.Device."""

    __slots__ = ("id", "memory")

    def __init__(self, device: Any = None):
        number: int = _current.device if device is None else getattr(device, "id", device)
        if not 0 <= number < count():
            raise RuntimeError(
                f"cudaErrorInvalidDevice: invalid device ordinal {number} ({count()} emulated)"
            )
        self.id = number
        self.memory = _memories.setdefault(number, Memory(number))

    def use(self) -> None:
        """Make it the current device of this thread."""
        _current.device = self.id

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> Device:
        _current.outer.append(_current.device)
        _current.device = self.id
        return self

    def __exit__(self, *exception) -> None:
        _current.device = _current.outer.pop()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class Stream:
    """An order of work on a device, here always done. Stands for cupy.cuda.Stream."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, priority: int = 0):
        self.ptr = 0 if null else id(self)
        self.done = True
        self._device = None if null else _current.device

    def synchronize(self) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass

    def use(self) -> Stream:
        if self._device not in (None, _current.device):
            raise RuntimeError(
                f"The device that the stream is created on ({self._device}) does not match with "
                f"the current device ({_current.device})"
            )
        return self

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        return self.use()

    def __exit__(self, *exception) -> None:
        pass


class Event:
    """A point in a stream. Stands for cupy.cuda.Event."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess=False):
        self.seconds: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.seconds = time.perf_counter()

    @property
    def done(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


Stream.null = Stream(null=True)
