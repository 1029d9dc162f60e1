"""The event loop that moves collectives along, and decides when one has failed.

An Operation is an algorithm (a generator, see link.py) together with the call that it serves. The
loop resumes an operation when the message that it waits for arrives, so any number of them can be
in flight: a posted receive does not keep a send from starting.

Who runs the loop? Whoever holds `_driving`. A thread that waits for an operation runs the loop
itself if nobody else does: a blocking collective costs no hand-over between threads, which would
take longer than a small message. Operations that nobody waits for (async_op=True) are left to a
background thread, woken only for them. Either way one thread at a time touches the sockets.

What makes an operation fail, on every rank, is decided here too:
- a rank called something else (its messages carry another fingerprint);
- a rank has died, or has left before this call;
- a rank is late: the operation's deadline has passed.
The rank that finds out tells all others (ABORT) and the process group is over, as the ranks no
longer agree on what comes next.

PyTorch: torch/csrc/distributed/c10d/ProcessGroupGloo.cpp (`runLoop`), and the watchdog of
ProcessGroupNCCL.cpp.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from minitorch.distributed.errors import DistBackendError, DistError, DistNetworkError
from minitorch.distributed.link import ANY, Link, Steps
from minitorch.distributed.message import Fingerprint, Kind, lane_of, unpack
from minitorch.distributed.transport import Transport, name_ranks

# How often the loop looks for deaths and time-outs.
CHECK_SECONDS = 0.1
# After this long in one operation a rank tells the others that it is there, so that a time-out
# can tell the late from the waiting.
NOTICE_SECONDS = 1.0

_EMPTY = memoryview(b"")


class Operation:
    """One call of a collective, send or recv, and the link (link.py) of its algorithm.

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
        self.header = call.pack()
        self.lane = (call.group, call.number)
        self.is_collective = call.number > 0
        self.started = time.monotonic()
        self.timeout = timeout
        self.announced = False
        self.awaited = ANY
        self.done = False
        self.error: DistError | None = None
        self.finished = threading.Event()
        self._transport = transport
        self.steps = algorithm(self)

    @property
    def label(self) -> str:
        """The call as errors describe it: `all_reduce #3 (SUM, shape (4, 5), float32)`."""
        call = self.call
        words = [f"shape {self.shape}", call.dtype] if call.op != "barrier" else []
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
        self._transport.send(self.members[destination], self.header, array)

    def finish(self, error: DistError | None = None) -> None:
        self.error = error
        self.done = True
        self.finished.set()


Mailbox = dict[tuple[int, tuple[int, int]], deque]  # (global rank, lane) -> in order


