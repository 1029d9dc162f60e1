"""An Operation: one call of a collective, send or recv, from its start to its end.

It is also the link (link.py) of its algorithm: what the algorithm sends gets the call's fingerprint
as its header, and goes to the right member of the group.
"""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from minitorch import tracing
from minitorch.distributed.algorithms.costs import Costs
from minitorch.distributed.chunks import Chunks
from minitorch.distributed.errors import DistError
from minitorch.distributed.link import ANY, Link, Steps
from minitorch.distributed.message import EMPTY, Fingerprint
from minitorch.distributed.staging import Stage
from minitorch.distributed.transport import Transport


class Operation:
    """One call, the generator that performs it, and how it stands.

    `members` are the global ranks of its group; `rank`, `size` and `source` count within it.
    `done` becomes true once, with `error` set if it failed.
    """

    def __init__(
        self,
        call: Fingerprint,
        dtype: np.dtype,
        shape: tuple[int, ...],
        members: Sequence[int],
        rank: int,
        timeout: float,
        algorithm: Callable[[Link], Steps],
        transport: Transport,
    ) -> None:
        self.call = call
        self.dtype = dtype
        self.shape = shape
        self.members = members
        self.rank = rank
        self.size = len(members)
        self.source = ANY
        self.into: np.ndarray | None = None
        self.detail = ""  # what else the label should say
        self.stage: Stage | None = None  # if there are arrays of a GPU
        self.header = call.pack()
        # Where each pair of ranks has its own (all_to_all): one for every destination and source.
        self.outgoing: Sequence[bytes] | None = None
        self.incoming: Sequence[bytes] | None = None
        self.lane = (call.group, call.number)
        self.is_collective = call.number >= 0
        self.started = time.monotonic()
        self.timeout = timeout
        self.announced = False
        self.awaited = ANY
        self.site = ("", 0, "")  # where the user's program called it
        self.done = False
        self.error: DistError | None = None
        self._unfinished = threading.Lock()  # held until it is done; cheaper than an Event
        self._unfinished.acquire()
        self._transport = transport
        self.chunks = Chunks(self) if tracing.on else None
        self.steps = algorithm(self)

    @property
    def label(self) -> str:
        """The call as errors describe it: `all_reduce #3 (SUM, shape (4, 5), float32)`."""
        call = self.call
        words = [f"shape {self.shape}", call.dtype]
        if call.op in EMPTY:
            words = []
        if self.detail:
            words.append(self.detail)
        if call.reduce_op is not None:
            words.insert(0, call.reduce_op.name)
        if call.root is not None:
            words.append(f"root {call.root}")
        if not self.is_collective:
            words.append(f"tag {-1 - call.number}")
        # A send is done at once, so whatever is still around to be named is a recv.
        name = f"{call.op} #{call.number}" if self.is_collective else "recv"
        if call.group:
            words.append(f"group {call.group}")
        return f"{name} ({', '.join(words)})" if words else name

    def expire_in(self, seconds: float) -> None:
        """Let it fail `seconds` from now, unless it would earlier."""
        self.timeout = min(self.timeout, time.monotonic() - self.started + seconds)

    def send(self, destination: int, array: np.ndarray) -> None:
        if self.chunks is not None:
            self.chunks.sent(destination, array)
        header = self.header if self.outgoing is None else self.outgoing[destination]
        self._transport.send(self.members[destination], header, array)

    def expected(self, peer: int) -> bytes:
        """The header of every message from a peer that is in the same call."""
        return self.header if self.incoming is None else self.incoming[self.members.index(peer)]

    @property
    def hosts(self) -> tuple[int, ...]:
        """A number for each member, the same for those that share a host."""
        hosts = self._transport.hosts
        return tuple([hosts[member] for member in self.members])

    @property
    def costs(self) -> Costs:
        """What the messages of this job cost."""
        return self._transport.costs

    def finish(self, error: DistError | None = None) -> None:
        self.error = error
        self.done = True
        if self.chunks is not None:
            self.chunks.finished()
        del self.steps  # lets go of the arrays
        self._unfinished.release()

    def join(self) -> None:
        """Sleep until another thread finishes it."""
        with self._unfinished:
            pass
