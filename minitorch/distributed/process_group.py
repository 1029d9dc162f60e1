"""Process groups: the collectives of a set of ranks, on NumPy arrays.

`ProcessGroup` is what a backend must offer; `ZmqProcessGroup` is ours. collectives.py puts
PyTorch's functions on tensors in front of it. A backend works on arrays in place, counts ranks
within the group, and starts every operation at once: what it returns is a `Work`.

PyTorch: torch/csrc/distributed/c10d/{ProcessGroup,Backend,Work}.hpp.
"""

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from minitorch.distributed import algorithms
from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.link import Link, Steps
from minitorch.distributed.message import DTYPES, Fingerprint
from minitorch.distributed.operation import Operation
from minitorch.distributed.progress import Progress
from minitorch.distributed.reduce_op import ReduceOp, ufunc_of
from minitorch.distributed.transport import Transport


class Work(ABC):
    """A collective that is under way. Mirrors `torch.distributed.Work`."""

    _result: Any = None

    @abstractmethod
    def wait(self, timeout: timedelta | None = None) -> bool:
        """Return True once it is done and its arrays may be read and overwritten.

        Raises the error with which it failed. When `timeout` passes first, it fails.
        """

    @abstractmethod
    def is_completed(self) -> bool:
        """Whether it is over, well or badly."""

    @abstractmethod
    def exception(self) -> Exception | None:
        """The error with which it failed, or None."""

    def is_success(self) -> bool:
        """Whether it is over and did not fail."""
        return self.is_completed() and self.exception() is None

    def result(self) -> Any:
        """The tensors that it fills."""
        return self._result

    def source_rank(self) -> int:
        """The group rank from which a receive got its message."""
        raise RuntimeError("source_rank() is only known for a recv")


class ProcessGroup(ABC):
    """The collectives that a backend offers. Ranks are group ranks, arrays may have any strides.

    With `async_op` the operation goes on in the background; without, `wait` may do the work.
    """

    name: str
    ranks: list[int]  # the members' global ranks; a member's place in this list is its group rank
    rank: int
    timeout: float

    @property
    def size(self) -> int:
        return len(self.ranks)

    @abstractmethod
    def all_reduce(self, array: np.ndarray, op: ReduceOp, async_op: bool = False) -> Work:
        """Combine `array` over the ranks, in place, with the same bits on each."""

    @abstractmethod
    def broadcast(self, array: np.ndarray, root: int, async_op: bool = False) -> Work:
        """Copy the root's `array` into every rank's."""

    @abstractmethod
    def reduce(self, array: np.ndarray, root: int, op: ReduceOp, async_op: bool = False) -> Work:
        """Combine `array` over the ranks into the root's; the others' stay as they are."""

    @abstractmethod
    def all_gather(
        self, outputs: Sequence[np.ndarray], array: np.ndarray, async_op: bool = False
    ) -> Work:
        """Copy rank i's `array` into `outputs[i]` on every rank."""

    @abstractmethod
    def all_gather_into_tensor(
        self, output: np.ndarray, array: np.ndarray, async_op: bool = False
    ) -> Work:
        """Copy rank i's `array` into the i-th of `size` equal parts of `output`."""

    @abstractmethod
    def barrier(self, async_op: bool = False) -> Work:
        """Done when every rank has called it."""

    @abstractmethod
    def send(self, array: np.ndarray, destination: int, tag: int, async_op: bool = False) -> Work:
        """Send to one rank."""

    @abstractmethod
    def recv(self, array: np.ndarray, source: int, tag: int, async_op: bool = False) -> Work:
        """Receive from one rank, or from whichever sends first (ANY)."""

    @abstractmethod
    def new_group(self, ranks: list[int], name: str, timeout: float) -> "ProcessGroup | None":
        """A group of some of these ranks; None on those that are no members. All must call it."""

    @abstractmethod
    def destroy(self) -> None:
        """Leave the group. The default group also closes the connections."""


class ZmqWork(Work):
    """An operation of the event loop (progress.py)."""

    def __init__(self, operation: Operation, progress: Progress) -> None:
        self._operation = operation
        self._progress = progress

    def wait(self, timeout: timedelta | None = None) -> bool:
        operation = self._operation
        if not operation.done:
            if timeout is not None:
                operation.expire_in(timeout.total_seconds())
            self._progress.wait(operation)
        if operation.error is not None:
            raise operation.error
        return True

    def is_completed(self) -> bool:
        return self._operation.done

    def exception(self) -> Exception | None:
        return self._operation.error

    def source_rank(self) -> int:
        return self._operation.source