class Progress:
    """The operations of one process and the loop that runs them over `transport`."""

    def __init__(self, transport: Transport) -> None:
        self.rank = transport.rank
        self.transport = transport
        self._incoming: deque[Operation] = deque()
        self._active: dict[Operation, None] = {}
        self._waiting: Mailbox = {}  # operations, by the message that they wait for
        self._arrived: Mailbox = {}  # messages that no operation has asked for yet
        self._last: dict[int, int] = {}  # group -> number of the last collective started
        self._reached: dict[tuple[int, int], int] = {}  # (peer, group) -> where it says it is
        self._left: dict[int, dict[int, int]] = {}  # peer -> its `_last` when it left
        self._failure: tuple[type[DistError], str] | None = None
        self._next_check = 0.0
        self._closing = False
        self._driving = threading.Lock()
        self._needed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, operation: Operation) -> None:
        """Start an operation and let the background thread see to it."""
        self._incoming.append(operation)
        if self._driving.acquire(blocking=False):
            try:
                self._start_incoming()
            finally:
                self._driving.release()
        self._call_background()

    def run(self, operation: Operation) -> None:
        """Start an operation and return when it is done."""
        self._incoming.append(operation)
        self.wait(operation)

    def wait(self, operation: Operation) -> None:
        """Return when an operation is done, running the loop unless another thread does."""
        if self._driving.acquire(blocking=False):
            try:
                self._drive(operation)
            finally:
                self._driving.release()
            self._call_background()
        else:
            # Whoever drives looks at `_incoming` again after letting go, so nothing is forgotten.
            self.transport.wake()
        operation.finished.wait()

    def close(self) -> None:
        """Say goodbye to every rank and close the connections; what is in flight fails."""
        if self._closing:
            return
        self._closing = True
        self.transport.wake()
        self._needed.set()
        if not self._driving.acquire(timeout=5):
            return  # a thread is stuck in an algorithm: leave the sockets to it
        try:
            last = {group: self._completed(group) for group in self._last}
            for operation in [*self._incoming, *self._active]:
                operation.finish(DistBackendError(f"{operation.label}: the process group was destroyed"))
            self._tell_all(Kind.GOODBYE, list(last.items()))
            self.transport.close()
        finally:
            self._driving.release()

    def _call_background(self) -> None:
        if not (self._incoming or self._active) or self._closing:
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._background, name="minitorch-communication", daemon=True
            )
            self._thread.start()
        self._needed.set()
        self.transport.wake()

    def _background(self) -> None:
        while not self._closing:
            self._needed.wait()
            self._needed.clear()
            while (self._incoming or self._active) and not self._closing:
                with self._driving:
                    self._drive(None)

    def _drive(self, until: Operation | None) -> None:
        """Run the loop until an operation is done; None stands for all of them."""
        try:
            while not self._closing:
                now = time.monotonic()
                if now >= self._next_check:  # before a late rank starts what others have given up
                    self._check(now)
                    self._next_check = now + CHECK_SECONDS
                self._start_incoming()
                if until.done if until is not None else not self._active:
                    return
                for peer in self.transport.wait(self._awaited_peers(), self._next_check - now):
                    for header, payload in self.transport.receive(peer):
                        self._deliver(peer, header, payload)
        except BaseException as error:
            self._fail(DistBackendError, f"rank {self.rank} failed: {error!r}")
            if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                raise  # Ctrl-C, in the thread that waits

    def _start_incoming(self) -> None:
        while self._incoming:
            operation = self._incoming.popleft()
            if operation.is_collective:
                self._last[operation.call.group] = operation.call.number
            self._active[operation] = None
            if self._failure is not None:
                self._give_up(operation)
            else:
                self._advance(operation, None)

    def _advance(self, operation: Operation, message: np.ndarray | None) -> None:
        """Resume an operation, for as long as the messages that it asks for are there already."""
        while True:
            try:
                source = operation.steps.send(message)  # type: ignore[arg-type]
            except StopIteration:
                del self._active[operation]
                operation.finish()
                return
            peer = ANY if source == ANY else operation.members[source]
            operation.awaited = peer
            found = self._take(peer, operation)
            if found is None:
                queue = self._waiting.setdefault((peer, operation.lane), deque())
                if message is None:
                    queue.append(operation)
                else:  # it has begun to receive: later receives from this rank go behind it
                    queue.appendleft(operation)
                return
            message = self._open(operation, *found)
            if message is None:
                return

    def _take(self, peer: int, operation: Operation):
        """The next message from a peer (or ANY) that arrived before it was asked for."""
        for candidate in operation.members if peer == ANY else (peer,):
            key = candidate, operation.lane
            if box := self._arrived.get(key):
                message = box.popleft()
                if not box:
                    del self._arrived[key]
                return candidate, *message
        return None

    def _open(self, operation: Operation, peer: int, header, payload) -> np.ndarray | None:
        """A message's array, once its header shows that both ranks mean the same call."""
        if header != operation.header:
            self._mismatch(operation, peer, header)
            return None
        operation.source = operation.members.index(peer)
        if not payload.nbytes:
            return np.empty(0, operation.dtype)
        return np.frombuffer(payload, operation.dtype)

    def _deliver(self, peer: int, header, payload) -> None:
        """Hand a message to the operation that waits for it, or keep it until one does."""
        kind = header[0]
        if kind != Kind.DATA:
            self._hear(peer, header, payload)
            return
        lane = lane_of(header)
        for key in ((peer, lane), (ANY, lane)):
            if queue := self._waiting.get(key):
                operation = queue.popleft()
                if not queue:
                    del self._waiting[key]
                message = self._open(operation, peer, header, payload)
                if message is not None:
                    self._advance(operation, message)
                return
        self._arrived.setdefault((peer, lane), deque()).append((header, payload))

    def _hear(self, peer: int, header, payload) -> None:
        """Take note of what a peer says about itself."""
        kind, call = unpack(header)
        if kind is Kind.WAITING:
            self._reached[peer, call.group] = call.number
            for operation in self._active:
                if operation.lane == (call.group, call.number) and operation.call != call:
                    self._mismatch(operation, peer, header)
                    return
        elif kind is Kind.GOODBYE:
            self._left[peer] = dict(json.loads(bytes(payload)))
        elif kind is Kind.ABORT:
            name, cause = json.loads(bytes(payload))
            error = DistNetworkError if name == "DistNetworkError" else DistBackendError
            self._fail(error, cause, tell=False)

    def _awaited_peers(self) -> set[int]:
        peers = {peer for peer, _ in self._waiting}
        return set(self.transport.peers) if ANY in peers else peers

    def _check(self, now: float) -> None:
        """Look for deaths, departures, and operations that have lasted too long."""
        lost = set(self.transport.check_connections())
        # Only now, so that the last words of those that are lost are among the messages.
        for peer in self.transport.peers:
            for header, payload in self.transport.receive(peer):
                self._deliver(peer, header, payload)
        if not self._active:
            return
        if dead := lost - self._left.keys():
            self._fail(
                DistNetworkError,
                f"rank {self.rank} has lost {name_ranks(dead)}: killed, stopped or unreachable",
            )
        for operation in list(self._active):
            for peer, last in self._left.items():
                if self._misses(operation, peer, last):
                    self._fail(
                        DistNetworkError,
                        f"rank {peer} left the process group after "
                        f"{last.get(operation.call.group, 0)} collectives, while rank {self.rank} "
                        f"is in {operation.label}",
                    )
            elapsed = now - operation.started
            if elapsed > operation.timeout:
                self._time_out(operation)
            elif elapsed > min(NOTICE_SECONDS, operation.timeout / 3) and not operation.announced:
                operation.announced = True
                if operation.is_collective:
                    for peer in operation.members:
                        if peer != self.rank:
                            self.transport.send(peer, operation.call.pack(Kind.WAITING))

    def _misses(self, operation: Operation, peer: int, last: dict[int, int]) -> bool:
        """Whether an operation still needs a peer that has left."""
        if not operation.is_collective:
            return operation.awaited == peer
        return peer in operation.members and last.get(operation.call.group, 0) < operation.call.number

    def _completed(self, group: int) -> int:
        """The number of the last collective that is done, as are all before it."""
        unfinished = [
            operation.call.number
            for operation in [*self._active, *self._incoming]
            if operation.call.group == group and operation.is_collective
        ]
        return min(unfinished) - 1 if unfinished else self._last[group]

    def _mismatch(self, operation: Operation, peer: int, header) -> None:
        theirs = unpack(header)[1]
        mine = str(operation.call)
        if operation.is_collective:
            what = f"collective #{operation.call.number}"
            advice = "All ranks must call the same ones, in the same order, on equal sizes and types."
        else:
            what, mine = "a message", mine.replace("send", "recv")
            advice = "Both sides must agree on its size and type."
        self._fail(
            DistBackendError,
            f"the ranks disagree about {what}: rank {self.rank} called {mine}, "
            f"rank {peer} called {theirs}. {advice}",
        )

    def _time_out(self, operation: Operation) -> None:
        if operation.is_collective:
            group, number = operation.lane
            late = [
                peer
                for peer in operation.members
                if peer != self.rank and self._reached.get((peer, group), 0) < number
            ]
            why = f"{name_ranks(late)} did not call it" if late else "all ranks are in it"
        else:
            why = "no rank" if operation.awaited == ANY else f"rank {operation.awaited}"
            why += " has sent" if operation.awaited == ANY else " has not sent"
        self._fail(
            DistBackendError,
            f"rank {self.rank} timed out after {operation.timeout:g} s in {operation.label}: {why}",
        )

    def _fail(self, error: type[DistError], cause: str, tell: bool = True) -> None:
        """End the process group: every operation, here and on all ranks, now and later."""
        if self._failure is not None:
            return
        self._failure = error, cause
        if tell:
            self._tell_all(Kind.ABORT, [error.__name__, cause])
        self._waiting.clear()
        for operation in list(self._active):
            self._give_up(operation)

    def _give_up(self, operation: Operation) -> None:
        assert self._failure is not None
        error, cause = self._failure
        del self._active[operation]
        operation.finish(error(f"[rank {self.rank}] {operation.label}: {cause}"))

    def _tell_all(self, kind: Kind, content: list) -> None:
        payload = np.frombuffer(json.dumps(content).encode(), np.uint8)
        for peer in self.transport.peers:
            self.transport.send(peer, Fingerprint("barrier").pack(kind), payload)
