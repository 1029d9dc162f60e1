"""Memory that several processes see: what one writes, the others read.

A tensor that has moved here is shared with all processes that it reaches: with those forked
afterwards, and with those that it is sent to, as an argument or through a queue
(multiprocessing/reductions.py). All other tensors are copied on such a way.
Invariant: the memory has no name in any file system, and the kernel frees it with the last process
that has it mapped, however that one ends.
PyTorch: torch/storage.py (share_memory_), aten/src/ATen/MapAllocator.cpp.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from .dispatch.declare import composite
from .dispatch.memory import owner


class SharedMemory(mmap.mmap):
    """Memory with a file descriptor, `file`, which it owns: whoever gets that can map it as well.

    Where the system has no such files (Linux has), `file` is -1, and only forked processes see it.
    """

    file = -1

    @classmethod
    def new(cls, nbytes: int) -> SharedMemory:
        if not hasattr(os, "memfd_create"):
            return cls(-1, nbytes)
        file = os.memfd_create("minitorch")
        os.ftruncate(file, nbytes)
        return cls.of(file, nbytes)

    @classmethod
    def of(cls, file: int, nbytes: int) -> SharedMemory:
        """The memory that another process has made."""
        try:
            memory = cls(file, nbytes)
        except BaseException:
            os.close(file)
            raise
        memory.file = file
        return memory

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


@composite(function=False)
def is_shared(self):
    """Whether the memory is shared between processes. Mirrors torch.Tensor.is_shared."""
    return isinstance(owner(self.array).base, SharedMemory)


@composite(function=False)
def share_memory_(self):
    """Move the tensor into memory that it has in common with all processes it is sent to, and
    with those that are forked from now on. Returns the tensor.

    Raises RuntimeError for a view, whose memory others look into as well.
    Mirrors torch.Tensor.share_memory_.
    """
    array = self.array
    if type(array) is not np.ndarray:  # as in PyTorch: a GPU's is shared anyway
        return self
    if is_shared(self) or not array.size:
        return self
    if owner(array).nbytes != array.nbytes or self._view is not None:
        raise RuntimeError(
            "share_memory_() of a view would part it from its base: call it on the base, before "
            "taking views"
        )
    self.array = np.ndarray(array.shape, array.dtype, SharedMemory.new(array.nbytes))
    self.array[...] = array
    return self
