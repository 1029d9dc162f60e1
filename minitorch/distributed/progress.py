"""The event loop that moves operations along.

An operation (operation.py) stops where it waits for a message; the loop resumes it when the message
arrives. So any number can be in flight, and a posted receive does not keep a send from starting.

Who runs the loop? Whoever holds `_driving`. A thread that waits for an operation runs the loop
itself if nobody else does: a blocking collective costs no hand-over between threads, which would
take longer than a small message. Operations that nobody waits for (async_op=True) are left to a
background thread, woken only for them. Either way one thread at a time touches the sockets.

Invariant: whenever `_driving` is free and an operation is unfinished, somebody is about to take it.
(Who lets go of it looks again for operations that were left to him, and calls the background.)

PyTorch: torch/csrc/distributed/c10d/ProcessGroupGloo.cpp (`runLoop`), with a thread pool.
"""

import threading
import time
from collections import deque

import numpy as np

from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.link import ANY
from minitorch.distributed.message import Kind, lane_of
from minitorch.distributed.operation import Operation
from minitorch.distributed.recorder import FlightRecorder
from minitorch.distributed.transport import Transport
from minitorch.distributed.watch import Watch

# How often the loop looks for deaths and time-outs.
CHECK_SECONDS = 0.1
# How often it asks whether a GPU's data have arrived, where an operation waits for them.
STAGE_SECONDS = 0.0005

Mailbox = dict[
    tuple[int, tuple[int, int]], deque
]  # (global rank, lane) -> first come, first served