class ZmqProcessGroup(ProcessGroup):
    """The collectives of algorithms.py over ZeroMQ.

    All groups of a process share one set of connections; the group's number in each message keeps
    them apart.
    """

    def __init__(
        self, progress: Progress, ranks: list[int], number: int, name: str, timeout: float
    ) -> None:
        self.name = name
        self.ranks = ranks
        self.rank = ranks.index(progress.rank)
        self.timeout = timeout
        self._progress = progress
        self._number = number
        self._calls = itertools.count(1)
        self._groups = itertools.count(1)
        self._destroyed = False

    @classmethod
    def connect(cls, store, rank: int, size: int, name: str, timeout: float) -> "ZmqProcessGroup":
        """The group of all ranks: meet them through `store` and connect to each."""
        transport = Transport(rank, size, store, timeout)
        return cls(Progress(transport), list(range(size)), 0, name, timeout)

    def all_reduce(self, array, op, async_op=False):
        combine = ufunc_of(op, array.dtype)

        def steps(link: Link) -> Steps:
            flat = _flat(array)
            yield from algorithms.all_reduce(link, flat, combine)
            if op is ReduceOp.AVG:
                flat /= link.size
            _write_back(flat, array)

        return self._launch("all_reduce", array, steps, async_op, reduce_op=op)

    def broadcast(self, array, root, async_op=False):
        def steps(link: Link) -> Steps:
            flat = _flat(array)
            yield from algorithms.broadcast(link, flat, root)
            _write_back(flat, array)

        return self._launch("broadcast", array, steps, async_op, root=root)

    def reduce(self, array, root, op, async_op=False):
        combine = ufunc_of(op, array.dtype)

        def steps(link: Link) -> Steps:
            flat = _flat(array)
            yield from algorithms.reduce(link, flat, combine, root)
            if link.rank == root:
                if op is ReduceOp.AVG:
                    flat /= link.size
                _write_back(flat, array)

        return self._launch("reduce", array, steps, async_op, reduce_op=op, root=root)

    def all_gather(self, outputs, array, async_op=False):
        def steps(link: Link) -> Steps:
            gathered = np.empty((link.size, array.size), array.dtype)
            yield from _gather(link, gathered, array)
            for output, block in zip(outputs, gathered, strict=True):
                output[...] = block.reshape(output.shape)

        return self._launch("all_gather", array, steps, async_op)

    def all_gather_into_tensor(self, output, array, async_op=False):
        def steps(link: Link) -> Steps:
            gathered = _flat(output).reshape(link.size, array.size)
            yield from _gather(link, gathered, array)
            _write_back(gathered, output)

        return self._launch("all_gather", array, steps, async_op)

    def barrier(self, async_op=False):
        return self._launch("barrier", np.empty(0, np.uint8), algorithms.barrier, async_op)

    def send(self, array, destination, tag, async_op=False):
        def steps(link: Link) -> Steps:
            return algorithms.send(link, _flat(array), destination)

        return self._launch("send", array, steps, async_op, tag=tag)

    def recv(self, array, source, tag, async_op=False):
        def steps(link: Link) -> Steps:
            flat = _flat(array)
            yield from algorithms.recv(link, flat, source)
            _write_back(flat, array)

        return self._launch("send", array, steps, async_op, tag=tag)

    def new_group(self, ranks, name, timeout):
        number = next(self._groups)
        if self.rank not in ranks:
            return None
        return ZmqProcessGroup(self._progress, ranks, number, name, timeout)

    def destroy(self):
        self._destroyed = True
        if self._number == 0:
            self._progress.close()

    def _launch(
        self,
        op: str,
        array: np.ndarray,
        steps: Callable[[Link], Steps],
        async_op: bool,
        reduce_op: ReduceOp | None = None,
        root: int | None = None,
        tag: int | None = None,
    ) -> Work:
        if self._destroyed:
            raise DistBackendError(f"{op}: the process group has been destroyed")
        dtype = _dtype_name(array.dtype)
        number = next(self._calls) if tag is None else -1 - tag
        call = Fingerprint(op, self._number, number, dtype, array.size, reduce_op, root)
        operation = Operation(
            call,
            array.dtype,
            array.shape,
            self.ranks,
            self.rank,
            self.timeout,
            steps,
            self._progress.transport,
        )
        if async_op:
            self._progress.start(operation)
        else:
            self._progress.run(operation)
        return ZmqWork(operation, self._progress)


@functools.cache
def _dtype_name(dtype: np.dtype) -> str:
    if dtype.name not in DTYPES:
        raise TypeError(f"cannot send dtype {dtype.name}; these can be sent: {', '.join(DTYPES)}")
    return dtype.name


def _gather(link: Link, gathered: np.ndarray, array: np.ndarray) -> Steps:
    gathered[link.rank] = array.reshape(-1)
    return algorithms.ring_all_gather(link, gathered.reshape(-1))


def _flat(array: np.ndarray) -> np.ndarray:
    """The elements one after the other: the array's own memory if it has them so, else a copy."""
    return np.ascontiguousarray(array).reshape(-1)


def _write_back(flat: np.ndarray, array: np.ndarray) -> None:
    """Copy a result into the array that it is meant for, if `_flat` had to copy it."""
    if not array.flags.c_contiguous:
        array[...] = flat.reshape(array.shape)
