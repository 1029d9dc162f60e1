"""Rendezvous: how the processes of a job find each other before the first collective.

Why it exists: each process knows only its rank, how many there are, and where to meet. Rank 0 (or
the launcher, for all) hosts a TCPStore there; everybody comes, signs in, and leaves with the store
once all are present.

The invariant: all succeed together or each gets the same error. Two processes with one rank,
different opinions on the world size, or somebody missing when the time is up, end the rendezvous
for everyone with a sentence that says so, instead of a hang.

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

logger = logging.getLogger("minitorch.distributed")

DEFAULT_TIMEOUT = timedelta(seconds=300)
REPORT_EVERY = 5.0  # seconds between two "waiting for ranks" warnings

# A process may destroy its group and meet again at the same place: every meeting gets a number, the
# same on all ranks, since each counts its own.
_meetings: dict[tuple[str, int, int], itertools.count] = defaultdict(itertools.count)


def rendezvous(
    url: str, rank: int = -1, world_size: int = -1, timeout: timedelta = DEFAULT_TIMEOUT
) -> tuple[Store, int, int]:
    """Meet all other ranks at `url`; returns (store, rank, world_size).

    `env://` takes what is not given from RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT;
    `tcp://host:port?rank=R&world_size=N` takes rank and size from the query or the arguments.
    Mirrors torch.distributed.rendezvous.

    Raises ValueError for something missing or out of range, DistNetworkError when the store cannot
    be hosted or reached, DistStoreError when ranks are missing, doubled, or disagree on the size.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "env":
        host, port = _environment("MASTER_ADDR"), _integer("MASTER_PORT", _environment("MASTER_PORT"))
        rank = _given(rank, query, "rank") or _integer("RANK", _environment("RANK"))
        size = _given(world_size, query, "world_size")
        world_size = size or _integer("WORLD_SIZE", _environment("WORLD_SIZE"))
    elif parts.scheme == "tcp":
        pass
    else:
        raise ValueError(f"no rendezvous at {url!r}: expected env:// or tcp://host:port")
