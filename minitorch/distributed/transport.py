"""The transport: ZeroMQ connections to every other rank, and news of who is gone.

Ranks on one host talk over ipc, and large payloads go through shared memory (shared_memory.py);
others talk over tcp (addresses.py). Each rank listens with one socket for each peer, and calls each
peer with another: `inbound` and `outbound`. They are PAIR sockets, which accept one peer and turn
others away, because a rank that vanishes must not be replaced by a stranger. Two of them for each
peer, because only the listening side of a broken connection still hands out what arrived before
the break, and the last words of a rank that leaves must not be lost. How they come to stand is told
in handshake.py, and who is let in in security.py.

Invariants:
- A transport belongs to one thread at a time; only `wake` may be called from any.
- `send` never blocks and copies: the caller may overwrite the array at once. (Handing libzmq the
  array itself was no faster: its release has to come back through one more thread.)
- The sockets' queues are unlimited, since a full queue stops libzmq from reading, and then it sees
  no heartbeats either. The algorithms limit what is under way.

Death is seen in two ways: the kernel closes the connection of a killed process at once, and
heartbeats, answered by libzmq's own thread even while Python computes, find one that is stopped,
or a broken cable, within HEARTBEAT_MS + HEARTBEAT_TIMEOUT_MS.

PyTorch: gloo/transport/tcp/ (pair.cc, device.cc).
"""

import contextlib
import socket
import struct
from collections.abc import Collection
from typing import Any

import numpy as np
import zmq

from minitorch.distributed import log
from minitorch.distributed.algorithms.costs import LAPTOP
from minitorch.distributed.handshake import Handshake
from minitorch.distributed.message import HEADER_BYTES
from minitorch.distributed.shared_memory import SLOT_BYTES

# How long closing waits for a peer to take the last messages.
LINGER_MS = 2000
# Below this, one frame with a copied payload is quicker than two frames.
SINGLE_FRAME_BYTES = 1 << 13
# See `Transport.segment_bytes`.
SOCKET_SEGMENT_BYTES = 1 << 19
# In place of a large payload: in which slot of the sender's outbox it is, and how long.
_BELL = struct.Struct("<iq")

Received = tuple[memoryview, memoryview]  # header, payload


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
        self._outbox = handshake.outbox
        self._readers = handshake.readers
        self._inboxes = handshake.inboxes
        try:
            handshake.run()
        except BaseException:
            self.close(0)
            raise
        self.costs = LAPTOP  # until they are measured (calibration.py)
        self._peer_of = {connection: peer for peer, connection in self._inbound.items()}
        self._polls = {peer: (s, zmq.POLLIN) for peer, s in self._inbound.items()}
        self._bell_poll = (self._bell.fileno(), zmq.POLLIN)

    @property
    def segment_bytes(self) -> int:
        """The size of pieces that suits the way to the others.

        A slot through shared memory, where each piece costs a bell. Less through sockets, where
        the kernel copies one piece while the next is being reduced.
        """
        near = len(self._inboxes) == len(self._readers) == len(self.peers)
        return SLOT_BYTES if near else SOCKET_SEGMENT_BYTES

    def send(self, peer: int, header: bytes, payload: np.ndarray | None = None) -> None:
        """Queue a message to a peer. One to a peer that is gone is dropped: `lost` will say so."""
        connection = self._outbound[peer]
        try:
            if payload is None:
                connection.send(header, zmq.NOBLOCK)
            elif payload.nbytes < SINGLE_FRAME_BYTES:
                connection.send(header + payload.tobytes(), zmq.NOBLOCK)
            else:
                content: Any = payload.view(np.uint8)
                if self._outbox is not None and peer in self._readers:
                    slot = self._outbox.put(content)
                    if slot is not None:
                        content = _BELL.pack(slot, payload.nbytes)
                connection.send(header, zmq.NOBLOCK | zmq.SNDMORE)
                connection.send(content, zmq.NOBLOCK)
        except zmq.Again:
            return

    def receive(self, peer: int) -> Received | None:
        """The next message from a peer, or None if none is there."""
        connection = self._inbound[peer]
        try:
            frame = connection.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        data = frame.buffer
        if frame.more:
            content = connection.recv(copy=False).buffer
            if len(content) == _BELL.size:
                content = self._inboxes[peer].look(*_BELL.unpack(content))
            return data, content
        return data[:HEADER_BYTES], data[HEADER_BYTES:]

    def wait(self, peers: Collection[int], seconds: float) -> list[int]:
        """Sleep until one of `peers` has sent something, `wake` is called, or the time is over.

        Returns the peers that have messages.
        """
        polls = [self._polls[peer] for peer in peers]
        polls.append(self._bell_poll)
        ready = []
        for source, _ in zmq.zmq_poll(polls, int(seconds * 1000) + 1):
            if source == self._bell_poll[0]:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
            else:
                ready.append(self._peer_of[source])
        return ready

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
        for peer, connection in self._inbound.items():
            if not connection.get(zmq.EVENTS) & zmq.POLLOUT:
                self.lost.add(peer)
        return self.lost

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close all sockets, once what was sent has left, or after `linger_ms`."""
        if self._outbox is not None:
            self._outbox.close()
        lost = self._outbound.keys() & self.check_connections()
        # Nobody takes what was sent to those, and the inbound ones have nothing to send. (Lingering
        # between data that still arrives and a peer that hangs up, they may run into an assertion
        # of libzmq at the next heartbeat: its issue 4364.)
        for connection in (*self._inbound.values(), *[self._outbound[p] for p in lost]):
            connection.close(0)
        self._context.destroy(linger_ms)
        self._bell.close()
        self._bell_push.close()
