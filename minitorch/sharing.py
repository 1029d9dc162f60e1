"""Memory that several processes see: what one writes, the others read.

A tensor that has moved here is still seen by the processes that are forked afterwards, which is all
that training without locks (Hogwild) needs. A tensor that is pickled, on its way to a process of
another kind or through a queue, is copied as ever.
PyTorch: torch/storage.py (share_memory_), aten/src/ATen/MapAllocator.cpp.
"""

from __future__ import annotations

import mmap

import numpy as np

from .dispatch.declare import composite
from .dispatch.memory import owner


class SharedMemory(mmap.mmap):
    """Pages without a file, which forked processes keep in common."""


@composite(function=False)
def is_shared(self):
    """Whether the memory is shared between processes. Mirrors torch.Tensor.is_shared."""
    return isinstance(owner(self.array).base, SharedMemory)


@composite(function=False)
def share_memory_(self):
    """Move the tensor into memory that processes forked from now on share. Returns the tensor.

    Raises RuntimeError for a view, whose memory others look into as well.
    Mirrors torch.Tensor.share_memory_.
    """
    array = self.array
    if is_shared(self) or not array.size:
        return self
    if owner(array).nbytes != array.nbytes or self._view is not None:
        raise RuntimeError(
            "share_memory_() of a view would part it from its base: call it on the base, before "
            "taking views"
        )
    self.array = np.ndarray(array.shape, array.dtype, SharedMemory(-1, array.nbytes))
    self.array[...] = array
    return self
