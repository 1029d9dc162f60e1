"""The handshake: from a store that all ranks can reach to a proven connection between any two.

1. Rank 0 leaves the job's number in the store. With the secret it makes this job's keys.
2. Each rank leaves its host and address, signed; so all know who shares a host with whom.
3. Each rank opens a socket for each peer to call, and a stream for its data (streams.py) where that
   is not encrypted: a pipe on one host, a gate for a TCP connection otherwise. It leaves the places
   of all these, signed.
4. Each rank calls all others, showing its key, and says HELLO, and whether it has taken the stream.
   It is done when all have said it.

Invariant: at the end all connections stand, or an error names the ranks that are missing. In the
meantime a warning says every few seconds for whom this rank waits.

PyTorch: ProcessGroupGloo's connectFullMesh (gloo/rendezvous/context.cc), which has no step 1.
"""

import json
import secrets
import time
from collections.abc import Collection
from typing import Any

import zmq

from minitorch.distributed.addresses import host_identity, network_endpoint, same_host_endpoint
from minitorch.distributed.data_paths import DataPaths
from minitorch.distributed.errors import DistNetworkError, DistStoreError, name_ranks
from minitorch.distributed.log import logger
from minitorch.distributed.message import Fingerprint, Kind
from minitorch.distributed.rendezvous import let_others_hear
from minitorch.distributed.security import Doorkeeper, Keys, Lookout, encrypts, job_secret
from minitorch.distributed.store.patience import wait_until

HEARTBEAT_MS = 500
HEARTBEAT_TIMEOUT_MS = 3000
# A call that fails is not made again: the peer has ended, or takes us for a stranger. So long its
# HELLO, which comes by another way, may still be under way.
BROKEN_SECONDS = 1.0