class Progress:
    """The operations of one process and the loop that runs them over `transport`."""

    def __init__(self, transport: Transport) -> None:
        self.rank = transport.rank
        self.transport = transport
        self._watch = Watch(transport)
        self._recorder = FlightRecorder(transport.rank, transport.size)
        self._incoming: deque[Operation] = deque()
        self._active: dict[Operation, None] = {}
        self._waiting: Mailbox = {}  # operations, by the message that they wait for
        self._arrived: Mailbox = {}  # messages that no operation has asked for yet
        self._last: dict[int, int] = {}  # group -> number of the last collective started
        self._next_check = 0.0
        self._closing = False
        self._driving = threading.Lock()
        self._needed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, operation: Operation) -> None:
        """Start an operation and let the background thread see to it."""
        self._recorder.add(operation)
        self._incoming.append(operation)
        if self._driving.acquire(blocking=False):
            try:
                self._start_incoming()
            except BaseException as error:
                self._fail(error)
            finally:
                self._driving.release()
        self._call_background()

    def run(self, operation: Operation) -> None:
        """Start an operation and return when it is done."""
        self._recorder.add(operation)
        self._incoming.append(operation)
        self.wait(operation)

    def wait(self, operation: Operation) -> None:
        """Return when an operation is done, running the loop unless another thread does."""
        start = time.perf_counter_ns() if operation.chunks is not None else 0
        if self._driving.acquire(blocking=False):
            try:
                self._drive(operation)
            finally:
                self._driving.release()
            self._call_background()
        else:
            self.transport.wake()
        if not operation.done:
            operation.join()
        if operation.chunks is not None:
            operation.chunks.waited(start)

    def close(self) -> None:
        """Say goodbye to every rank and close the connections; what is in flight fails."""
        if self._closing:
            return
        self._closing = True
        self._recorder.close()
        self._needed.set()
        self.transport.wake()
        if not self._driving.acquire(timeout=5):
            # Somebody is stuck in an algorithm, or this is a signal handler that interrupted the
            # very thread that drives. Leave the sockets to it; but nothing may be waited for.
            self._watch.fail(DistBackendError, "the process group was destroyed", tell=False)
            return
        try:
            last = {group: self._completed(group) for group in self._last}
            self._watch.fail(DistBackendError, "the process group was destroyed", tell=False)
            self._start_incoming()  # and let it fail, with all the rest
            self._watch.say_goodbye(last)
            self.transport.close()
        finally:
            self._driving.release()
        if self._thread is not None:
            self._thread.join(1)

    def _call_background(self) -> None:
        if self._closing or not self._unfinished():
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._background, name="minitorch-communication", daemon=True
            )
            self._thread.start()
        self._needed.set()
        self.transport.wake()

    def _unfinished(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._incoming or self._active or self.transport.unsent)

    def _background(self) -> None:
        while not self._closing:
            self._needed.wait()
            self._needed.clear()
            while self._unfinished() and not self._closing:
                with self._driving:
                    self._drive(None)

    def _drive(self, until: Operation | None) -> None:
        """Run the loop until an operation is done; None stands for all of them."""
        try:
            while not self._closing:
                now = time.monotonic()
                if now >= self._next_check:  # before a late rank starts what others have given up
                    self._next_check = now + CHECK_SECONDS
                    self._check(now)
                self._start_incoming()
                if until.done if until is not None else not self._unfinished():
                    return
                wait = STAGE_SECONDS if self._incoming else self._next_check - now
                for peer in self.transport.wait(self._awaited_peers(), wait):
                    self._receive(peer)  # one message: the operation may be done with it
            self._start_incoming()  # what came after `close` fails, too
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Something went wrong in here: it ends the operations of all ranks."""
        self._watch.fail(DistBackendError, f"rank {self.rank} failed: {error!r}")
        self._give_up()
        if not isinstance(error, Exception):
            raise error  # Ctrl-C

    def _check(self, now: float) -> None:
        lost = set(self.transport.check_connections())
        # Only now, so that the last words of those that are lost are among the messages.
        for peer in self.transport.peers:
            while self._receive(peer):
                pass
        # With those about to start: where calls are short, none is active when the time for a check
        # comes, and the death of a rank that takes no part in them would not be noticed.
        self._watch.inspect([*self._active, *self._incoming], lost, now)
        self._give_up()

    def _start_incoming(self) -> None:
        while self._incoming and self._may_start(self._incoming[0]):
            operation = self._incoming.popleft()
            if operation.is_collective:
                self._last[operation.call.group] = operation.call.number
            self._active[operation] = None
            if self._watch.failure is None:
                self._advance(operation, None)
        self._give_up()

    def _may_start(self, operation: Operation) -> bool:
        """Whether the host has the data; those of a GPU may not be computed yet."""
        stage = operation.stage
        return stage is None or stage.has_arrived() or self._watch.failure is not None

    def _advance(self, operation: Operation, message: np.ndarray | None) -> None:
        """Resume an operation, for as long as the messages that it asks for are there already."""
        while True:
            if operation.chunks is not None and message is not None:
                operation.chunks.received(operation.source, message)
            try:
                source = operation.steps.send(message)  # type: ignore[arg-type]
            except StopIteration:
                del self._active[operation]
                operation.finish()
                self._watch.go_on(operation)
                return
            operation.awaited = ANY if source == ANY else operation.members[source]
            found = self._take(operation)
            if found is None:
                key = operation.awaited, operation.lane
                queue = self._waiting.setdefault(key, deque())
                if message is None:
                    queue.append(operation)
                else:  # it has begun to receive: later receives from this rank go behind it
                    queue.appendleft(operation)
                return
            message = self._open(operation, *found)
            if message is None:
                return

    def _take(self, operation: Operation) -> tuple | None:
        """The message that an operation asks for, if it arrived before."""
        awaited = operation.awaited
        for peer in operation.members if awaited == ANY else (awaited,):
            if box := self._arrived.get((peer, operation.lane)):
                header, payload = box.popleft()
                if not box:
                    del self._arrived[peer, operation.lane]
                return peer, header, payload
        return None

    def _receive(self, peer: int) -> bool:
        """Hand a peer's next message to the operation that waits for it, or keep it until one does.

        Returns False if there is none.
        """
        message = self.transport.receive(peer, lambda header, size: self._place(peer, header, size))
        if message is None:
            return False
        header, payload = message
        if header[0] != Kind.DATA:
            self._watch.hear(peer, header, payload, self._active)
            self._give_up()
            return True
        lane = lane_of(header)
        for key in ((peer, lane), (ANY, lane)):
            if queue := self._waiting.get(key):
                operation = queue.popleft()
                if not queue:
                    del self._waiting[key]
                array = self._open(operation, peer, header, payload)
                if array is not None:
                    self._advance(operation, array)
                return True
        self._arrived.setdefault((peer, lane), deque()).append(message)
        return True

    def _place(self, peer: int, header: bytes, size: int) -> memoryview | None:
        """Where the operation that waits for a message wants its payload, if it has said so.

        While the payload comes no other operation can get before it, except that all are ended.
        """
        queue = self._waiting.get((peer, lane_of(header)))
        if not queue or header != queue[0].expected(peer):
            return None
        into = queue[0].into
        if into is None or into.nbytes != size:
            return None
        queue[0].into = None
        return into.view(np.uint8).data

    def _open(self, operation: Operation, peer: int, header, payload) -> np.ndarray | None:
        """A message's array, once its header shows that both ranks mean the same call."""
        if header != operation.expected(peer):
            self._watch.mismatch(operation, peer, header)
            self._give_up()
            return None
        operation.source = operation.members.index(peer)
        if not payload.nbytes:
            return np.empty(0, operation.dtype)
        return np.frombuffer(payload, operation.dtype)

    def _give_up(self) -> None:
        """Once the process group is over, end every operation."""
        if self._watch.failure is not None and self._active:
            self._recorder.dump(self._watch.failure[1])
            self.transport.let_go()  # their arrays belong to the caller again
            for operation in self._active:
                operation.finish(self._watch.error_for(operation))
            self._active.clear()
            self._waiting.clear()

    def _awaited_peers(self) -> set[int]:
        peers = {peer for peer, _ in self._waiting}
        return set(self.transport.peers) if ANY in peers else peers

    def _completed(self, group: int) -> int:
        """The number of the last collective that is done, as are all before it."""
        unfinished = [
            operation.call.number
            for operation in [*self._active, *self._incoming]
            if operation.call.group == group and operation.is_collective
        ]
        return min(unfinished) - 1 if unfinished else self._last[group]
