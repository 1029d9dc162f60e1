"""The library behind device "cuda": CuPy where there is a GPU, or the emulator that stands for it.

CuPy is imported when the first thing is asked of a GPU, not with minitorch. Its import succeeds on
a machine without a GPU, too; so `library` asks for a device, and says in one sentence what is
missing. MINITORCH_CUDA=emulate takes the emulator instead, emulate:2 with two devices.
PyTorch: torch/cuda/__init__.py (_lazy_init), c10/cuda/CUDAFunctions.cpp.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from .. import devices

VARIABLE = "MINITORCH_CUDA"
VISIBLE = "CUDA_VISIBLE_DEVICES"  # read by the driver when it is first used, and by the emulator


@functools.cache
def found() -> tuple[Any, str]:
    """The library (None if there is no GPU that can be used), and why there is none."""
    if os.environ.get(VARIABLE):
        from . import emulator

        if emulator.count() > 0:  # raises if the variable is not understood
            return _prepared(emulator), ""
        return None, f"{VARIABLE}={os.environ[VARIABLE]!r} leaves no emulated GPU" + _hidden()
    try:
        import cupy
    except ModuleNotFoundError:
        return None, "CuPy is not installed (pip install minitorch[cuda])"
    except ImportError as error:
        return None, f"CuPy is installed, but cannot be imported ({error})"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return _prepared(cupy), ""
        return None, "there is a driver, but it shows no GPU" + _hidden()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"CuPy finds no driver or no GPU ({error}){_hidden()}"


def _hidden() -> str:
    """A hint at the variable that hides GPUs, if it is set."""
    shown = os.environ.get(VISIBLE)
    return "" if shown is None else f" ({VISIBLE}={shown!r} may hide them)"


def _prepared(library):
    """The library, for whose arrays the kernels of kernels/cuda are called from now on."""
    from ..kernels import cuda, register
    from .memory import watch

    register(library.ndarray, "cuda", cuda)
    watch(library)
    return library


def library() -> Any:
    """CuPy or the emulator. Raises RuntimeError if there is no GPU that can be used."""
    cupy, reason = found()
    if cupy is None:
        raise RuntimeError(
            f"device 'cuda' is not available: {reason}. Use device='cpu', choose by "
            f"torch.cuda.is_available(), or set {VARIABLE}=emulate to emulate a GPU on this CPU"
        )
    return cupy


def count() -> int:
    """How many GPUs there are: 0 where none can be used."""
    cupy, _ = found()
    return 0 if cupy is None else cupy.cuda.runtime.getDeviceCount()


def current() -> int:
    """The number of this thread's current GPU."""
    return library().cuda.Device().id


def gpu(which) -> Any:
    """CuPy's Device for a device, a number, or None for the current one.

    RuntimeError if it is not here, ValueError for the CPU.
    """
    if which is None:
        return library().cuda.Device()
    found = devices.check(which)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return library().cuda.Device(found.index)