class Handshake:
    """Connects rank `rank` with the other ranks of a job of `size` processes.

    `inbound` and `outbound` hold a socket for each peer, `hosts` a number for each rank, the same
    for those that share a host. `lookout` watches for strangers. `paths` are the ways round the
    sockets.
    """

    def __init__(
        self, context: zmq.Context, rank: int, size: int, store: Any, timeout: float
    ) -> None:
        self.inbound: dict[int, Any] = {}
        self.outbound: dict[int, Any] = {}
        self.hosts: list[int] = []
        self.lookout = Lookout()
        self._ended: dict[int, Any] = {}  # peer -> where we hear that our call has failed
        self._context = context
        self._rank = rank
        self._size = size
        self._peers = [peer for peer in range(size) if peer != rank]
        self._store = store
        self._start = time.monotonic()
        self._timeout = timeout
        self.paths = DataPaths(rank, size, self._start + timeout)

    def run(self) -> None:
        """Do it all. Raises DistNetworkError or DistStoreError, naming ranks, or ValueError."""
        try:
            self._connect()
        finally:
            self.paths.close_doors()

    def _connect(self) -> None:
        self._store.last_will("gone", f"rank {self._rank} ended before all ranks were connected")
        if self._rank == 0:
            self._store.set("job/0", secrets.token_hex(16))
        self._wait_for("job", [0])
        secret = job_secret(self._size)
        self._keys = Keys(secret, self._store.get("job/0"))
        doorkeeper = Doorkeeper(self._context, self._keys, self._rank)

        me = {"host": host_identity(), "address": self._own_address()}
        if self.paths.outbox is not None:
            me["memory"] = self.paths.outbox.address
        self._publish("rank", me)
        records = self._collect("rank", range(self._size))
        names = [records[rank]["host"] for rank in range(self._size)]
        self.hosts += [names.index(name) for name in names]
        if not secret and len(set(names)) > 1:
            logger.info(
                "the ranks are on several hosts and share no secret: whoever can reach the store "
                "can join the job. MINITORCH_SECRET_FILE keeps others out (docs/security.md)."
            )

        places = {}
        for peer in self._peers:
            endpoint = self._listen(doorkeeper, peer, records[peer]["address"])
            stream = self.paths.open(peer, endpoint, self._same_host(peer), self._keys)
            places[peer] = [endpoint, stream]
        self._publish("endpoints", places)
        for peer, theirs in self._collect("endpoints", self._peers).items():
            endpoint, stream = theirs[str(self._rank)]
            self.paths.take(peer, stream, records[peer].get("memory"), self._keys)
            self.outbound[peer] = self._call(peer, endpoint)

        self._greet(doorkeeper)
        self.paths.admit()
        doorkeeper.close()
        for socket in self.outbound.values():
            socket.disable_monitor()
        logger.info(
            "connected: %d ranks on %d host(s), in %.2f s",
            self._size,
            len(set(names)),
            time.monotonic() - self._start,
        )

    def _publish(self, kind: str, content: dict) -> None:
        name = f"{kind}/{self._rank}"
        self._store.set(name, self._keys.sign(name, json.dumps(content)))

    def _collect(self, kind: str, ranks: Collection[int]) -> dict[int, dict]:
        """What each of `ranks` has published, when all have."""
        self._wait_for(kind, ranks)
        found = {}
        for rank in ranks:
            name = f"{kind}/{rank}"
            text = self._keys.verify(name, self._store.get(name).decode(errors="replace"))
            if text is None:
                raise DistNetworkError(
                    f"what rank {rank} left in the store is not signed with the secret that rank "
                    f"{self._rank} has: start all ranks with one launcher, or give all of them "
                    "the same MINITORCH_SECRET_FILE (docs/security.md)"
                )
            found[rank] = json.loads(text)
        return found

    def _wait_for(self, kind: str, ranks: Collection[int]) -> None:
        """Return when each of `ranks` has published this."""
        keys = {rank: f"{kind}/{rank}" for rank in ranks}

        def missing() -> str:
            return name_ranks(r for r, key in keys.items() if not self._store.check([key]))

        def all_come(seconds: float) -> bool:
            end = time.monotonic() + seconds
            while not self._store.wait_at_most(list(keys.values()), min(seconds, 1.0)):
                if self._store.check(["gone"]):
                    news = self._settle_on("")
                    raise DistStoreError(f"rank {self._rank} in init_process_group: {news}")
                seconds = end - time.monotonic()
                if seconds <= 0:
                    return False
            return True

        if not wait_until(all_come, self._left(), missing):
            news = f"{missing()} of {self._size} did not come"
            self._settle_on(f"{news} within {self._timeout:g} s")
            raise DistStoreError(
                f"rank {self._rank} waited {self._timeout:g} s in init_process_group, but {news}"
            )

    def _settle_on(self, news: str) -> str:
        """Give up, for one reason on all ranks: the first that anybody had. Rank 0, with which the
        store may end, lets the others read it first."""
        news = self._store.compare_set("gone", "", news).decode()
        self._store.add("heard", 1)
        if self._rank == 0:
            let_others_hear(self._store)
        return news

    def _own_address(self) -> str:
        """The address by which this host reached the store."""
        return getattr(self._store, "local_address", "127.0.0.1")

    def _same_host(self, peer: int) -> bool:
        return self.hosts[peer] == self.hosts[self._rank]

    def _listen(self, doorkeeper: Doorkeeper, peer: int, address: str) -> str:
        """Open a socket that only `peer` can connect to; returns where."""
        near = self._same_host(peer)
        endpoint = same_host_endpoint() if near else network_endpoint(address)
        socket = self._open(endpoint)
        doorkeeper.guard(socket, peer, encrypts(near))
        self.lookout.watch(socket, peer)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise DistNetworkError(
                f"rank {self._rank} could not listen at {endpoint} for rank {peer}: {error}"
            ) from error
        self.inbound[peer] = socket
        place = socket.get_string(zmq.LAST_ENDPOINT)
        logger.debug("listening for rank %d at %s", peer, place)
        return place

    def _call(self, peer: int, endpoint: str) -> Any:
        """A socket connected to the one where `peer` listens for us."""
        encrypted = encrypts(self._same_host(peer))
        socket = self._open(endpoint)
        self._keys.show(socket, peer, self._rank, encrypted)
        self._ended[peer] = socket.get_monitor_socket(zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED)
        socket.connect(endpoint)
        logger.debug("calling rank %d at %s%s", peer, endpoint, ", encrypted" if encrypted else "")
        return socket

    def _greet(self, doorkeeper: Doorkeeper) -> None:
        """Say HELLO to every peer and hear it from every peer."""
        for peer, socket in self.outbound.items():
            socket.send(_hello(self._rank, takes=peer in self.paths.writers))
        silent = {socket: peer for peer, socket in self.inbound.items()}
        broken: dict[int, float] = {}  # peer -> since when our call to it is broken

        def all_heard(seconds: float) -> bool:
            end = time.monotonic() + seconds
            while silent and time.monotonic() < end:
                self._hear(silent, doorkeeper)
                self._check_calls(silent.values(), broken)
            return not silent

        if not wait_until(all_heard, self._left(), lambda: name_ranks(silent.values())):
            raise DistNetworkError(
                f"rank {self._rank} could not connect to {name_ranks(silent.values())} within "
                f"{self._timeout:g} s: no answer. Can the hosts reach each other, or does a "
                "firewall stand between them?"
            )

    def _hear(self, silent: dict[Any, int], doorkeeper: Doorkeeper) -> None:
        """Take the HELLOs that come within a moment, and let in those who show their key."""
        polls = [(socket, zmq.POLLIN) for socket in (*silent, doorkeeper.socket)]
        for socket, _ in zmq.zmq_poll(polls, 100):
            if socket is doorkeeper.socket:
                doorkeeper.answer()
                continue
            peer, hello = silent[socket], socket.recv()
            if hello not in (_hello(peer, False), _hello(peer, True)):
                raise DistNetworkError(
                    f"what calls itself rank {peer} speaks another language than rank "
                    f"{self._rank}: is it another version of minitorch?"
                )
            if hello == _hello(peer, False):
                self.paths.give_up(peer)
            logger.debug("heard from rank %d", silent.pop(socket))

    def _check_calls(self, peers: Collection[int], broken: dict[int, float]) -> None:
        """Raise an error if our call to one of `peers`, not yet heard from, has failed for good."""
        now = time.monotonic()
        for peer in peers:
            if not self._ended[peer].get(zmq.EVENTS) & zmq.POLLIN:
                continue
            if now - broken.setdefault(peer, now) > BROKEN_SECONDS:
                raise DistNetworkError(
                    f"rank {peer} hung up on rank {self._rank} while they were connecting: it "
                    "has ended, or takes us for a stranger"
                )

    def _open(self, endpoint: str) -> Any:
        socket = self._context.socket(zmq.PAIR)
        socket.ipv6 = "[" in endpoint
        socket.reconnect_ivl = -1
        socket.heartbeat_ivl = HEARTBEAT_MS
        socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        return socket

    def _left(self) -> float:
        return self._start + self._timeout - time.monotonic()


def _hello(rank: int, takes: bool) -> bytes:
    return Fingerprint("barrier", number=rank, elements=int(takes)).pack(Kind.HELLO)
