"""Our backend: the collectives of `algorithms`, run over ZeroMQ by the event loop of progress.py.

Each method says what the fingerprint is, which algorithm runs, and what becomes of arrays that no
algorithm can take. Algorithms take flat arrays in the host's memory; a contiguous one is used in
place, another is copied before or after, and so are those of a GPU (staging.py).

PyTorch: torch/csrc/distributed/c10d/ProcessGroupGloo.cpp.
"""

import functools
import hashlib
import itertools
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from minitorch import tracing
from minitorch.distributed import algorithms
from minitorch.distributed.algorithms.table import fingerprint
from minitorch.distributed.backend import ProcessGroup, Work
from minitorch.distributed.calibration import calibrate
from minitorch.distributed.chunks import watched
from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.link import Link, Steps
from minitorch.distributed.message import DTYPES, Fingerprint, checksum
from minitorch.distributed.operation import Operation
from minitorch.distributed.progress import Progress
from minitorch.distributed.reduce_op import ReduceOp, average, ufunc_of
from minitorch.distributed.staging import Stage
from minitorch.distributed.transport import Transport

_NOTHING = np.empty(0, np.uint8)


class ZmqWork(Work):
    """An operation of the event loop (progress.py)."""

    def __init__(self, operation: Operation, progress: Progress) -> None:
        self._operation = operation
        self._progress = progress

    def wait(self, timeout: timedelta | None = None) -> bool:
        operation = self._operation
        if not operation.done:
            if timeout:  # PyTorch's default is a timedelta of 0, which means none
                operation.expire_in(timeout.total_seconds())
            self._progress.wait(operation)
        if operation.error is not None:
            raise operation.error
        if operation.stage is not None:
            operation.stage.hand_over()
        return True

    def is_completed(self) -> bool:
        operation = self._operation
        return operation.done and (operation.stage is None or operation.stage.has_returned())

    def exception(self) -> Exception | None:
        return self._operation.error

    def source_rank(self) -> int:
        return self._operation.source


class BarrierWork(ZmqWork):
    """A barrier, with the group's asynchronous collectives that were called before it.

    It may be over before them: its messages are small, and no call waits for another's.
    """

    def __init__(self, operation: Operation, progress: Progress, earlier: list[Operation]) -> None:
        super().__init__(operation, progress)
        self._earlier = [ZmqWork(operation, progress) for operation in earlier]

    def wait(self, timeout: timedelta | None = None) -> bool:
        super().wait(timeout)
        return all([work.wait(timeout) for work in self._earlier])

    def is_completed(self) -> bool:
        return super().is_completed() and all([work.is_completed() for work in self._earlier])


