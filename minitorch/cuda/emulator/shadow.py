"""Which bytes of an array that was made empty something has written since.

A kernel that reads an element of `empty(n)` before anything has written it reads whatever was in
that memory before: mostly zeros, so that tests pass, and one day something else. On a GPU
compute-sanitizer's initcheck finds that; here an array made empty has a shadow, one bool for each
byte, which the watched loads of a kernel look at and its stores set (native/memory.cpp).
Invariant: a byte that was written is marked. Some are marked that were not: what one of NumPy's
functions is given counts as written if that may write to it, as to any but the first argument.
"""

from __future__ import annotations

import os

import numpy as np

CHECKS = "MINITORCH_CUDA_CHECKS"


def checked() -> bool:
    """Whether kernels are watched while they run."""
    return os.environ.get(CHECKS, "1") != "0"


class Shadow:
    """Of one allocation: which of its bytes are written. All views of the array share it."""

    def __init__(self, host: np.ndarray):
        self.low = host.ctypes.data
        self.written: np.ndarray | None = np.zeros(host.nbytes, np.bool_)  # None: all are

    def mark(self, host: np.ndarray, index=...) -> None:
        """The elements of `host`, an array in this memory, at `index` are written."""
        if self.written is not None and host.size:
            element = np.dtype(f"V{host.itemsize}")
            offset = host.ctypes.data - self.low
            view = np.ndarray(host.shape, element, self.written, offset, host.strides)
            view[index] = np.void(b"\1" * host.itemsize)

    def between(self, low: int, high: int) -> np.ndarray | None:
        """The marks of these addresses; None if all of the memory is written."""
        if self.written is not None and self.written.all():
            self.written = None
        return None if self.written is None else self.written[low - self.low : high - self.low]
