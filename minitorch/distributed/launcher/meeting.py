"""Where the launchers meet: who serves the store, and how the others find it.

Why it exists: with the static rendezvous node 0's launcher serves it. With c10d nobody has been
told to, so whoever finds that the address is one of its own machine, and that nobody serves there
yet, does it; the others look for it.

PyTorch: static_tcp_rendezvous.py and c10d_rendezvous_backend.py in
torch/distributed/elastic/rendezvous/
"""

import os
import socket
from datetime import timedelta

from minitorch.distributed.errors import DistError, DistNetworkError
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.store import TCPStore

ABOUT = "who serves this store"  # the key under which a launcher says who it is


def meet(job: Job) -> tuple[TCPStore, bool]:
    """The store at the job's address, and whether this launcher serves it.

    Raises DistNetworkError if it cannot be served, or if nobody does within the time-out.
    """
    told = job.is_host if job.node_rank is None else job.node_rank == 0
    if told or (told is None and _is_ours(job.host)):
        try:
            return _serve(job), True
        except DistNetworkError as error:
            owner = _who_serves(job)
            if told or not owner:
                raise DistNetworkError(f"{error}{owner}") from None
    store = TCPStore(job.host, job.port, timeout=timedelta(seconds=job.timeouts.join))
    if not store.wait_at_most([ABOUT], 10.0):
        store.close()
        raise DistNetworkError(
            f"the store at {job.host}:{job.port} is no launcher's, but perhaps that of a script's "
            f"rank 0: choose a port that nothing else uses, the same on all nodes"
        )
    return store, False


def _serve(job: Job) -> TCPStore:
    # Ten seconds are enough to reach oneself; an address of another machine would take for ever.
    store = TCPStore(job.host, job.port, is_master=True, timeout=timedelta(seconds=10))
    store.set(ABOUT, f"process {os.getpid()} on {socket.gethostname()}, running {job.program}")
    return store


def _who_serves(job: Job) -> str:
    """A sentence about the launcher that has the job's address; empty if there is none."""
    try:
        store = TCPStore(job.host, job.port, timeout=timedelta(seconds=1))
        owner = store.get(ABOUT).decode() if store.wait_at_most([ABOUT], 1.0) else ""
        store.close()
    except DistError:
        return ""
    return owner and (
        f" Another launcher serves it: {owner}. Each job needs a port of its own; one that runs on "
        f"one node takes a free one if no port is given."
    )


def _is_ours(host: str) -> bool:
    """Whether this is an address of this machine: only those can be listened at."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
                return True
    except OSError:
        pass
    return False
