"""MPI in this process: how it starts, who the ranks are, and how it ends.

Invariant: MPI gives no way back from a failure: what was started cannot be called off. So once a
call has failed, all later ones do, and the process ends the whole job (MPI_Abort) when it exits. It
would wait for the others for ever in MPI_Finalize.

PyTorch: torch/csrc/distributed/c10d/ProcessGroupMPI.cpp (`initMPIOnce`), which has no such end.
"""

import atexit
import os
import sys
import warnings
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from minitorch.distributed import log
from minitorch.distributed.backends.engine import Engine
from minitorch.distributed.rendezvous import Meeting, register_rendezvous_handler

try:
    from mpi4py import MPI  # which starts MPI
except (ImportError, RuntimeError) as error:
    raise RuntimeError(
        f"the backend 'mpi' cannot be used here: mpi4py does not load ({error}). Install mpi4py "
        "and an MPI library such as Open MPI or MPICH; the backend 'zmq' runs everywhere."
    ) from error

# How long leaving waits for what was sent and not yet received.
LEAVE_SECONDS = 5.0

engine = Engine()  # one, because there is one MPI in a process, and no second start


def settle() -> bool:
    """Let what is on its way arrive; whether it has, and nothing failed."""
    if engine.failure is None and not engine.settle(LEAVE_SECONDS):
        calls = ", ".join([work.call() for work in engine.pending])
        log.logger.warning("%s", engine.fail(f"left while these were under way: {calls}"))
    return engine.failure is None


def _abort_after_failure() -> None:
    """End the job if this process exits after an error, its own or a collective's.

    Otherwise it would wait in MPI_Finalize for the others, who wait for it.
    """
    raised = []
    report = sys.excepthook

    def remember(*error: Any) -> None:
        raised.append(error)
        report(*error)

    def leave() -> None:
        if raised or not settle():
            sys.stdout.flush()
            sys.stderr.flush()
            MPI.COMM_WORLD.Abort(1)

    sys.excepthook = remember
    atexit.register(leave)


def _rendezvous(url: str, timeout: timedelta | None = None) -> Meeting:
    """The ranks are those that mpirun has started, whatever the arguments say.

    PyTorch ignores them too. Raises RuntimeError where another launcher has started the ranks.
    """
    rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    given = {name: int(value) for name, value in parse_qsl(urlsplit(url).query)}
    wanted = max(given.get("world_size", 1), int(os.environ.get("WORLD_SIZE", 1)))
    if size == 1 and wanted > 1:
        raise RuntimeError(
            f"the backend 'mpi' was to have {wanted} ranks, but this process was not started by "
            f"MPI: use `mpirun -n {wanted} python script.py` (or srun), or the backend 'zmq'"
        )
    if given and given != {"rank": rank, "world_size": size}:
        warnings.warn(
            f"For the backend mpi, {given} are ignored: MPI says that this is rank {rank} "
            f"of {size}",
            stacklevel=4,
        )
    yield None, rank, size  # type: ignore[misc]


register_rendezvous_handler("mpi", _rendezvous)
_abort_after_failure()
