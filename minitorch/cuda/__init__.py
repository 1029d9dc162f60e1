"""torch.cuda: the GPUs, which of them is the current one, their memory, streams and events.

What is asked of a GPU goes to CuPy, or to the emulator that stands for it (runtime.py). Results and
new tensors of device "cuda" go to the current GPU of the thread.
PyTorch: torch/cuda/__init__.py, memory.py, streams.py.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from .. import devices
from . import runtime
from .memory import (
    OutOfMemoryError,
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
)


def is_available() -> bool:
    """Whether tensors can live on a GPU. Mirrors torch.cuda.is_available.

    Raises ValueError for a MINITORCH_CUDA that is not understood, and nothing else.
    """
    return runtime.count() > 0


def device_count() -> int:
    """The number of usable GPUs. Mirrors torch.cuda.device_count."""
    return runtime.count()


def init() -> None:
    """Look for a GPU now, and raise RuntimeError if there is none. Mirrors torch.cuda.init."""
    runtime.library()


def is_initialized() -> bool:
    """Whether a GPU has been looked for and found. Mirrors torch.cuda.is_initialized."""
    return runtime.found.cache_info().currsize > 0 and is_available()


# The current GPU


def current_device() -> int:
    """The number of the current GPU. Mirrors torch.cuda.current_device."""
    return runtime.current()


def set_device(device) -> None:
    """Make a GPU the current one of this thread; negative numbers leave it as it is.

    Mirrors torch.cuda.set_device. Raises RuntimeError if there is no such GPU.
    """
    if not isinstance(device, int) or device >= 0:
        runtime.gpu(device).use()


class device(contextlib.AbstractContextManager):
    """`with torch.cuda.device(1):` a GPU is the current one. Mirrors torch.cuda.device."""

    def __init__(self, device):
        self._gpu = None if isinstance(device, int) and device < 0 else runtime.gpu(device)

    def __enter__(self) -> None:
        if self._gpu is not None:
            self._gpu.__enter__()

    def __exit__(self, *exception) -> None:
        if self._gpu is not None:
            self._gpu.__exit__(*exception)


def device_of(tensor) -> device:
    """`with torch.cuda.device_of(x):` the GPU of a tensor is the current one; nothing on the CPU.

    Mirrors torch.cuda.device_of.
    """
    return device(tensor.get_device())


class Properties(NamedTuple):
    """What get_device_properties returns."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def get_device_properties(device=None) -> Properties:
    """Name, compute capability and memory in bytes of a GPU.

    Mirrors torch.cuda.get_device_properties.
    """
    found = runtime.library().cuda.runtime.getDeviceProperties(runtime.gpu(device).id)
    name = found["name"].decode()
    nbytes, processors = found["totalGlobalMem"], found["multiProcessorCount"]
    return Properties(name, found["major"], found["minor"], nbytes, processors)


def get_device_name(device=None) -> str:
    """What a GPU is called. Mirrors torch.cuda.get_device_name."""
    return get_device_properties(device).name


def get_device_capability(device=None) -> tuple[int, int]:
    """(major, minor) of its compute capability. Mirrors torch.cuda.get_device_capability."""
    return get_device_properties(device)[1:3]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU has bfloat16. Mirrors torch.cuda.is_bf16_supported."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def synchronize(device=None) -> None:
    """Wait until a GPU has done all that it was asked for. Mirrors torch.cuda.synchronize."""
    runtime.gpu(device).synchronize()


# Random numbers: they are drawn on the CPU and copied, so the seed is the CPU's.


def manual_seed(seed: int) -> None:
    """Seed the random numbers of the current GPU. Mirrors torch.cuda.manual_seed."""
    from ..random import manual_seed

    if is_available():
        manual_seed(seed)


manual_seed_all = manual_seed


def initial_seed() -> int:
    """The seed of the random numbers. Mirrors torch.cuda.initial_seed."""
    from ..random import initial_seed

    return initial_seed()


# Streams and events


class Stream:
    """Work that is done in its order, beside that of other streams. Mirrors torch.cuda.Stream."""

    def __init__(self, device=None, priority: int = 0, *, _of=None):
        with runtime.gpu(device):
            self.device = devices.check("cuda")
            self._stream = _of or runtime.library().cuda.Stream(non_blocking=True)

    @property
    def cuda_stream(self) -> int:
        return self._stream.ptr

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        self._stream.synchronize()

    def query(self) -> bool:
        """Whether all of its work is done."""
        return self._stream.done

    def wait_event(self, event: Event) -> None:
        """Let later work wait for an event."""
        self._stream.wait_event(event._event)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work wait for what another stream has been asked for so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Let an event happen when the work so far is done. Returns it."""
        event = event or Event()
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        runtime.gpu(self.device).__enter__()
        self._stream.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._stream.__exit__(*exception)
        runtime.gpu(self.device).__exit__(*exception)


def current_stream(device=None) -> Stream:
    """The stream that work goes to. Mirrors torch.cuda.current_stream."""
    with runtime.gpu(device):
        return Stream(device, _of=runtime.library().cuda.get_current_stream())


def default_stream(device=None) -> Stream:
    """The stream that work goes to unless another is chosen. Mirrors torch.cuda.default_stream."""
    with runtime.gpu(device):
        return Stream(device, _of=runtime.library().cuda.Stream.null)


def set_stream(stream: Stream) -> None:
    """Let work go to this stream, and its GPU, from now on. Mirrors torch.cuda.set_stream."""
    if stream is not None:
        set_device(stream.device)
        stream._stream.use()


def stream(stream: Stream | None):
    """`with torch.cuda.stream(s):` work goes to it. Mirrors torch.cuda.stream."""
    return contextlib.nullcontext() if stream is None else stream


class Event:
    """A point in a stream, to wait for or to take times. Mirrors torch.cuda.Event."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False):
        made = runtime.library().cuda.Event
        self._event = made(block=blocking, disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Happen when the work that a stream (the current one) has so far is done."""
        self._event.record(None if stream is None else stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream (the current one) wait for it."""
        (stream or current_stream()).wait_event(self)

    def synchronize(self) -> None:
        """Wait until it has happened."""
        self._event.synchronize()

    def query(self) -> bool:
        """Whether it has happened."""
        return self._event.done

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`; both were made with enable_timing."""
        return runtime.library().cuda.get_elapsed_time(self._event, end._event)
