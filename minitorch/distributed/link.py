"""The link: all that a collective algorithm may know about the network.

An algorithm is a generator. It sends with `link.send(destination, array)`, which never blocks, and
it receives by yielding the rank whose message it needs next:

    def exchange(link, data):
        other = 1 - link.rank
        link.send(other, data)
        incoming = yield other      # a flat, read-only array

Because a generator stops where it waits, whoever runs it decides what happens meanwhile. The event
loop of a real process (progress.py) keeps several operations in flight; the in-memory network
below plays hundreds of ranks in one thread. Both run the very same functions.

Invariants:
- Messages from one rank to another within one operation arrive in the order they were sent.
- `send` has taken its own copy when it returns: the algorithm may overwrite the array at once.

PyTorch keeps the same split in Gloo: gloo/transport/ beside gloo/allreduce.cc.
"""

from collections import deque
from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

import numpy as np

ANY = -1  # yielded in place of a rank: the next message, whoever sent it

Steps = Generator[int, np.ndarray, None]


class Link(Protocol):
    """One rank's end of the network, for the length of one operation.

    `rank` and `size` count within the group. `source` is the rank that the last message came from.
    """

    rank: int
    size: int
    source: int

    def send(self, destination: int, array: np.ndarray) -> None:
        """Send a flat, contiguous array to a rank, without waiting for anything."""
        ...


class Message(NamedTuple):
    """One entry of the in-memory network's record."""

    source: int
    destination: int
    nbytes: int


class InMemoryNetwork:
    """A network of `size` simulated ranks in one thread.

    >>> network = InMemoryNetwork(4)
    >>> network.run(lambda link: ring_all_reduce(link, data[link.rank], np.add))
    >>> network.bytes_sent(0)

    `record` lists every message in the order in which it was sent. With a `seed` the ranks take
    their turns in random order, which must never change a result.
    """

    def __init__(self, size: int, seed: int | None = None) -> None:
        self.size = size
        self.record: list[Message] = []
        self._random = None if seed is None else np.random.default_rng(seed)

    def bytes_sent(self, rank: int) -> int:
        """The payload bytes that `rank` has sent."""
        return sum(message.nbytes for message in self.record if message.source == rank)

    def run(self, algorithm: Callable[[Link], Steps]) -> None:
        """Run `algorithm(link)` on every rank until all are done.

        Raises RuntimeError when the ranks wait for each other (a deadlock), or when a message
        is left that nobody received.
        """
        boxes: dict[tuple[int, int], deque[np.ndarray]] = {}
        links = [_MemoryLink(rank, self, boxes) for rank in range(self.size)]
        programs = {link.rank: algorithm(link) for link in links}
        awaited: dict[int, int | None] = dict.fromkeys(programs)

        while programs:
            ready = [rank for rank in programs if self._can_go(boxes, rank, awaited[rank])]
            if not ready:
                waits = ", ".join(f"{rank} for {awaited[rank]}" for rank in programs)
                raise RuntimeError(f"deadlock: every rank waits for a message: {waits}")
            if self._random is not None:
                self._random.shuffle(ready)
            for rank in ready:
                message = None
                if (source := awaited[rank]) is not None:
                    if source == ANY:
                        source = next(s for s in range(self.size) if boxes.get((s, rank)))
                    message = boxes[source, rank].popleft()
                    links[rank].source = source
                try:
                    awaited[rank] = programs[rank].send(message)  # type: ignore[arg-type]
                except StopIteration:
                    del programs[rank]

        for (source, destination), box in boxes.items():
            if box:
                raise RuntimeError(
                    f"{len(box)} messages from rank {source} to rank {destination} "
                    "were never received"
                )

    def _can_go(self, boxes: dict, rank: int, source: int | None) -> bool:
        if source is None:
            return True
        if source == ANY:
            return any(boxes.get((s, rank)) for s in range(self.size))
        return bool(boxes.get((source, rank)))


class _MemoryLink:
    def __init__(self, rank: int, network: InMemoryNetwork, boxes: dict) -> None:
        self.rank = rank
        self.size = network.size
        self.source = ANY
        self._network = network
        self._boxes = boxes

    def send(self, destination: int, array: np.ndarray) -> None:
        if not 0 <= destination < self.size or destination == self.rank:
            raise ValueError(f"rank {self.rank} cannot send to rank {destination}")
        message = array.copy()
        message.flags.writeable = False
        self._boxes.setdefault((self.rank, destination), deque()).append(message)
        self._network.record.append(Message(self.rank, destination, message.nbytes))
