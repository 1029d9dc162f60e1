"""Rendezvous: how the processes of a job find each other before the first collective.

Why it exists: each process knows only its rank, how many there are, and where to meet. Rank 0 (or
the launcher, on behalf of all) hosts a TCPStore there, or there is a file that all can open;
everybody comes, signs in, and leaves with the store once all are present.

The invariant: all succeed together or each gets the same error. Two processes with one rank, two
opinions on the world size, or somebody missing when the time is up, end the rendezvous for everyone
with a sentence that says so, instead of a hang.

PyTorch: torch/distributed/rendezvous.py
"""

import contextlib
import itertools
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from minitorch.distributed import schedulers
from minitorch.distributed.errors import DistError, DistNetworkError, DistStoreError
from minitorch.distributed.store import FileStore, PrefixStore, Store, TCPStore
from minitorch.distributed.store.base import DEFAULT_TIMEOUT
from minitorch.distributed.store.patience import wait_until

Meeting = Iterator[tuple[Store, int, int]]

_handlers: dict[str, Callable[..., Meeting]] = {}

# A process may leave and meet the others again at the same place. Every meeting has a number, the
# same on all ranks because each rank counts its own, so that no key of the last one is left over.
_meetings: defaultdict[tuple[str, int], itertools.count] = defaultdict(itertools.count)


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs) -> Meeting:
    """Meet all other ranks at `url`; `next()` of the result is (store, rank, world_size).

    `env://` takes the place from MASTER_ADDR and MASTER_PORT, and RANK and WORLD_SIZE where the
    arguments do not say, or what mpirun and Slurm set in their stead (schedulers.py);
    `tcp://host:port` and `file:///path` take them from the arguments or from
    `?rank=R&world_size=N`. `timeout=` limits all the waiting. Mirrors torch.distributed.rendezvous.

    Raises ValueError for something missing or out of range, DistNetworkError when the store cannot
    be hosted or reached, DistStoreError when ranks are missing, doubled, or disagree on the size.
    """
    parts = urlsplit(url)
    if parts.scheme not in _handlers:
        schemes = ", ".join(f"{scheme}://" for scheme in _handlers)
        raise RuntimeError(f"No rendezvous handler for {url!r}; there are handlers for {schemes}")
    query = dict(parse_qsl(parts.query))
    for name, value in (("rank", rank), ("world_size", world_size)):
        if value != -1 and query.setdefault(name, str(value)) != str(value):
            raise ValueError(f"{name} is {query[name]} in {url!r}, but {value} as an argument")
    return _handlers[parts.scheme](parts._replace(query=urlencode(query)).geturl(), **kwargs)


def register_rendezvous_handler(scheme: str, handler: Callable[..., Meeting]) -> None:
    """Let `handler(url, timeout=...)`, a generator of (store, rank, world_size), do the rendezvous
    for URLs of this scheme. Mirrors torch.distributed.register_rendezvous_handler."""
    if scheme in _handlers:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def _env(url: str, timeout: timedelta = DEFAULT_TIMEOUT) -> Meeting:
    query = dict(parse_qsl(urlsplit(url).query))
    for name in ("rank", "world_size"):
        query[name] = query.get(name) or _setting(name.upper())
    host, port = _setting("MASTER_ADDR"), _setting("MASTER_PORT")
    rank, world_size = _seat(query)
    port_number = _integer("MASTER_PORT", port)
    yield meet(host, port_number, rank, world_size, timeout), rank, world_size


def _tcp(url: str, timeout: timedelta = DEFAULT_TIMEOUT) -> Meeting:
    parts = urlsplit(url)
    if not parts.hostname or parts.port is None:
        raise ValueError(f"expected tcp://host:port, got {url!r}")
    rank, world_size = _seat(dict(parse_qsl(parts.query)), url)
    yield meet(parts.hostname, parts.port, rank, world_size, timeout), rank, world_size


def _file(url: str, timeout: timedelta = DEFAULT_TIMEOUT) -> Meeting:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ValueError(f"expected file:///path, with three slashes, got {url!r}")
    rank, world_size = _seat(dict(parse_qsl(parts.query)), url)
    store = FileStore(parts.path, world_size, timeout)
    yield _meet_in(store, f"file {parts.path}", rank, world_size, timeout), rank, world_size


register_rendezvous_handler("env", _env)
register_rendezvous_handler("tcp", _tcp)
register_rendezvous_handler("file", _file)


