"""Where a tensor's memory is. PyTorch: c10/core/Device.h.

A tensor's array says where it is: NumPy's are on the CPU, CuPy's on the GPU that they name
(cuda/runtime.py).
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import threading

import numpy as np


class device:
    """A device such as "cpu" or "cuda:1". Mirrors torch.device.

    Takes a string, a type and an index, or another device. Raises RuntimeError for an unknown type,
    and for an index that is none or is given twice.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: str | device | int, index: int | None = None):
        if isinstance(type, device):
            kind, index = type.type, type.index
        elif isinstance(type, int):  # PyTorch: a bare number is an accelerator's
            kind, index = "cuda", type
        elif isinstance(type, str):
            kind, colon, number = type.partition(":")
            if colon and not re.fullmatch("0|[1-9][0-9]*", number):
                raise RuntimeError(f"Invalid device string: '{type}' (expected one like 'cuda:0')")
            if colon and index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed "
                    f"explicitly: {type}"
                )
            index = int(number) if colon else index
        else:
            raise TypeError(f"device(): expected a str, int or torch.device, not {type!r}")
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, but is {index}")
        if kind not in ("cpu", "cuda", "meta"):
            raise RuntimeError(
                f"Expected one of cpu, cuda device type at start of device string: {type}"
            )
        self.type: str = kind
        self.index: int | None = index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __eq__(self, other) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        """`with torch.device("cpu"):` new tensors are there. RuntimeError if it is not here."""
        here = check(self)
        _default.outer.append(_default.device)
        _default.device = here
        return self

    def __exit__(self, *exception) -> None:
        _default.device = _default.outer.pop()

    def __reduce__(self):
        return device, (self.type, self.index)


CPU = device("cpu")


def check(where) -> device:
    """`where` as a device that is here, a GPU with its number; None is the default device.

    Raises RuntimeError for one that is not here.
    """
    if where is None:
        return _default.device
    if where is CPU:
        return CPU
    asked = where if isinstance(where, device) else device(where)
    if asked.type == "cpu":
        return CPU
    if asked.type != "cuda":
        raise RuntimeError(f"device '{asked}' is not here: tensors are on 'cpu' or 'cuda'")
    from .cuda import runtime

    runtime.library()
    index = runtime.current() if asked.index is None else asked.index
    if index >= runtime.count():
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: {asked} was asked for, and the GPUs here are "
            f"{', '.join([f'cuda:{i}' for i in range(runtime.count())])}"
        )
    return device("cuda", index)


def of(array) -> device:
    """The device that holds an array: the CPU for NumPy's, otherwise the GPU that it names."""
    return CPU if type(array) is np.ndarray else device("cuda", array.device.id)


def prototype(where: device):
    """An array on a device, for NumPy's `like=`; None for the CPU."""
    return None if where.type == "cpu" else moved(np.empty(0), where)


def together(a, b) -> bool:
    """Whether two arrays are on one device."""
    if type(a) is np.ndarray:
        return type(b) is np.ndarray
    return type(b) is type(a) and a.device.id == b.device.id


_nothing = contextlib.nullcontext()


def guard(array):
    """A block in which the device of `array` is the current one, where GPUs make their results."""
    return _nothing if type(array) is np.ndarray or array is None else array.device


def on_its_device(function):
    """Decorates a function that works on the arrays of its tensors, outside of operations.

    While it runs, the device of the first argument is the current one.
    """

    @functools.wraps(function)
    def call(input, *args, **kwargs):
        array = getattr(input, "array", None)
        if array is None or type(array) is np.ndarray:
            return function(input, *args, **kwargs)
        with array.device:
            return function(input, *args, **kwargs)

    return call


def moved(array, where: device):
    """The array on the device `where`: itself if it is there, otherwise a copy."""
    if type(array) is np.ndarray and where.type == "cpu":
        return array
    from .cuda import runtime

    if where.type == "cpu":
        return array if isinstance(array, np.generic) else array.get()
    if type(array) is not np.ndarray and array.device.id == where.index:
        return array
    cupy = runtime.library()
    if type(array) is not np.ndarray:  # CuPy copies between devices by way of the host
        array = array.get()
    with cupy.cuda.Device(where.index):
        return cupy.asarray(array)


def pinned(array: np.ndarray) -> np.ndarray:
    """A copy in page-locked memory, which a GPU can fetch while the CPU does something else."""
    copy = empty_pinned(array.shape, array.dtype)
    copy[...] = array
    return copy


def empty_pinned(shape, dtype) -> np.ndarray:
    """An array of the host in page-locked memory, its values undefined."""
    from .cuda import runtime

    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, runtime.library().cuda.alloc_pinned_memory(max(nbytes, 1)))


def is_pinned(array) -> bool:
    """Whether an array of the host is in page-locked memory."""
    from .cuda import runtime

    while isinstance(array, np.ndarray):
        array = array.base
    cupy, _ = runtime.found()
    return cupy is not None and isinstance(array, cupy.cuda.PinnedMemoryPointer)


def overwrite(array, values) -> None:
    """array[...] = values, converted, and from whatever device `values` are on."""
    if type(array) is np.ndarray and type(values) is np.ndarray:
        np.copyto(array, values, casting="unsafe")
        return
    with guard(array):
        if type(values) is np.ndarray and values.ndim == 0:  # no more than a number
            array.fill(values.item())
        else:
            np.copyto(array, moved(values, of(array)), casting="unsafe")


class _Default(threading.local):
    def __init__(self) -> None:
        self.device = CPU
        self.outer: list[device] = []  # of the `with torch.device(...)` blocks that are open


_default = _Default()


def set_default(where) -> None:
    """Choose where new tensors are, on this thread."""
    _default.device = CPU if where is None else check(where)
