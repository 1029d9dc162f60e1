"""An emulated GPU: what stands for the module `cupy` where MINITORCH_CUDA=emulate asks for it.

Of CuPy's names those that minitorch uses, with CuPy's meaning and CuPy's refusals. array.py has the
arrays, device.py the devices, streams and memory; kernel.py runs .cu kernels, with compiler.py and
native/ below it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .array import MemoryPointer, _on_device, call, ndarray, run
from .device import (
    TOTAL,
    Device,
    Event,
    Memory,
    MemoryHook,
    OutOfMemoryError,
    PinnedMemoryPointer,
    Stream,
    count,
    get_allocator,
    set_allocator,
)
from .kernel import KernelError, RawKernel, RawModule


def asarray(array, dtype=None, order=None) -> ndarray:
    """A device array of the values of a host array; one that is on this device as it is."""
    if isinstance(array, ndarray):
        return array if dtype is None else array.astype(dtype, copy=False)  # type: ignore[attr-defined]
    return _on_device(np.array(array, dtype, order=order or "K"))


def array(values, dtype=None, copy=True) -> ndarray:
    """A device array of its own with these values."""
    return call(np.array, values, dtype) if isinstance(values, ndarray) else asarray(values, dtype)


def asnumpy(array) -> np.ndarray:
    """The values of a device array on the host."""
    return array.get() if isinstance(array, ndarray) else np.asarray(array)


def _maker(function: Any):
    def make(*args, **options):
        return _on_device(run(function, *args, **options))

    return make


zeros, ones, full = [_maker(f) for f in (np.zeros, np.ones, np.full)]
arange, eye, tri = [_maker(f) for f in (np.arange, np.eye, np.tri)]


def empty(shape, dtype=np.float64, order="C") -> ndarray:
    """A device array whose values are undefined."""
    return ndarray(shape, dtype, order=order)


def get_default_memory_pool() -> Memory:
    """The memory of the current device."""
    return Device().memory


def _attributes(number: int) -> dict:
    return {
        "name": b"minitorch's emulator",
        "totalGlobalMem": TOTAL,
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 1,
    }


cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Event=Event,
    MemoryHook=MemoryHook,
    PinnedMemoryPointer=PinnedMemoryPointer,
    alloc_pinned_memory=PinnedMemoryPointer,
    MemoryPointer=MemoryPointer,
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    get_allocator=get_allocator,
    set_allocator=set_allocator,
    is_available=lambda: True,
    get_current_stream=lambda: Stream(null=True),
    get_elapsed_time=lambda start, end: 1e3 * (end.seconds - start.seconds),
    runtime=SimpleNamespace(
        getDeviceCount=count,
        getDeviceProperties=_attributes,
        memGetInfo=lambda: (TOTAL - Device().memory.used, TOTAL),
    ),
)
