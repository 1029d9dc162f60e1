"""The link: all that a collective algorithm may know about the network.

An algorithm is a generator. It sends with `link.send(destination, array)`, which never blocks, and
it receives by yielding the rank whose message it needs next:

    def exchange(link, data):
        other = 1 - link.rank
        link.send(other, data)
        incoming = yield other      # a flat, read-only array

Because a generator stops where it waits, whoever runs it decides what happens meanwhile. The event
loop of a real process (progress.py) keeps several operations in flight; the in-memory network
(simulation.py) plays thousands of ranks in one thread. Both run the very same functions.

Invariants:
- Messages from one rank to another within one operation arrive in the order they were sent.
- `send` has taken its own copy when it returns: the algorithm may overwrite the array at once.

PyTorch keeps the same split in Gloo: gloo/transport/ beside gloo/allreduce.cc.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from minitorch.distributed.algorithms.costs import Costs

ANY = -1  # yielded in place of a rank: the next message, whoever sent it

Steps = Generator[int, np.ndarray, None]


class Link(Protocol):
    """One rank's end of the network, for the length of one operation.

    `rank` and `size` count within the group. `source` is the rank that the last message came from.
    `hosts` has a number for each rank of the group, the same for those that share a host. `costs`
    are the prices of messages, the same on every rank: what the choice of an algorithm rests on.

    `into`, if an algorithm sets it before it yields, is the array that the next message will be
    copied to. A link that can put the message there itself sets it to None (see `fetch`).
    """

    rank: int
    size: int
    source: int
    into: np.ndarray | None

    @property
    def hosts(self) -> tuple[int, ...]: ...

    @property
    def costs(self) -> Costs: ...

    def send(self, destination: int, array: np.ndarray) -> None:
        """Send a flat, contiguous array to a rank, without waiting for anything."""
        ...
