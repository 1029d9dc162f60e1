"""The backend "mpi": collectives of an MPI library, through mpi4py.

Why: a cluster's MPI knows its network (InfiniBand, Slingshot, Omni-Path) and its batch system, and
moves data faster between hosts than sockets can. The script stays the same; mpirun or srun starts
it and says how many ranks there are.

    mpirun -n 4 python train.py         # which calls init_process_group("mpi")

Every call starts MPI's non-blocking form, which can be asked whether it is over, so that it can
have a time-out. MPI moves data only while the program is inside MPI, so a call with async_op goes
on when somebody asks about it or waits.

Invariant: what a call sends is kept as it was, and what it fills is nobody else's, until MPI is
done. (mpi4py 4.1 lets go of the buffers of calls that are under way: we keep them.)

How MPI starts and ends in a process is in mpi_process.py. MPI compares no calls of different ranks,
and does not say who is missing; docs/backends.md has more about what differs.
PyTorch: torch/csrc/distributed/c10d/ProcessGroupMPI.cpp.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch.distributed import log
from minitorch.distributed.backend import Work
from minitorch.distributed.backends.engine import EngineGroup, EngineWork, within
from minitorch.distributed.backends.mpi_process import MPI, engine, settle
from minitorch.distributed.backends.packing import Packed
from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.link import ANY
from minitorch.distributed.reduce_op import ReduceOp, average, ufunc_of

_TYPES = {
    "bool": MPI.UINT8_T,
    **{f"int{bits}": getattr(MPI, f"INT{bits}_T") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": getattr(MPI, f"UINT{bits}_T") for bits in (8, 16, 32, 64)},
    "float16": MPI.UINT16_T,  # MPI has no type of 16-bit floats: it carries their bits
    "bfloat16": MPI.UINT16_T,
    "float32": MPI.FLOAT,
    "float64": MPI.DOUBLE,
    "complex64": MPI.C_FLOAT_COMPLEX,
    "complex128": MPI.C_DOUBLE_COMPLEX,
}
_OPS = {
    ReduceOp.SUM: MPI.SUM,
    ReduceOp.AVG: MPI.SUM,
    ReduceOp.PRODUCT: MPI.PROD,
    ReduceOp.MIN: MPI.MIN,
    ReduceOp.MAX: MPI.MAX,
    ReduceOp.BAND: MPI.BAND,
    ReduceOp.BOR: MPI.BOR,
    ReduceOp.BXOR: MPI.BXOR,
}


class MpiProcessGroup(EngineGroup):
    """The collectives of an MPI communicator."""

    def __init__(self, comm: Any, ranks: list[int], rank: int, timeout: float) -> None:
        super().__init__(engine, ranks, rank, timeout)
        self._comm = comm

    @classmethod
    def connect(cls, store: Any, rank: int, size: int, timeout: float) -> "MpiProcessGroup":
        if engine.failure is not None:
            raise DistBackendError(f"init_process_group: MPI has failed before: {engine.failure}")
        comm, request = MPI.COMM_WORLD.Idup()  # our messages never meet those of the script
        EngineWork(engine, lambda: "init_process_group", timeout, request.Test).wait()
        log.set_rank(rank)
        log.logger.info("backend mpi: %s", MPI.Get_library_version().split(",")[0])
        return cls(comm, list(range(size)), rank, timeout)

    def _part(self, ranks, me, number, timeout, call):
        members = self._comm.Get_group().Incl([self.ranks.index(rank) for rank in ranks])
        tag = number % (1 << 15)

        def create() -> Any:
            return self._comm.Create_group(members, tag)

        try:
            return MpiProcessGroup(within(timeout, call, create), ranks, me, timeout)
        except Exception as error:
            raise engine.fail(str(error)) from error

    def destroy(self):
        self._destroyed = True
        settle()

    def all_reduce(self, array, op, async_op=False):
        buffer = Packed([array], fill=True)

        def finish(_):
            if op is ReduceOp.AVG:
                average(buffer.flat, self.size())
            buffer.bring_back()

        return self._launch(
            "all_reduce",
            array,
            lambda: self._comm.Iallreduce(
                MPI.IN_PLACE, _message(buffer.flat), _reduction(op, array.dtype)
            ),
            finish,
            op,
        )

    def reduce(self, array, root, op, async_op=False):
        buffer = Packed([array], fill=True)
        is_root = self._rank == root

        def start():
            message = _message(buffer.flat)
            ends = (MPI.IN_PLACE, message) if is_root else (message, None)
            return self._comm.Ireduce(*ends, _reduction(op, array.dtype), root)

        def finish(_):
            if is_root:
                if op is ReduceOp.AVG:
                    average(buffer.flat, self.size())
                buffer.bring_back()

        return self._launch("reduce", array, start, finish, op, root)

    def reduce_scatter(self, output, inputs, op, async_op=False):
        buffer = Packed(inputs, fill=True)
        result = np.empty(output.size, output.dtype)  # the output may be a part of the input

        def finish(_):
            if op is ReduceOp.AVG:
                average(result, self.size())
            output[...] = result.reshape(output.shape)

        return self._launch(
            "reduce_scatter",
            output,
            lambda: self._comm.Ireduce_scatter(
                _message(buffer.flat), _message(result), buffer.counts, _reduction(op, result.dtype)
            ),
            finish,
            op,
        )

    def broadcast(self, array, root, async_op=False):
        buffer = Packed([array], fill=self._rank == root)
        return self._launch(
            "broadcast",
            array,
            lambda: self._comm.Ibcast(_message(buffer.flat), root),
            lambda _: buffer.bring_back(),
            root=root,
        )

    def all_gather(self, outputs, array, async_op=False):
        buffer = Packed(outputs, fill=False)
        buffer.parts()[self._rank][:] = array.reshape(-1)
        return self._launch(
            "all_gather",
            array,
            lambda: self._comm.Iallgatherv(MPI.IN_PLACE, _messages(buffer)),
            lambda _: buffer.bring_back(),
        )

    def all_to_all(self, outputs, inputs, async_op=False):
        sent, received = Packed(inputs, fill=True), Packed(outputs, fill=False)
        return self._launch(
            "all_to_all",
            sent.flat,
            lambda: self._comm.Ialltoallv(_messages(sent), _messages(received)),
            lambda _: received.bring_back(),
        )

    def gather(self, outputs, array, root, async_op=False):
        sent = Packed([array], fill=True)
        received = None if outputs is None else Packed(outputs, fill=False)

        def start():
            target = None if received is None else _messages(received)
            return self._comm.Igatherv(_message(sent.flat), target, root)

        def finish(_):
            if received is not None:
                received.bring_back()

        return self._launch("gather", array, start, finish, root=root)

    def scatter(self, array, inputs, root, async_op=False):
        sent = None if inputs is None else Packed(inputs, fill=True)
        received = Packed([array], fill=False)

        def start():
            source = None if sent is None else _messages(sent)
            return self._comm.Iscatterv(source, _message(received.flat), root)

        return self._launch("scatter", array, start, lambda _: received.bring_back(), root=root)

    def barrier(self, async_op=False):
        return self._launch("barrier", np.empty(0), self._comm.Ibarrier)

    def send(self, array, destination, tag, async_op=False):
        buffer = Packed([array], fill=True)
        return self._launch(
            f"send to rank {self.ranks[destination]} (tag {tag})",
            array,
            lambda: self._comm.Isend(_message(buffer.flat), destination, tag),
        )

    def recv(self, array, source, tag, async_op=False):
        buffer = Packed([array], fill=False)
        peer = MPI.ANY_SOURCE if source == ANY else source
        whom = "any rank" if source == ANY else f"rank {self.ranks[source]}"
        status = MPI.Status()

        def finish(work: EngineWork) -> None:
            came = status.Get_count(_type_of(array.dtype))
            if came != array.size:
                raise ValueError(
                    f"rank {self.ranks[status.source]} sent {came} elements, where "
                    f"{array.size} were expected"
                )
            work.source = status.source
            buffer.bring_back()

        return self._launch(
            f"recv from {whom} (tag {tag})",
            array,
            lambda: self._comm.Irecv(_message(buffer.flat), peer, tag),
            finish,
            status=status,
        )

    def _launch(
        self,
        op: str,
        array: np.ndarray,
        start: Callable[[], Any],
        finish: Callable[[EngineWork], Any] | None = None,
        reduce_op: ReduceOp | None = None,
        root: int | None = None,
        status: Any = None,
    ) -> Work:
        """Start a call: `start` returns MPI's request, `finish` puts the result in place."""
        call = self._begin(op, array, reduce_op, root)
        _type_of(array.dtype)
        try:
            request = start()
        except (MPI.Exception, OverflowError) as error:
            raise engine.fail(f"{call()}: {error}") from error
        return EngineWork(
            engine, call, self.timeout, lambda: request.Test(status), finish, buffers=start
        )


