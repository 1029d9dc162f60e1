"""A job whose ranks are threads of this process, so that a test can stand in the middle of it.

    with job(3) as groups:                     # a ZmqProcessGroup for each rank
        results = on_all(groups, lambda group: ...)

Each rank has sockets of its own, as in a real job; they find each other in a HashStore, which
a test can read and write as an attacker could.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from minitorch.distributed.process_group import ZmqProcessGroup
from minitorch.distributed.store import HashStore, Store


def start(
    size: int, store: Store | None = None, timeout: float = 60.0, ranks: Any = None
) -> list[ZmqProcessGroup | Exception]:
    """Let all ranks (or some) connect; what became of each."""
    store = HashStore() if store is None else store

    def connect(rank: int) -> ZmqProcessGroup | Exception:
        threading.current_thread().name = f"rank {rank}"
        try:
            return ZmqProcessGroup.connect(store, rank, size, timeout)
        except Exception as error:
            return error

    chosen = range(size) if ranks is None else ranks
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(connect, chosen))


@contextlib.contextmanager
def job(size: int, store: Store | None = None) -> Iterator[list[ZmqProcessGroup]]:
    """A running job."""
    groups = start(size, store)
    try:
        for group in groups:
            if isinstance(group, Exception):
                raise group
        yield groups  # type: ignore[misc]
    finally:
        for group in groups:
            if not isinstance(group, Exception):
                group.destroy()


def on_all(groups: list[ZmqProcessGroup], call: Callable[[ZmqProcessGroup], Any]) -> list:
    """Let all ranks do the same at the same time; returns what each got."""
    with ThreadPoolExecutor(len(groups)) as pool:
        return list(pool.map(call, groups))


def endpoints(store: Store, size: int) -> list[str]:
    """Where the ranks listen, as anybody can read who can reach the store."""
    found = []
    for rank in range(size):
        _, _, text = store.get(f"endpoints/{rank}").decode().partition(" ")
        found += [place for place, _ in json.loads(text).values()]
    return found