class ZmqProcessGroup(ProcessGroup):
    """The collectives of `algorithms` over ZeroMQ.

    All groups of a process share one set of connections; the group's number in each message keeps
    them apart.
    """

    def __init__(self, progress: Progress, ranks: list[int], number: int, timeout: float) -> None:
        super().__init__(ranks, progress.rank, timeout)
        self._progress = progress
        self._number = number
        self._calls = itertools.count(1)
        self._destroyed = False
        self._in_flight: weakref.WeakSet[Operation] = weakref.WeakSet()  # and some that are done

    @classmethod
    def connect(cls, store: Any, rank: int, size: int, timeout: float) -> "ZmqProcessGroup":
        progress = Progress(Transport(rank, size, store, timeout))
        try:
            calibrate(progress, store, timeout)
        except BaseException:
            progress.close()  # so that the others hear why
            raise
        if tracing.on:
            job = hashlib.sha256(store.get("job/0")).hexdigest()
            tracing.joined(rank, size, job[:8])
        return cls(progress, list(range(size)), 0, timeout)

    def new_group(self, ranks, number, timeout):
        made = None
        if self._progress.rank in ranks:
            made = ZmqProcessGroup(self._progress, ranks, number % (1 << 32), timeout)
        # A barrier, in which all find out whether they mean the same group.
        meeting = self if number > 0 else made
        if meeting is not None:
            meeting._launch(
                "new_group",
                _NOTHING,
                algorithms.barrier,
                async_op=False,
                elements=len(ranks),
                splits=checksum(ranks),
                detail=f"ranks {ranks}",
            ).wait()
        return made

    def destroy(self):
        self._destroyed = True
        if self._number == 0:
            self._progress.close()

    def all_reduce(self, array, op, async_op=False):
        stage = Stage()
        array = stage.change(array)

        def steps(link: Link) -> Steps:
            flat = _flat(array)
            yield from algorithms.all_reduce(link, flat, watched(link, [flat], ufunc_of(op)))
            if op is ReduceOp.AVG:
                average(flat, link.size)
            _write_back(flat, array)

        return self._launch("all_reduce", array, steps, async_op, stage, reduce_op=op)

    def reduce(self, array, root, op, async_op=False):
        stage = Stage()
        array = stage.change(array) if self._rank == root else stage.read(array)

        def steps(link: Link) -> Steps:
            flat = _flat(array)
            combine = watched(link, [flat], ufunc_of(op))
            yield from algorithms.reduce(link, flat, combine, root)
            if link.rank == root:
                if op is ReduceOp.AVG:
                    average(flat, link.size)
                _write_back(flat, array)

        return self._launch("reduce", array, steps, async_op, stage, reduce_op=op, root=root)

    def reduce_scatter(self, output, inputs, op, async_op=False):
        stage = Stage()
        output, inputs = stage.fill(output), stage.read_all(inputs)

        def steps(link: Link) -> Steps:
            # The algorithm adds up in the blocks, and the inputs are not ours to change.
            blocks = [block.flatten() for block in inputs]
            own = blocks[link.rank]
            combine = watched(link, blocks, ufunc_of(op))
            yield from algorithms.reduce_scatter(link, blocks, combine)
            if op is ReduceOp.AVG:
                average(own, link.size)
            output[...] = own.reshape(output.shape)

        sizes = _sizes(inputs)
        return self._launch("reduce_scatter", output, steps, async_op, stage, reduce_op=op, **sizes)

    def broadcast(self, array, root, async_op=False):
        stage = Stage()
        array = stage.read(array) if self._rank == root else stage.fill(array)

        def steps(link: Link) -> Steps:
            flat = _flat(array)
            watched(link, [flat])
            yield from algorithms.broadcast(link, flat, root)
            _write_back(flat, array)

        return self._launch("broadcast", array, steps, async_op, stage, root=root)

    def all_gather(self, outputs, array, async_op=False):
        stage = Stage()
        outputs, array = stage.fill_all(outputs), stage.read(array)

        def steps(link: Link) -> Steps:
            blocks = [_room(output) for output in outputs]
            blocks[link.rank][:] = array.reshape(-1)
            watched(link, blocks)
            yield from algorithms.all_gather(link, blocks)
            for block, output in zip(blocks, outputs, strict=True):
                _write_back(block, output)

        return self._launch("all_gather", array, steps, async_op, stage, **_sizes(outputs))

    def all_to_all(self, outputs, inputs, async_op=False):
        stage = Stage()
        outputs, inputs = stage.fill_all(outputs), stage.read_all(inputs)

        def steps(link: Link) -> Steps:
            blocks = [_room(output) for output in outputs]
            yield from algorithms.all_to_all(link, blocks, [_flat(block) for block in inputs])
            for block, output in zip(blocks, outputs, strict=True):
                _write_back(block, output)

        pairs = inputs, outputs
        return self._launch("all_to_all", inputs[0], steps, async_op, stage, pairs=pairs)

    def gather(self, outputs, array, root, async_op=False):
        stage = Stage()
        outputs, array = stage.fill_all(outputs or []), stage.read(array)

        def steps(link: Link) -> Steps:
            blocks = [_room(output) for output in outputs] or None
            yield from algorithms.gather(link, blocks, _flat(array), root)
            for block, output in zip(blocks or [], outputs, strict=True):
                _write_back(block, output)

        return self._launch("gather", array, steps, async_op, stage, root=root)

    def scatter(self, array, inputs, root, async_op=False):
        stage = Stage()
        array, inputs = stage.fill(array), stage.read_all(inputs or [])

        def steps(link: Link) -> Steps:
            flat = _room(array)
            blocks = [_flat(block) for block in inputs] or None
            yield from algorithms.scatter(link, flat, blocks, root)
            _write_back(flat, array)

        return self._launch("scatter", array, steps, async_op, stage, root=root)

    def barrier(self, async_op=False):
        earlier = [operation for operation in self._in_flight if not operation.done]
        work = self._launch("barrier", _NOTHING, algorithms.barrier, async_op)
        return BarrierWork(work._operation, self._progress, earlier)

    def send(self, array, destination, tag, async_op=False):
        stage = Stage()
        array = stage.read(array)

        def steps(link: Link) -> Steps:
            return algorithms.send(link, _flat(array), destination)

        return self._launch("send", array, steps, async_op, stage, tag=tag)

    def recv(self, array, source, tag, async_op=False):
        stage = Stage()
        array = stage.fill(array)

        def steps(link: Link) -> Steps:
            flat = _room(array)
            yield from algorithms.recv(link, flat, source)
            _write_back(flat, array)

        return self._launch("send", array, steps, async_op, stage, tag=tag)

    def _launch(
        self,
        op: str,
        array: np.ndarray,
        steps: Callable[[Link], Steps],
        async_op: bool,
        stage: Stage | None = None,
        reduce_op: ReduceOp | None = None,
        root: int | None = None,
        tag: int | None = None,
        elements: int | None = None,
        splits: int = 0,
        detail: str = "",
        pairs: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
    ) -> ZmqWork:
        """Start a call. `pairs`: the arrays to and from each rank, where only pairs of ranks must
        agree on a size."""
        if self._destroyed:
            raise DistBackendError(f"{op}: the process group has been destroyed")
        if elements is None:
            elements = array.size if pairs is None else 0
        dtype = _dtype_name(array.dtype)
        if stage is not None and stage.is_needed:
            steps = stage.around(steps)
            if not async_op:
                stage.await_arrival()
        else:
            stage = None
        number = next(self._calls) if tag is None else -1 - tag
        named = fingerprint() if tag is None else 0  # a message has but one way to go
        call = Fingerprint(
            op, self._number, number, dtype, elements, reduce_op, root, splits, named
        )
        operation = Operation(
            call,
            array.dtype,
            array.shape,
            self.ranks,
            self._rank,
            self.timeout,
            steps,
            self._progress.transport,
        )
        operation.detail = detail
        operation.stage = stage
        if pairs is not None:
            operation.outgoing, operation.incoming = (
                [call._replace(elements=block.size).pack() for block in blocks] for blocks in pairs
            )
        if async_op:
            if operation.is_collective:
                self._in_flight.add(operation)
            self._progress.start(operation)
        else:
            self._progress.run(operation)
        return ZmqWork(operation, self._progress)