@functools.cache
def _type_of(dtype: np.dtype) -> Any:
    if dtype.name not in _TYPES:
        raise TypeError(f"cannot send dtype {dtype.name}; these can be sent: {', '.join(_TYPES)}")
    return _TYPES[dtype.name]


def _message(flat: np.ndarray) -> list:
    """An array as mpi4py takes it. Its bytes, because NumPy gives out no buffer of bfloat16."""
    return [flat.view(np.uint8), flat.size, _type_of(flat.dtype)]


def _messages(packed: Packed) -> list:
    """One block for each rank, as mpi4py takes them."""
    flat = packed.flat
    return [flat.view(np.uint8), (packed.counts, packed.starts), _type_of(flat.dtype)]


@functools.cache
def _reduction(op: ReduceOp, dtype: np.dtype) -> Any:
    """MPI's reduction, or one of our own where MPI does not know the dtype.

    The sum of booleans is "or" and their product "and", which on bytes of 0 and 1 are the maximum
    and the minimum. Floats of 16 bits are reduced by NumPy, rounded at each step as our own backend
    rounds them.
    """
    if dtype.kind == "b":
        known = {ReduceOp.SUM: MPI.MAX, ReduceOp.PRODUCT: MPI.MIN}
        return known.get(op, _OPS[op])
    if dtype.itemsize > 2 or dtype.kind in "iu":
        return _OPS[op]
    ufunc = ufunc_of(op)

    def combine(incoming: Any, total: Any, _: Any) -> None:
        result = np.frombuffer(total, np.uint8).view(dtype)
        ufunc(np.frombuffer(incoming, np.uint8).view(dtype), result, out=result)

    return MPI.Op.Create(combine, commute=True)
