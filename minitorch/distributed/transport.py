"""The transport: ZeroMQ connections to every other rank, and news of who is gone.

Ranks on one host talk over ipc, others over tcp. Each rank listens with one socket for each peer,
and calls each peer with another: `inbound` and `outbound`. They are PAIR sockets, which accept one
peer and turn others away, because a rank that vanishes must not be replaced by a stranger. Two of
them for each peer, because only the listening side of a broken connection still hands out what
arrived before the break, and the last words of a rank that leaves must not be lost.

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
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from minitorch.distributed.errors import DistNetworkError, DistStoreError
from minitorch.distributed.message import HEADER_BYTES, Fingerprint, Kind

HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000
# How long closing waits for a peer to take the last messages.
LINGER_MS = 2000
# Below this, one frame with a copied payload is quicker than two frames.
SINGLE_FRAME_BYTES = 1 << 13

Received = tuple[memoryview, memoryview]  # header, payload


class Transport:
    """Rank `rank`'s sockets to the other ranks of a job of `size` processes.

    The constructor returns when every connection stands. The ranks find each other through `store`,
    where they leave their addresses. Raises DistNetworkError or DistStoreError,
    naming the missing ranks, when that is not so within `timeout` seconds.
    """

    def __init__(self, rank: int, size: int, store, timeout: float) -> None:
        self.rank = rank
        self.size = size
        self.peers = [peer for peer in range(size) if peer != rank]
        self.lost: set[int] = set()  # the peers whose connection is broken
        self._context = zmq.Context(io_threads=1)
        self._inbound: dict[int, Any] = {}
        self._outbound: dict[int, Any] = {}
        self._bell, self._bell_push = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_push.setblocking(False)
        try:
            self._connect(store, time.monotonic() + timeout)
        except BaseException:
            self.close(0)
            raise
        self._peer_of = {connection: peer for peer, connection in self._inbound.items()}
        self._polls = {peer: (s, zmq.POLLIN) for peer, s in self._inbound.items()}
        self._bell_poll = (self._bell.fileno(), zmq.POLLIN)

    def send(self, peer: int, header: bytes, payload: np.ndarray | None = None) -> None:
        """Queue a message to a peer. One to a peer that is gone is dropped: `lost` will say so."""
        connection = self._outbound[peer]
        try:
            if payload is None:
                connection.send(header, zmq.NOBLOCK)
            elif payload.nbytes < SINGLE_FRAME_BYTES:
                connection.send(header + payload.tobytes(), zmq.NOBLOCK)
            else:
                connection.send(header, zmq.NOBLOCK | zmq.SNDMORE)
                connection.send(payload.view(np.uint8), zmq.NOBLOCK)
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
            return data, connection.recv(copy=False).buffer
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
        for peer, connection in self._inbound.items():
            if not connection.get(zmq.EVENTS) & zmq.POLLOUT:
                self.lost.add(peer)
        return self.lost

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close all sockets, once what was sent has left, or after `linger_ms`."""
        self._context.destroy(linger_ms)
        self._bell.close()
        self._bell_push.close()

    def _connect(self, store, deadline: float) -> None:
        """Meet the other ranks: exchange addresses, open the sockets, shake hands."""
        me = {
            "host": _host_identity(),
            "address": _own_address(store),
            "token": secrets.token_hex(16),
        }
        store.set(f"rank/{self.rank}", json.dumps(me))
        records = self._collect(store, "rank", self.peers, deadline)
        records[self.rank] = me
        endpoints = {}
        for peer in self.peers:
            same_host = records[peer]["host"] == me["host"]
            self._inbound[peer] = self._open()
            self._inbound[peer].bind(_endpoint(same_host, me["address"]))
            endpoints[peer] = self._inbound[peer].get_string(zmq.LAST_ENDPOINT)
        store.set(f"endpoints/{self.rank}", json.dumps(endpoints))
        for peer, theirs in self._collect(store, "endpoints", self.peers, deadline).items():
            self._outbound[peer] = self._open()
            self._outbound[peer].connect(theirs[str(self.rank)])
        self._shake_hands(records[0]["token"].encode(), deadline)

    def _shake_hands(self, token: bytes, deadline: float) -> None:
        """Say hello to every peer and hear it from every peer."""
        for connection in self._outbound.values():
            connection.send(Fingerprint("barrier", number=self.rank).pack(Kind.HELLO) + token)
        silent = {connection: peer for peer, connection in self._inbound.items()}
        while silent:
            for connection, _ in zmq.zmq_poll([(s, zmq.POLLIN) for s in silent], 100):
                peer = silent.pop(connection)
                hello = Fingerprint("barrier", number=peer).pack(Kind.HELLO) + token
                if connection.recv() != hello:
                    raise DistNetworkError(
                        f"something that is not rank {peer} of this job has connected to "
                        f"rank {self.rank} in its place"
                    )
            if silent and time.monotonic() > deadline:
                raise DistNetworkError(
                    f"rank {self.rank} could not connect to {name_ranks(silent.values())}: "
                    "no answer. Can the hosts reach each other?"
                )

    def _open(self) -> Any:
        connection = self._context.socket(zmq.PAIR)
        connection.linger = LINGER_MS
        connection.sndhwm = connection.rcvhwm = 0
        connection.ipv6 = True
        connection.reconnect_ivl = -1
        connection.heartbeat_ivl = HEARTBEAT_MS
        connection.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        return connection

    def _collect(self, store, kind: str, peers: Iterable[int], deadline: float) -> dict[int, dict]:
        """What each of `peers` has left in the store, waiting until all have."""
        keys = [f"{kind}/{peer}" for peer in peers]
        seconds = deadline - time.monotonic()
        try:
            store.wait(keys, timedelta(seconds=max(0.0, seconds)))
        except Exception as error:
            missing = [peer for peer in peers if not store.check([f"{kind}/{peer}"])]
            if not missing:
                raise
            raise DistStoreError(
                f"rank {self.rank} waited {seconds:.0f} s in init_process_group, but "
                f"{name_ranks(missing)} of {self.size} did not come"
            ) from error
        return {peer: json.loads(store.get(key)) for peer, key in zip(peers, keys, strict=True)}


def name_ranks(ranks: Iterable[int]) -> str:
    """`rank 3`, or `ranks 1, 3`."""
    names = [str(rank) for rank in sorted(ranks)]
    return ("rank " if len(names) == 1 else "ranks ") + ", ".join(names)


def _own_address(store) -> str:
    """The address by which this host reached the store, so that others can reach it."""
    return getattr(store, "local_address", "127.0.0.1")


def _host_identity() -> str:
    """A name that two processes share exactly if they can reach each other over ipc."""
    if sys.platform != "linux":
        return socket.gethostname()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/net')}"


def _endpoint(same_host: bool, address: str) -> str:
    """Where to listen for a peer; a tcp port is left to the system to choose.

    The ipc name is an abstract one (Linux): it is no file, so nothing is left behind by a crash.
    """
    if same_host and os.environ.get("MINITORCH_TRANSPORT", "ipc") == "ipc":
        if sys.platform == "linux":
            return f"ipc://@minitorch-{secrets.token_hex(16)}"
        address = "127.0.0.1"
    return f"tcp://[{address}]:*" if ":" in address else f"tcp://{address}:*"
