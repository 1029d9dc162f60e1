"""What the backend nccl needs of CuPy besides the collectives: a GPU, a stream, and arrays on it.

Invariant: once a call has failed, all of NCCL's are called off, as its kernels would otherwise wait
for the other GPUs for ever and keep this one busy.

PyTorch: torch/csrc/distributed/c10d/NCCLUtils.hpp.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch.cuda import runtime
from minitorch.distributed.backends.engine import Engine, within
from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.store import Store

try:
    import cupy
    from cupy.cuda import nccl
except ImportError as error:
    raise RuntimeError(
        f"the backend 'nccl' cannot be used here: CuPy does not load ({error}). Install "
        "minitorch[cuda13] (or cuda12), or use the backend 'zmq'."
    ) from error


class Gpu(Engine):
    """This process's GPU, the stream on which NCCL works, and its communicators."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.device = cupy.cuda.Device(number)
        self.device.use()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.comms: list = []

    def take_over(self, call: Callable[[], str], array: Any) -> None:
        """Be the current GPU of this thread. Raises RuntimeError for an array of another GPU."""
        self.device.use()
        if not isinstance(array, np.ndarray) and array.device.id != self.device.id:
            raise RuntimeError(
                f"{call()}: the tensor is on cuda:{array.device.id}, and this rank's GPU for NCCL "
                f"is cuda:{self.device.id}: move it, or call torch.cuda.set_device(LOCAL_RANK) "
                "before tensors are made"
            )

    def fail(self, problem: str) -> DistBackendError:
        """Call off everything: NCCL's kernels would spin on the GPU for ever."""
        for comm in self.comms:
            comm.abort()
        self.comms.clear()
        return super().fail(problem)

    def join(self, store: Store, key: str, rank: int, size: int, timeout: float, call: str) -> Any:
        """A communicator for so many ranks, which meet by an id that the first of them draws."""
        if rank == 0:
            store.set(key, nccl.get_unique_id())
        number = store.get(key)

        def connect() -> Any:
            self.device.use()  # each thread has a current device of its own
            return nccl.NcclCommunicator(size, number, rank)

        comm = within(timeout, call, connect)
        self.comms.append(comm)
        return comm


class OnGpu:
    """An array's elements in the GPU's memory, one after the other.

    With `fill` they begin with the array's values, else with anything.
    """

    def __init__(self, array: Any, fill: bool = True) -> None:
        self.array = array
        if isinstance(array, np.ndarray):
            ready = cupy.asarray(np.ascontiguousarray(array)) if fill else None
        else:
            ready = cupy.ascontiguousarray(array)
        if ready is None:
            ready = cupy.empty(array.shape, array.dtype)
        self.flat = ready.reshape(-1)
        self.pointer = self.flat.data.ptr
        self.nbytes = self.flat.nbytes

    def bring_back(self) -> None:
        """Copy them into the array, if it is elsewhere."""
        if isinstance(self.array, np.ndarray):
            self.array[...] = cupy.asnumpy(self.flat).reshape(self.array.shape)
        elif self.array.data.ptr != self.pointer or not self.array.flags.c_contiguous:
            self.array[...] = self.flat.reshape(self.array.shape)


def choose_gpu(rank: int) -> int:
    """The number of this rank's GPU. Raises RuntimeError if there is none for it."""
    if not getattr(nccl, "available", False):
        raise RuntimeError(
            "the backend 'nccl' cannot be used here: CuPy finds no NCCL. Install nvidia-nccl-cu13 "
            "(or -cu12), or use the backend 'zmq'."
        )
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        count = 0
    local = int(os.environ.get("LOCAL_RANK", rank))
    if count == 1 and runtime.VISIBLE in os.environ:
        return 0  # each rank has been shown its own
    if local >= count:
        raise RuntimeError(
            f"the backend 'nccl' needs a GPU for each rank: this is rank {local} of its host, and "
            f"CuPy sees {count} GPUs here. Start fewer ranks, or use the backend 'zmq'."
        )
    return local
