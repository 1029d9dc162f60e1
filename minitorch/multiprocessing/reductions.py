"""How a tensor gets to another process: by its memory's descriptor if it is shared, else as a copy.

Python pickles whatever goes to a new process, into a queue or through a pipe, with the
ForkingPickler, which has a table of types to be reduced in another way than elsewhere. Here Tensor
gets its line in that table: shared memory is named, not copied. The descriptor itself cannot be
pickled; `DupFd` hands it to a new process directly, and to one that runs through a Unix socket.

Invariant: a tensor arrives with the values it had, as a leaf of no graph; and it is shared with the
sender if, and only if, it was shared (`is_shared()`) before. PyTorch shares every tensor that is
sent. Then the sender has to live until the last one has arrived, each tensor costs a descriptor,
and a model given to several processes is one model that all of them train: so here it is asked for.
PyTorch: torch/multiprocessing/reductions.py.
"""

from __future__ import annotations

import pickle
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

import numpy as np

from ..dispatch.memory import owner
from ..nn.parameter import Buffer, Parameter
from ..sharing import SharedMemory
from ..tensor import Tensor, _rebuild


def reduce_tensor(tensor: Tensor) -> tuple:
    """How to make the tensor in another process: a function and its arguments.

    Raises RuntimeError for a tensor that was computed of ones that require grad.
    """
    if tensor._node is not None and tensor._requires_grad:
        raise RuntimeError(
            "a tensor with a graph (requires_grad and grad_fn) cannot go to another process, as "
            "gradients do not flow between processes: send its detach()"
        )
    rebuild, (kind, array, requires_grad, state) = tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    memory = owner(array).base
    if not isinstance(memory, SharedMemory) or memory.file < 0:
        return rebuild, (kind, array, requires_grad, state)
    offset = array.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
    where = array.dtype, array.shape, array.strides, offset
    return _rebuild_shared, (kind, memory, where, requires_grad, state)


def _rebuild_shared(kind: type, memory, where: tuple, requires_grad: bool, state: dict) -> Tensor:
    dtype, shape, strides, offset = where
    whole: Any = np.ndarray(len(memory) // dtype.itemsize, dtype, memory)  # what views look into
    return _rebuild(kind, np.ndarray(shape, dtype, whole, offset, strides), requires_grad, state)


def _reduce_memory(memory: SharedMemory) -> tuple:
    return _map_memory, (DupFd(memory.file), len(memory))


def _map_memory(descriptor, nbytes: int) -> SharedMemory:
    try:
        file = descriptor.detach()
    except (OSError, EOFError) as error:
        raise RuntimeError(
            "the process that sent a shared tensor has ended before the tensor arrived: let it "
            "wait until then (for an Event, or to be joined), or send a clone()"
        ) from error
    return SharedMemory.of(file, nbytes)


for _kind in (Tensor, Parameter, Buffer):
    ForkingPickler.register(_kind, reduce_tensor)
ForkingPickler.register(SharedMemory, _reduce_memory)
