"""The backend "nccl": NVIDIA's collectives between GPUs, through CuPy.

NOT YET RUN ON SEVERAL GPUS. It is written against the documented interface of `cupy.cuda.nccl`
(CuPy 14) and tested with a stand-in for it that computes on the CPU. Compare the results of a first
run with those of the backend "zmq". It says so when it starts.

Why: GPUs of one host are joined by NVLink, and those of several by InfiniBand; NCCL moves data over
these without a way through the CPU's memory. Each rank needs a GPU of its own, number LOCAL_RANK of
its host. Arrays of CuPy are used where they are; those of NumPy are copied to the GPU and back.

Calls are put on a stream of the group's own, behind the work that the current stream has got so
far, and `wait` returns when they are through. Sends and receives are collected until one of them is
waited for or a collective comes, and go out as one NCCL group: two GPUs that both began with a send
would otherwise wait for each other.

What NCCL does not do: tags (messages between two ranks arrive in the order of their sends) and
receives from any rank. Reductions that it lacks (bits, 16-bit integers, products of complex
numbers, blocks of different sizes) are gathered, and reduced by each rank.
PyTorch: torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minitorch.distributed import log
from minitorch.distributed.backend import Work
from minitorch.distributed.backends.engine import EngineGroup, EngineWork
from minitorch.distributed.backends.gpu import Gpu, OnGpu, choose_gpu, cupy, nccl
from minitorch.distributed.link import ANY
from minitorch.distributed.reduce_op import ReduceOp, average, ufunc_of
from minitorch.distributed.store import Store

LEAVE_SECONDS = 5.0

_BYTES = 1  # NCCL_UINT8, as which everything travels that need not be reduced
_TYPES = {
    "int8": 0, "uint8": 1, "int32": 2, "uint32": 3, "int64": 4, "uint64": 5,
    "float16": 6, "float32": 7, "float64": 8, "bfloat16": 9,
}  # fmt: skip
_OPS = {ReduceOp.SUM: 0, ReduceOp.AVG: 0, ReduceOp.PRODUCT: 1, ReduceOp.MAX: 2, ReduceOp.MIN: 3}
_LOGICAL = {ReduceOp.BOR: 2, ReduceOp.SUM: 2, ReduceOp.BAND: 3, ReduceOp.PRODUCT: 3}

Start = Callable[[int], Any]  # puts one NCCL call on a stream, given as a pointer


class NcclProcessGroup(EngineGroup):
    """The collectives of an NCCL communicator."""

    def __init__(
        self, gpu: Gpu, comm: Any, store: Store, ranks: list[int], rank: int, timeout: float
    ) -> None:
        super().__init__(gpu, ranks, rank, timeout)
        self._gpu = gpu
        self._comm = comm
        self._store = store
        self._waiting: list[tuple[Start, list]] = []  # messages to go out, and places for events

    @classmethod
    def connect(cls, store: Any, rank: int, size: int, timeout: float) -> "NcclProcessGroup":
        gpu = Gpu(choose_gpu(rank))
        log.set_rank(rank)
        if rank == 0:
            log.logger.warning(
                "backend nccl: it has been tested with a stand-in for NCCL only, not on several "
                "GPUs; compare a first run with backend zmq"
            )
        comm = gpu.join(store, "nccl", rank, size, timeout, "init_process_group")
        return cls(gpu, comm, store, list(range(size)), rank, timeout)

    def _part(self, ranks, me, number, timeout, call):
        place = ranks.index(me)
        comm = self._gpu.join(self._store, f"nccl {number}", place, len(ranks), timeout, call)
        return NcclProcessGroup(self._gpu, comm, self._store, ranks, me, timeout)

    def destroy(self):
        if self._gpu.failure is None:
            self._send_waiting()
        self._destroyed = True
        self._gpu.settle(LEAVE_SECONDS)
        is_default = self._comm in self._gpu.comms[:1]
        for comm in self._gpu.comms if is_default else [self._comm]:
            comm.destroy()

    def all_reduce(self, array, op, async_op=False):
        call = self._begin("all_reduce", array, op)
        own = OnGpu(array)
        native = _native(op, own.flat)
        if native is None:
            return self._gather_and_reduce(call, own, op, keeps=True)
        return self._launch(
            call,
            [lambda stream: self._comm.allReduce(own.pointer, own.pointer, *native, stream)],
            lambda: self._average(own, op),
        )

    def reduce(self, array, root, op, async_op=False):
        call = self._begin("reduce", array, op, root)
        own = OnGpu(array)
        is_root = self._rank == root
        native = _native(op, own.flat)
        if native is None:
            return self._gather_and_reduce(call, own, op, keeps=is_root)
        into = own.pointer if is_root else 0
        return self._launch(
            call,
            [lambda stream: self._comm.reduce(own.pointer, into, *native, root, stream)],
            lambda: self._average(own, op) if is_root else None,
        )

    def reduce_scatter(self, output, inputs, op, async_op=False):
        call = self._begin("reduce_scatter", output, op)
        blocks = [OnGpu(block) for block in inputs]
        result = OnGpu(output, fill=False)
        native = _native(op, result.flat)
        if native is None or len({block.nbytes for block in blocks}) > 1:
            rows = [OnGpu(cupy.empty_like(result.flat)) for _ in blocks]
            starts = self._exchange(blocks, rows)
            return self._launch(call, starts, lambda: self._combine(rows, result, op))
        whole = cupy.concatenate([block.flat for block in blocks])
        return self._launch(
            call,
            [
                lambda stream: self._comm.reduceScatter(
                    whole.data.ptr, result.pointer, *native, stream
                )
            ],
            lambda: self._average(result, op),
        )

    def broadcast(self, array, root, async_op=False):
        call = self._begin("broadcast", array, root=root)
        own = OnGpu(array)
        return self._launch(call, [self._copy_from(root, own, own)], own.bring_back)

    def all_gather(self, outputs, array, async_op=False):
        call = self._begin("all_gather", array)
        own = OnGpu(array)
        rooms = [OnGpu(output, fill=False) for output in outputs]
        starts = [self._copy_from(i, own, room) for i, room in enumerate(rooms) if room.nbytes]
        return self._launch(call, starts, lambda: _bring_back(rooms))

    def all_to_all(self, outputs, inputs, async_op=False):
        call = self._begin("all_to_all", inputs[0])
        rooms = [OnGpu(output, fill=False) for output in outputs]
        starts = self._exchange([OnGpu(block) for block in inputs], rooms)
        return self._launch(call, starts, lambda: _bring_back(rooms))

    def gather(self, outputs, array, root, async_op=False):
        call = self._begin("gather", array, root=root)
        rooms = [OnGpu(output, fill=False) for output in outputs or []]
        starts = [self._receive(source, room) for source, room in enumerate(rooms)]
        starts.append(self._send(root, OnGpu(array)))
        return self._launch(call, starts, lambda: _bring_back(rooms))

    def scatter(self, array, inputs, root, async_op=False):
        call = self._begin("scatter", array, root=root)
        own = OnGpu(array, fill=False)
        starts = [self._send(rank, OnGpu(block)) for rank, block in enumerate(inputs or [])]
        starts.append(self._receive(root, own))
        return self._launch(call, starts, own.bring_back)

    def barrier(self, async_op=False):
        call = self._begin("barrier", np.empty(0))
        token = OnGpu(np.zeros(1, np.uint8))
        meet = [lambda stream: self._comm.allReduce(token.pointer, token.pointer, 1, 1, 0, stream)]
        return self._launch(call, meet, lambda: None)

    def send(self, array, destination, tag, async_op=False):
        call = self._begin(f"send to rank {self.ranks[destination]}", array)
        return self._later(call, self._send(destination, OnGpu(array)), lambda work: None)

    def recv(self, array, source, tag, async_op=False):
        if source == ANY:
            raise RuntimeError("recv: NCCL must know the sender: give src")
        call = self._begin(f"recv from rank {self.ranks[source]}", array)
        own = OnGpu(array, fill=False)

        def finish(work: EngineWork) -> None:
            work.source = source
            own.bring_back()

        return self._later(call, self._receive(source, own), finish)

    # One NCCL call each, to be put on a stream

    def _send(self, peer: int, block: OnGpu) -> Start:
        return lambda stream: self._comm.send(block.pointer, block.nbytes, _BYTES, peer, stream)

    def _receive(self, peer: int, block: OnGpu) -> Start:
        return lambda stream: self._comm.recv(block.pointer, block.nbytes, _BYTES, peer, stream)

    def _copy_from(self, root: int, own: OnGpu, room: OnGpu) -> Start:
        return lambda stream: self._comm.broadcast(
            own.pointer if root == self._rank else room.pointer,
            room.pointer,
            room.nbytes,
            _BYTES,
            root,
            stream,
        )

    def _exchange(self, blocks: Sequence[OnGpu], rooms: Sequence[OnGpu]) -> list[Start]:
        """To and from every rank, but for what is empty."""
        sends = [self._send(peer, block) for peer, block in enumerate(blocks) if block.nbytes]
        return sends + [self._receive(peer, room) for peer, room in enumerate(rooms) if room.nbytes]

    # Putting calls on the stream

    def _begin(self, op, array, reduce_op=None, root=None):
        call = super()._begin(op, array, reduce_op, root)
        self._gpu.take_over(call, array)
        return call

    def _launch(self, call: Callable[[], str], starts: list[Start], finish: Callable) -> Work:
        """Start NCCL calls as one group; `finish` puts the result in place."""
        self._send_waiting()
        event = self._enqueue(call, starts)
        return self._work(call, lambda: event.done, lambda work: finish(), starts)

    def _later(self, call: Callable[[], str], start: Start, finish: Callable) -> Work:
        """Start a send or receive together with others, as soon as one of them is asked about."""
        event: list = []
        self._waiting.append((start, event))

        def over() -> bool:
            self._send_waiting()
            return event[0].done

        return self._work(call, over, finish, start)

    def _send_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            done = self._enqueue(lambda: "send and recv", [start for start, _ in waiting])
            for _, event in waiting:
                event.append(done)

    def _enqueue(self, call: Callable[[], str], starts: list[Start]) -> Any:
        """Put NCCL calls on the stream, as one group; returns the event of their end."""
        stream = self._gpu.stream
        # The current stream may still be computing what is to be sent.
        stream.wait_event(cupy.cuda.get_current_stream().record())
        try:
            nccl.groupStart()
            for start in starts:
                start(stream.ptr)
            nccl.groupEnd()
        except nccl.NcclError as error:
            raise self._gpu.fail(f"{call()}: {error}") from error
        return stream.record()

    def _work(self, call, is_done: Callable[[], bool], finish: Callable, buffers: Any) -> Work:
        def over() -> bool:
            self._gpu.device.use()  # whichever thread asks
            self._comm.check_async_error()  # another rank died, or the network did
            return is_done()

        return EngineWork(self._gpu, call, self.timeout, over, finish, buffers)

    # What NCCL cannot reduce

    def _gather_and_reduce(self, call, own: OnGpu, op: ReduceOp, keeps: bool) -> Work:
        rows = [OnGpu(cupy.empty_like(own.flat)) for _ in self.ranks]
        starts = [self._copy_from(root, own, room) for root, room in enumerate(rows)]
        return self._launch(call, starts, lambda: self._combine(rows, own, op) if keeps else None)

    def _combine(self, rows: list[OnGpu], result: OnGpu, op: ReduceOp) -> None:
        result.flat[...] = rows[0].flat
        for row in rows[1:]:
            ufunc_of(op)(result.flat, row.flat, out=result.flat)
        self._average(result, op)

    def _average(self, total: OnGpu, op: ReduceOp) -> None:
        if op is ReduceOp.AVG:
            average(total.flat, self.size())
        total.bring_back()


def _native(op: ReduceOp, flat: Any) -> tuple[int, int, int] | None:
    """Count, type and operation as NCCL knows them; None for what it cannot reduce.

    Complex numbers are added as pairs of floats. Of booleans, bytes of 0 and 1, "or" is the maximum
    and "and" the minimum.
    """
    dtype = flat.dtype
    if dtype.kind == "b":
        operation = _LOGICAL.get(op, _OPS.get(op))
        return None if operation is None else (flat.size, _BYTES, operation)
    if dtype.kind == "c" and _OPS.get(op) == 0:
        return 2 * flat.size, _TYPES[f"float{dtype.itemsize * 4}"], 0
    if dtype.name not in _TYPES or op not in _OPS:
        return None
    return flat.size, _TYPES[dtype.name], _OPS[op]


def _bring_back(rooms: list[OnGpu]) -> None:
    for room in rooms:
        room.bring_back()