@functools.cache
def _dtype_name(dtype: np.dtype) -> str:
    if dtype.name not in DTYPES or not dtype.isnative:
        raise TypeError(
            f"cannot send dtype {dtype}; these can be sent, in this machine's byte order: "
            f"{', '.join(DTYPES)}"
        )
    return dtype.name


def _sizes(blocks: Sequence[np.ndarray]) -> dict:
    """What the fingerprint says of blocks whose sizes all ranks must agree on."""
    sizes = [block.size for block in blocks]
    if sizes.count(sizes[0]) == len(sizes):
        return {"elements": sizes[0]}
    detail = f"in blocks of {', '.join(map(str, sizes))}"
    return {"elements": sum(sizes), "splits": checksum(sizes), "detail": detail}


def _flat(array: np.ndarray) -> np.ndarray:
    """The elements one after the other: the array's own memory if it has them so, else a copy."""
    return np.ascontiguousarray(array).reshape(-1)


def _room(array: np.ndarray) -> np.ndarray:
    """Like `_flat`, for an array whose elements will be overwritten."""
    return array.reshape(-1) if array.flags.c_contiguous else np.empty(array.size, array.dtype)


def _write_back(flat: np.ndarray, array: np.ndarray) -> None:
    """Copy a result into the array that it is meant for, if `_flat` or `_room` had to copy it."""
    if not array.flags.c_contiguous:
        array[...] = flat.reshape(array.shape)
