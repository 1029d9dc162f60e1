"""The transport: how messages get to every other rank, and news of who is gone.

Who a rank is, and whether it is alive, is ZeroMQ's business, over ipc within a host and tcp between
hosts (addresses.py). Each rank listens with one socket for each peer, and calls each peer with
another: `inbound` and `outbound`. They are PAIR sockets, which accept one peer and turn others
away, because a rank that vanishes must not be replaced by a stranger. Two of them for each peer,
because only the listening side of a broken connection still hands out what arrived before the
break, and the last words of a rank that leaves must not be lost. How they come to stand is told in
handshake.py and data_paths.py, and who is let in in security.py.

The messages themselves go through these sockets only where they have to be encrypted. Elsewhere
they have a stream of their own (streams.py), which needs no other thread: pipes within a host,
where large payloads go through shared memory (shared_memory.py), and plain TCP between hosts. A
rank sends all it has to say to a peer the same way, so it arrives in that order.

Invariants:
- A transport belongs to one thread at a time; only `wake` may be called from any.
- `send` never blocks and copies: the caller may overwrite the array at once. (Handing libzmq the
  array itself was no faster: its release has to come back through one more thread.) What has not
  left by then leaves in `wait`, and `unsent` says that there is such.
- The sockets' queues are unlimited, since a full queue stops libzmq from reading, and then it sees
  no heartbeats either. The algorithms limit what is under way.

Death is seen in two ways: the kernel closes the connection of a killed process at once, and
heartbeats, answered by libzmq's own thread even while Python computes, find one that is stopped,
or a broken cable, within HEARTBEAT_MS + HEARTBEAT_TIMEOUT_MS.

PyTorch: gloo/transport/tcp/ (pair.cc, device.cc).
"""

import contextlib
import socket
import time
from collections.abc import Collection
from typing import Any

import numpy as np
import zmq

from minitorch.distributed import log
from minitorch.distributed.algorithms.costs import LAPTOP
from minitorch.distributed.handshake import Handshake
from minitorch.distributed.message import HEADER_BYTES
from minitorch.distributed.shared_memory import SLOT_BYTES
from minitorch.distributed.streams import NO_SLOT, Place, Reader, Writer

# How long closing waits for a peer to take the last messages.
LINGER_MS = 2000
# How long the last words of a peer may be under way when its connection has broken.
LAST_WORDS_SECONDS = 1.0
# Below this, one frame with a copied payload is quicker than two frames.
SINGLE_FRAME_BYTES = 1 << 13
# See `Transport.segment_bytes`.
SOCKET_SEGMENT_BYTES = 3 << 18
NOTHING = np.empty(0, np.uint8)

Received = tuple[bytes | memoryview, memoryview]  # header, payload


