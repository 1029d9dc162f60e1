"""A simulated network: thousands of ranks in one thread, to test algorithms and to price them.

The very functions that run over ZeroMQ run here. A rank is a generator that stops where it waits
for a message (link.py), so a queue of events, each "this rank goes on" or "this message arrives",
is all it takes.

The clock: a message takes the time that the model (algorithms/costs.py) gives it, and for so long
its sender's way out is busy, and then its receiver's way in. Between hosts its bytes also wait for
the wire that all ranks of a host share. Combining takes time, and nothing else does.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np

from minitorch.distributed.algorithms.costs import LAPTOP, Costs, Wire
from minitorch.distributed.link import ANY, Steps


class InMemoryNetwork:
    """A network of `size` simulated ranks.

    >>> network = InMemoryNetwork(4)
    >>> network.run(lambda link: all_reduce(link, data[link.rank], link.priced(np.add)))
    >>> network.bytes_sent(0), network.seconds[0]

    Args:
        size: the number of ranks.
        seed: let the ranks go on in random order, which must never change a result. There is no
            clock then.
        hosts: the number of each rank's host; all share one if it is not given.
        costs: the prices of messages.

    `messages` and `nbytes` count what each (source, destination) has carried; `seconds` are the
    times at which the ranks were done.
    """

    def __init__(
        self,
        size: int,
        seed: int | None = None,
        hosts: Sequence[int] | None = None,
        costs: Costs = LAPTOP,
    ) -> None:
        self.size = size
        self.hosts = (0,) * size if hosts is None else tuple(hosts)
        self.costs = costs
        self.messages: Counter[tuple[int, int]] = Counter()
        self.nbytes: Counter[tuple[int, int]] = Counter()
        self.seconds = [0.0] * size
        self._random = None if seed is None else np.random.default_rng(seed)
        self._events: list[tuple] = []  # a heap: when, number, what to call, with what
        self._numbers = count()
        self._busy: defaultdict[tuple[str, int], float] = defaultdict(float)  # until when

    def bytes_sent(self, rank: int) -> int:
        """The payload bytes that `rank` has sent."""
        return sum([n for (source, _), n in self.nbytes.items() if source == rank])

    def bytes_unread(self, rank: int) -> int:
        """The bytes that lie in `rank`'s mailbox."""
        return sum([array.nbytes for box in self._links[rank].boxes.values() for array in box])

    def run(self, program: Callable[["SimulatedLink"], Steps]) -> None:
        """Run `program(link)` on every rank until all are done.

        Raises RuntimeError when the ranks wait for each other (a deadlock), or when a message
        is left that nobody received.
        """
        self._links = [SimulatedLink(rank, self) for rank in range(self.size)]
        self._steps = {link.rank: program(link) for link in self._links}
        self._busy.clear()
        for link in self._links:
            self._at(0.0, self._resume, link, None)
        while self._events:
            time, _, action, *arguments = heapq.heappop(self._events)
            action(time, *arguments)
        self.seconds = [link.clock for link in self._links]
        if self._steps:
            waits = ", ".join([f"{rank} for {self._links[rank].awaits}" for rank in self._steps])
            raise RuntimeError(f"deadlock: every rank waits for a message: {waits}")
        for link in self._links:
            for source, box in link.boxes.items():
                raise RuntimeError(
                    f"{len(box)} messages from rank {source} to rank {link.rank} "
                    "were never received"
                )

    def send(self, link: "SimulatedLink", destination: int, array: np.ndarray) -> None:
        """Count a message, and let it leave once its sender's way out is free."""
        self.messages[link.rank, destination] += 1
        self.nbytes[link.rank, destination] += array.nbytes
        if self._random is not None:
            self._deliver(0.0, link.rank, destination, array)
            return
        way_out = "out", link.rank
        start = max(link.clock, self._busy[way_out])
        latency, per_byte = self._wire(link.rank, destination)
        self._busy[way_out] = start + latency + array.nbytes * per_byte
        self._at(start, self._travel, link.rank, destination, array)

    def _travel(self, start: float, source: int, destination: int, array: np.ndarray) -> None:
        """A message is on its way: find out when it arrives."""
        here, there = self.hosts[source], self.hosts[destination]
        latency, per_byte = self._wire(source, destination)
        seconds = array.nbytes * per_byte
        busy, way_in = self._busy, ("in", destination)
        end = max(start, busy[way_in]) + latency + seconds
        if here != there:
            wires = ("from host", here), ("to host", there)
            end = max(end, *[busy[wire] + seconds for wire in wires])
            busy.update(dict.fromkeys(wires, end))
        busy[way_in] = end
        self._at(end, self._deliver, source, destination, array)

    def _deliver(self, time: float, source: int, destination: int, array: np.ndarray) -> None:
        link = self._links[destination]
        link.boxes.setdefault(source, deque()).append(array)
        if link.awaits in (source, ANY):
            link.awaits = None
            self._at(time, self._resume, link, source)

    def _resume(self, time: float, link: "SimulatedLink", source: int | None) -> None:
        """Let a rank go on with the message from `source` (at the start: none) to its next wait."""
        link.clock = max(link.clock, time)
        try:
            awaits = self._steps[link.rank].send(link.take(source))  # type: ignore[arg-type]
        except StopIteration:
            del self._steps[link.rank]
            return
        here = next(iter(link.boxes), None) if awaits == ANY else awaits
        if here in link.boxes:
            self._at(link.clock, self._resume, link, here)
        else:
            link.awaits = awaits

    def _wire(self, source: int, destination: int) -> Wire:
        same_host = self.hosts[source] == self.hosts[destination]
        return self.costs.within if same_host else self.costs.between

    def _at(self, time: float, action: Callable, *arguments) -> None:
        if self._random is not None:
            time = self._random.random()
        heapq.heappush(self._events, (time, next(self._numbers), action, *arguments))


class SimulatedLink:
    """One rank's end of the simulated network."""

    def __init__(self, rank: int, network: InMemoryNetwork) -> None:
        self.rank = rank
        self.size = network.size
        self.hosts = network.hosts
        self.costs = network.costs
        self.source = ANY
        self.into: np.ndarray | None = None
        self.clock = 0.0
        self.awaits: int | None = None
        self.boxes: dict[int, deque[np.ndarray]] = {}  # what has arrived, by source
        self._network = network

    def send(self, destination: int, array: np.ndarray) -> None:
        if not 0 <= destination < self.size or destination == self.rank:
            raise ValueError(f"rank {self.rank} cannot send to rank {destination}")
        message = array.copy()
        message.flags.writeable = False
        self._network.send(self, destination, message)

    def take(self, source: int | None) -> np.ndarray | None:
        """The next message from `source`, out of its box."""
        if source is None:
            return None
        message = self.boxes[source].popleft()
        if not self.boxes[source]:
            del self.boxes[source]
        self.source = source
        return message

    def priced(self, combine: Callable) -> Callable:
        """The same ufunc, but it takes simulated time."""

        def timed(left, right, out):
            self.clock += right.nbytes * self.costs.reduce
            return combine(left, right, out=out)

        return timed
