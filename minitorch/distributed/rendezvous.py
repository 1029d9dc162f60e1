"""Rendezvous: how the processes of a job find each other before the first collective.

Why it exists: each process knows only its rank, how many there are, and where to meet. Rank 0 (or
the launcher, on behalf of all) hosts a TCPStore there; everybody comes, signs in, and leaves with
the store once all are present.

The invariant: all succeed together or each gets the same error. Two processes with one rank, two
opinions on the world size, or somebody missing when the time is up, end the rendezvous for everyone
with a sentence that says so, instead of a hang.

PyTorch: torch/distributed/rendezvous.py
"""

import itertools
import logging
import os
import socket
import time
from collections import defaultdict
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

from minitorch.distributed.errors import DistNetworkError, DistStoreError
from minitorch.distributed.store import PrefixStore, Store, TCPStore
from minitorch.distributed.store.base import DEFAULT_TIMEOUT, REPORT_EVERY

logger = logging.getLogger("minitorch.distributed")

# A process may leave and meet the others again at the same place. Every meeting has a number, the
# same on all ranks because each rank counts its own, so that no key of the last one is left over.
_meetings: defaultdict[tuple[str, int, int], itertools.count] = defaultdict(itertools.count)


def rendezvous(
    url: str, rank: int = -1, world_size: int = -1, timeout: timedelta = DEFAULT_TIMEOUT
) -> tuple[Store, int, int]:
    """Meet all other ranks at `url`; returns (store, rank, world_size).

    `env://` takes the place from MASTER_ADDR and MASTER_PORT, and RANK and WORLD_SIZE where the
    arguments do not say; `tcp://host:port` takes them from the arguments or from
    `?rank=R&world_size=N`. Mirrors torch.distributed.rendezvous.

    Raises ValueError for something missing or out of range, DistNetworkError when the store cannot
    be hosted or reached, DistStoreError when ranks are missing, doubled, or disagree on the size.
    """
    parts = urlsplit(url)
    given: dict[str, str | int] = dict(parse_qsl(parts.query))
    if rank != -1:
        given["rank"] = rank
    if world_size != -1:
        given["world_size"] = world_size

    if parts.scheme == "env":
        for name in ("rank", "world_size"):
            if name not in given:
                given[name] = _environment(name.upper())
        host = _environment("MASTER_ADDR")
        port = _integer("MASTER_PORT", _environment("MASTER_PORT"))
    elif parts.scheme == "tcp":
        if not parts.hostname or parts.port is None:
            raise ValueError(f"expected tcp://host:port, got {url!r}")
        for name in ("rank", "world_size"):
            if name not in given:
                raise ValueError(
                    f"tcp:// rendezvous: {name} missing: pass {name}=... or write {url}?{name}=..."
                )
        host, port = parts.hostname, parts.port
    else:
        raise ValueError(f"no rendezvous for {url!r}: expected env:// or tcp://host:port")

    rank = _integer("rank", given["rank"])
    world_size = _integer("world_size", given["world_size"])
    if not 0 <= port < 1 << 16:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    if not 0 <= rank < world_size:
        raise ValueError(
            f"rank {rank} is not one of the {world_size} ranks 0 to {world_size - 1}: "
            f"RANK counts from 0 and must be below WORLD_SIZE"
        )
    return meet(host, port, rank, world_size, timeout), rank, world_size


def meet(host: str, port: int, rank: int, world_size: int, timeout: timedelta) -> Store:
    """The store at host:port, once all ranks have signed in there. Rank 0 hosts it unless the
    launcher does."""
    hosts = rank == 0 and not _launcher_hosts(host, port)
    start = time.monotonic()
    try:
        store = TCPStore(
            host, port, is_master=hosts, timeout=timeout, wait_for_workers=False, multi_tenant=True
        )
    except DistNetworkError as error:
        hint = " Is another process started as rank 0, or another job at this port?"
        raise DistNetworkError(f"rank {rank}: {error}{hint if hosts else ''}") from error
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    meeting = next(_meetings[host, port, rank])
    namespace = PrefixStore(f"rendezvous {restarts}.{meeting}", store)
    left = timeout - timedelta(seconds=time.monotonic() - start)
    try:
        sign_in(namespace, f"{host}:{port}", rank, world_size, left)
    except DistStoreError:
        if hosts:
            let_others_hear(namespace)
        raise
    return namespace


def sign_in(
    store: Store, place: str, rank: int, world_size: int, timeout: timedelta, noun: str = "rank"
) -> None:
    """Put this rank's name on the list and wait until the list is full.

    The last to come sets the key "go" to "ok", and whoever finds something wrong sets it to a
    sentence; everybody waits for that one key, so all of them leave with the same news.
    """

    def refuse(problem: str) -> DistStoreError:
        news = store.compare_set("go", "", problem).decode()
        store.add("heard", 1)
        return DistStoreError(problem if news == "ok" else news)

    store.add("came", 1)
    me = f"process {os.getpid()} on {socket.gethostname()}"
    if store.add(f"{noun} {rank} claims", 1) > 1:
        first = store.get(f"{noun} {rank}").decode()
        raise refuse(
            f"{noun} {rank} at {place} is taken twice: by {first} and by {me}. Give each process "
            f"its own {noun}, and end what is left of an earlier run."
        )
    store.set(f"{noun} {rank}", me)
    size = int(store.compare_set("world size", "", str(world_size)))
    if size != world_size:
        raise refuse(
            f"{noun} {rank} ({me}) came to {place} for a job of {world_size}, but the others for "
            f"one of {size}: start all with the same number"
        )
    if store.add("signed in", 1) == world_size:
        store.compare_set("go", "", "ok")

    limit = timeout.total_seconds()
    start = time.monotonic()
    while not store.wait_at_most(
        ["go"], max(0.0, min(REPORT_EVERY, start + limit - time.monotonic()))
    ):
        waited = time.monotonic() - start
        absent = [r for r in range(world_size) if not store.check([f"{noun} {r}"])]
        names = f"{noun}s {{{', '.join(map(str, absent))}}}"
        if waited >= limit:
            raise refuse(
                f"{names} of {world_size} did not come to {place} within {limit:.0f} s: are they "
                f"started, with this address, and did one of them fail before?"
            )
        logger.warning("waiting for %s at %s, %.0f s", names, place, waited)
    news = store.get("go").decode()
    if news != "ok":
        raise refuse(news)


def let_others_hear(store: Store) -> None:
    """The store ends with its host's process: those who came must read the bad news first."""
    end = time.monotonic() + 2.0
    while store.add("heard", 0) < store.add("came", 0) and time.monotonic() < end:
        time.sleep(0.01)


def _launcher_hosts(host: str, port: int) -> bool:
    """Whether the launcher serves the store at this place (torchrun's and our own convention)."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False
    return (host, str(port)) == (os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT"))


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(
            f"Error initializing minitorch.distributed using env:// rendezvous: environment "
            f"variable {name} expected, but not set (minitorchrun sets it for its workers)"
        )
    return value


def _integer(name: str, text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be an integer, got {text!r}") from None