class Transport:
    """Rank `rank`'s sockets to the other ranks of a job of `size` processes.

    `hosts` has a number for each rank, the same for those that share a host.

    The constructor returns when every connection stands. The ranks find each other through `store`,
    where they leave their addresses. Raises DistNetworkError or DistStoreError,
    naming the missing ranks, when that is not so within `timeout` seconds.
    """

    def __init__(self, rank: int, size: int, store, timeout: float) -> None:
        self.rank = rank
        self.size = size
        self.peers = [peer for peer in range(size) if peer != rank]
        self.lost: set[int] = set()  # the peers whose connection is broken
        self._broken: dict[int, float] = {}  # and since when that of each is
        log.set_rank(rank)
        self._context = zmq.Context(io_threads=1)
        self._context.linger = LINGER_MS
        self._context.sndhwm = self._context.rcvhwm = 0
        handshake = Handshake(self._context, rank, size, store, timeout)
        self._bell, self._bell_push = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_push.setblocking(False)
        self.hosts = handshake.hosts
        self._inbound = handshake.inbound
        self._outbound = handshake.outbound
        self._lookout = handshake.lookout
        paths = handshake.paths
        self._outbox, self._inboxes = paths.outbox, paths.inboxes
        self._readers, self._writers = paths.readers, paths.writers
        try:
            handshake.run()
        except BaseException:
            self.close(0)
            raise
        self.costs = LAPTOP  # until they are measured (calibration.py)
        self._sources: dict[int, Any] = dict(self._inbound)  # peer -> where its messages come from
        self._sources.update({peer: reader.file for peer, reader in self._readers.items()})
        self._peer_of = {source: peer for peer, source in self._sources.items()}
        self._writer_of = {writer.file: writer for writer in self._writers.values()}
        self._bell_poll = (self._bell.fileno(), zmq.POLLIN)

    @property
    def segment_bytes(self) -> int:
        """The size of pieces that suits the way to the others.

        A slot through shared memory. Less through sockets, where the kernel copies one piece while
        the next is being reduced.
        """
        return SLOT_BYTES if len(self._inboxes) == len(self.peers) else SOCKET_SEGMENT_BYTES

    def send(self, peer: int, header: bytes, payload: np.ndarray | None = None) -> None:
        """Queue a message to a peer. One to a peer that is gone is dropped: `lost` will say so."""
        writer = self._writers.get(peer)
        if writer is not None:
            self._write(writer, peer, header, payload)
            return
        connection = self._outbound[peer]
        with contextlib.suppress(zmq.Again):
            if payload is None:
                connection.send(header, zmq.NOBLOCK)
            elif payload.nbytes < SINGLE_FRAME_BYTES:
                connection.send(header + payload.tobytes(), zmq.NOBLOCK)
            else:
                connection.send(header, zmq.NOBLOCK | zmq.SNDMORE)
                connection.send(payload.view(np.uint8), zmq.NOBLOCK)

    def _write(self, writer: Writer, peer: int, header: bytes, payload: np.ndarray | None) -> None:
        content = NOTHING if payload is None else payload.view(np.uint8)
        slot = None
        if self._outbox is not None and peer in self._readers:
            slot = self._outbox.put(content)
        writer.send(header, content, NO_SLOT if slot is None else slot)

    def receive(self, peer: int, place: Place | None = None) -> Received | None:
        """The next message from a peer, put where `place` says; None if none is there."""
        reader = self._readers.get(peer)
        if reader is not None:
            return self._read(reader, peer, place)
        connection = self._inbound[peer]
        try:
            frame = connection.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        data = frame.buffer
        if frame.more:
            return data, connection.recv(copy=False).buffer
        return data[:HEADER_BYTES], data[HEADER_BYTES:]

    def _read(self, reader: Reader, peer: int, place: Place | None) -> Received | None:
        message = reader.receive(place)
        if message is None:
            if reader.ended:  # and would be ready for ever
                self._sources[peer] = self._inbound[peer]
                self._peer_of[self._inbound[peer]] = peer
            return None
        header, payload, slot, size = message
        return header, payload if slot == NO_SLOT else self._inboxes[peer].look(slot, size)

    def wait(self, peers: Collection[int], seconds: float) -> list[int]:
        """Sleep until one of `peers` has sent something, `wake` is called, or the time is over.

        Meanwhile sends what is still unsent. Returns the peers that have messages.
        """
        polls = [(self._sources[peer], zmq.POLLIN) for peer in peers]
        polls += [(w.file, zmq.POLLOUT) for w in self._writers.values() if w.unsent]
        polls.append(self._bell_poll)
        ready = []
        for source, _ in zmq.zmq_poll(polls, int(seconds * 1000) + 1):
            if source == self._bell_poll[0]:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
            elif source in self._writer_of:
                self._writer_of[source].flush()
            else:
                ready.append(self._peer_of[source])
        return ready

    @property
    def unsent(self) -> bool:
        """Whether something is left for `wait` to send."""
        return any([writer.unsent for writer in self._writers.values()])

    def let_go(self) -> None:
        """No longer put what arrives where a `place` has said."""
        for reader in self._readers.values():
            reader.let_go()

    def wake(self) -> None:
        """Let the thread that is in `wait` return."""
        with contextlib.suppress(OSError):
            self._bell_push.send(b"!")

    def check_connections(self) -> set[int]:
        """Look for connections that have broken; returns `lost`.

        As the queues are unlimited, a socket can always be written to, unless its peer is gone.
        (We never do write to the inbound ones.) What such a peer had sent can still be received.
        """
        self._lookout.look()
        now = time.monotonic()
        for peer, connection in self._inbound.items():
            if not connection.get(zmq.EVENTS) & zmq.POLLOUT:
                since = self._broken.setdefault(peer, now)
                if not self._may_say_more(peer) or now - since > LAST_WORDS_SECONDS:
                    self.lost.add(peer)
        return self.lost

    def _may_say_more(self, peer: int) -> bool:
        """Whether its last words may still be under way, on a connection of their own."""
        return peer in self._readers and not self._readers[peer].ended

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close all sockets, once what was sent has left, or after `linger_ms`."""
        if self._outbox is not None:
            self._outbox.close()
        lost = self._outbound.keys() & self.check_connections()
        self._finish_sending(lost, linger_ms / 1000)
        # Nobody takes what was sent to those, and the inbound ones have nothing to send. (Lingering
        # between data that still arrives and a peer that hangs up, they may run into an assertion
        # of libzmq at the next heartbeat: its issue 4364.)
        for connection in (*self._inbound.values(), *[self._outbound[p] for p in lost]):
            connection.close(0)
        self._context.destroy(linger_ms)
        for reader in self._readers.values():
            reader.close()
        for writer in self._writers.values():
            writer.close()
        self._bell.close()
        self._bell_push.close()

    def _finish_sending(self, lost: Collection[int], seconds: float) -> None:
        """Send what is unsent, except to those that are lost."""
        end = time.monotonic() + seconds
        late = [writer for peer, writer in self._writers.items() if peer not in lost]
        while late := [writer for writer in late if writer.unsent]:
            left = end - time.monotonic()
            if left <= 0:
                return
            for file, _ in zmq.zmq_poll([(w.file, zmq.POLLOUT) for w in late], int(left * 1000)):
                self._writer_of[file].flush()