def meet(host: str, port: int, rank: int, world_size: int, timeout: timedelta) -> Store:
    """The store at host:port, once all ranks have signed in there. Rank 0 hosts it unless the
    launcher does."""
    if not 0 <= port < 1 << 16:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    hosts = rank == 0 and not _launcher_hosts(host, port)
    start = time.monotonic()
    try:
        store = TCPStore(host, port, is_master=hosts, timeout=timeout, multi_tenant=True)
    except DistNetworkError as error:
        hint = " Is another process started as rank 0, or another job at this port?"
        if hosts:
            _tell_the_other_job(host, port)
        raise DistNetworkError(f"rank {rank}: {error}{hint if hosts else ''}") from error
    left = timeout - timedelta(seconds=time.monotonic() - start)
    return _meet_in(store, f"{host}:{port}", rank, world_size, left, hosts)


def _meet_in(
    store: Store, place: str, rank: int, world_size: int, timeout: timedelta, hosts: bool = False
) -> Store:
    namespace = _namespace(store, next(_meetings[place, rank]))
    try:
        sign_in(namespace, place, rank, world_size, timeout)
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
    sentence, or the store does it for one that ends meanwhile; everybody waits for that one key, so
    all of them leave with the same news.
    """

    def refuse(problem: str) -> DistStoreError:
        news = store.compare_set("go", "", problem).decode()
        store.add("heard", 1)
        return DistStoreError(problem if news == "ok" else news)

    store.add("came", 1)
    me = _this_process()
    if store.add(f"{noun} {rank} claims", 1) > 1:
        first = store.get(f"{noun} {rank}").decode()
        raise refuse(
            f"{noun} {rank} at {place} is taken twice: by {first} and by {me}. Give each process "
            f"its own {noun}, and remove what is left of an earlier run (a process, or the file)."
        )
    store.set(f"{noun} {rank}", me)
    store.last_will("go", f"{noun} {rank} ({me}) came to {place} and ended before all had come")
    size = int(store.compare_set("world size", "", str(world_size)))
    if size != world_size:
        raise refuse(
            f"{noun} {rank} ({me}) came to {place} for a job of {world_size}, but the others for "
            f"one of {size}: start all with the same number"
        )
    if store.add("signed in", 1) == world_size:
        store.compare_set("go", "", "ok")

    def absent() -> str:
        ranks = [r for r in range(world_size) if not store.check([f"{noun} {r}"])]
        return f"{noun}{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"

    limit = timeout.total_seconds()
    if not wait_until(
        lambda seconds: store.wait_at_most(["go"], seconds),
        limit,
        lambda: f"{absent()} at {place}",
    ):
        raise refuse(
            f"{absent()} of {world_size} did not come to {place} within {limit:.0f} s: are they "
            f"started, with this address, and did one of them fail before?"
        )
    news = store.get("go").decode()
    if news != "ok":
        raise refuse(news)


def _namespace(store: Store, meeting: int) -> Store:
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"rendezvous {restarts}.{meeting}", store)


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _tell_the_other_job(host: str, port: int) -> None:
    """Two jobs at one port: if the other one is still meeting, ranks of ours may be among its own,
    so it must not go on. One that is complete has what it needs, and is left in peace."""
    with contextlib.suppress(DistError):
        store = TCPStore(host, port, timeout=timedelta(seconds=2), wait_for_workers=False)
        _namespace(store, 0).compare_set(
            "go",
            "",
            f"{_this_process()} was started as rank 0 at {host}:{port} as well: are two jobs "
            "started at one port? Give each its own.",
        )
        store.close()


def let_others_hear(store: Store) -> None:
    """The store ends with its host's process: those who came, and live, read the bad news first."""
    end = time.monotonic() + 2.0
    while store.add("heard", 0) < store.add("came", 0) and time.monotonic() < end:
        time.sleep(0.01)


def _launcher_hosts(host: str, port: int) -> bool:
    """Whether the launcher serves the store at this place (torchrun's and our own convention)."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False
    return (host, str(port)) == (os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT"))


def _setting(name: str) -> str:
    value = schedulers.setting(name)
    if not value:
        raise ValueError(
            f"Error initializing minitorch.distributed using env:// rendezvous: environment "
            f"variable {name} expected, but not set ({schedulers.looked_for(name)}; minitorchrun "
            "sets it for its workers)"
        )
    return value


def _seat(query: dict[str, str], url: str = "") -> tuple[int, int]:
    """The rank and the world size that a URL's query gives, checked."""
    for name in ("rank", "world_size"):
        if name not in query:
            place = url.partition("?")[0]
            raise ValueError(f"{name} missing: pass {name}=... or write {place}?{name}=...")
    rank, world_size = _integer("rank", query["rank"]), _integer("world_size", query["world_size"])
    if world_size < 1:
        raise ValueError(f"world_size must be at least 1, not {world_size}")
    if not 0 <= rank < world_size:
        raise ValueError(
            f"rank {rank} is not one of the {world_size} ranks 0 to {world_size - 1}: "
            f"RANK counts from 0 and must be below WORLD_SIZE"
        )
    return rank, world_size


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be an integer, got {text!r}") from None
