"""TCPStore: a store that one process hosts and all others use over the network.

Invariant: a request and its reply stay together, so a connection is used by one thread at a time,
and after a failure in between it is closed for good. A connection that cannot be made is tried
again until the time-out, and then an error says where and for how long; a server that goes away is
an error at once.

PyTorch: torch/csrc/distributed/c10d/TCPStore.cpp
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from minitorch.distributed.errors import DistNetworkError, DistStoreError
from minitorch.distributed.store.base import (
    DEFAULT_TIMEOUT,
    REPORT_EVERY,
    HashStore,
    Store,
    as_bytes,
)
from minitorch.distributed.store.server import (
    COUNT,
    INTEGER,
    MAGIC,
    NONCE,
    READY,
    STOP_WAITING,
    Query,
    StoreServer,
    is_loopback,
    pack,
)

logger = logging.getLogger("minitorch.distributed")


class TCPStore(Store):
    """A store shared over TCP: one process hosts the table, all are its clients.

    With `is_master` this process hosts it (port 0 takes a free port, read it from `.port`), else
    a connection is tried until the time-out. With `world_size` and `wait_for_workers` the master
    returns only when so many clients have joined. `multi_tenant` shares a server that this same
    process already hosts at the port. Mirrors torch.distributed.TCPStore, wire protocol included.

    Raises DistNetworkError when the port is taken, the master cannot be reached or goes away, and
    DistStoreError when a key or the workers do not come in time.
    """

    _KEY = "/"  # PyTorch's clients begin every key so, and count themselves in "init/"

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = DEFAULT_TIMEOUT,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
    ):
        super().__init__(timeout)
        self.host, self.port = host_name, port
        self._socket: socket.socket | None = None
        self._broken = "it was closed here"
        self._server: StoreServer | None = None
        self._lock = threading.Lock()  # a request and its reply belong together
        if is_master:
            self._server = StoreServer.at(port) if multi_tenant else None
            self._server = self._server or StoreServer(host_name, port, HashStore())
            self._server.users += 1
            self.port = self._server.port
        try:
            self._socket = self._connect()
            if world_size is not None and wait_for_workers:
                self._wait_for_workers(world_size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up, and stop the server if this store hosts it (for nobody else in the process)."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        server, self._server = self._server, None
        if server is not None:
            server.users -= 1
            if not server.users:
                server.close()

    def __del__(self):
        if hasattr(self, "_socket"):
            self.close()

    def clone(self) -> "TCPStore":
        """A second connection to the same table, for another thread: a wait in one thread holds
        this store's only connection for seconds at a time."""
        return TCPStore(self.host, self.port, timeout=self._timeout)

    def set_timeout(self, timeout):
        super().set_timeout(timeout)
        self._connection().settimeout(_patience(timeout))

    @property
    def local_address(self) -> str:
        """This machine's address on the network that reaches the store: the one to tell peers.

        The store's own machine may know itself under a loopback address (many systems map the
        host name to 127.0.1.1); then it is the name under which the peers have found the store.
        """
        address = self._connection().getsockname()[0]
        return self.host if is_loopback(address) else address

    def set(self, key, value):
        self._ask(Query.SET, self._name(key), pack(as_bytes(value)))

    def get(self, key):
        self.wait([key])
        return self._ask(Query.GET, self._name(key), reply=self._value)

    def add(self, key, amount):
        return self._ask(Query.ADD, self._name(key), INTEGER.pack(amount), reply=self._integer)

    def check(self, keys):
        return self._ask(Query.CHECK, self._names(keys), reply=self._byte) == READY

    def compare_set(self, key, expected, desired):
        values = pack(as_bytes(expected)), pack(as_bytes(desired))
        return self._ask(Query.COMPARE_SET, self._name(key), *values, reply=self._value)

    def delete_key(self, key):
        return bool(self._ask(Query.DELETE_KEY, self._name(key), reply=self._integer))

    def num_keys(self):
        return self._ask(Query.NUM_KEYS, reply=self._integer)

    def append(self, key, value):
        self._ask(Query.APPEND, self._name(key), pack(as_bytes(value)))

    def multi_get(self, keys):
        self.wait(keys)
        return self._ask(
            Query.MULTI_GET, self._names(keys), reply=lambda: [self._value() for _ in keys]
        )

    def multi_set(self, keys, values):
        if len(keys) != len(values):
            raise DistStoreError(f"multi_set got {len(keys)} keys but {len(values)} values")
        pairs = zip(keys, values, strict=True)
        fields = [self._name(key) + pack(as_bytes(value)) for key, value in pairs]
        self._ask(Query.MULTI_SET, COUNT.pack(len(keys)), *fields)

    def wait_at_most(self, keys, seconds):
        return self._ask(Query.WAIT, self._names(keys), reply=lambda: self._await_reply(seconds))

    def _await_reply(self, seconds: float) -> bool:
        """The answer to WAIT, or a withdrawal of the question. A withdrawal is always confirmed,
        even when the answer crosses it on the way."""
        connection = self._connection()
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if poll.poll(seconds * 1000):
            return self._byte() == STOP_WAITING
        connection.sendall(bytes([Query.CANCEL_WAIT]))
        in_time = self._byte() == STOP_WAITING
        if in_time:
            self._byte()
        return in_time

    def _name(self, key: str) -> bytes:
        return pack(self._KEY + key)

    def _names(self, keys: Sequence[str]) -> bytes:
        return COUNT.pack(len(keys)) + b"".join([self._name(key) for key in keys])

    def _ask(self, query: Query, *fields: bytes, reply: Callable[[], Any] | None = None) -> Any:
        """Send one request and read its reply. After a failure the stream is out of step, so the
        connection is closed and every later request fails at once."""
        with self._lock:
            connection = self._connection()
            try:
                connection.sendall(bytes([query]) + b"".join(fields))
                return reply() if reply else None
            except BaseException as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._broken = f"{query.name} ended with {reason}"
                connection.close()
                self._socket = None
                if isinstance(error, OSError):
                    raise self._connection_lost() from error
                raise  # a Ctrl-C, most likely

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise self._connection_lost()
        return self._socket

    def _connection_lost(self) -> DistNetworkError:
        return DistNetworkError(
            f"lost the store at {self.host}:{self.port}: {self._broken}. The process that hosts "
            f"it (rank 0 or the launcher) has probably ended."
        )

    def _receive(self, size: int) -> bytes:
        connection = self._connection()
        parts = []
        while size:
            part = connection.recv(size)
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _byte(self) -> bytes:
        return self._receive(1)

    def _integer(self) -> int:
        return INTEGER.unpack(self._receive(INTEGER.size))[0]

    def _value(self) -> bytes:
        return self._receive(COUNT.unpack(self._receive(COUNT.size))[0])

    def _connect(self) -> socket.socket:
        """A connection to a live store, tried again until the time-out."""
        limit = self._timeout.total_seconds()
        start = time.monotonic()
        pause, next_report = 0.01, REPORT_EVERY
        while True:
            waited = time.monotonic() - start
            try:
                return self._connect_once(max(0.1, min(limit - waited, REPORT_EVERY)))
            except OSError as error:
                reason = error.strerror or error
            waited = time.monotonic() - start
            if waited >= limit:
                raise DistNetworkError(
                    f"no store answered at {self.host}:{self.port} for {waited:.1f} s ({reason}). "
                    f"Is the process that hosts it (rank 0 or the launcher) running, and are host "
                    f"and port right?"
                )
            if waited >= next_report:
                logger.warning(
                    "waiting for the store at %s:%d, %.0f s (%s)",
                    self.host, self.port, waited, reason,
                )  # fmt: skip
                next_report = waited + REPORT_EVERY
            time.sleep(min(pause, limit - waited))
            pause = min(2 * pause, 0.5)

    def _connect_once(self, seconds: float) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout=seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nonce = NONCE.pack(os.getpid() & 0xFFFFFFFF)
            validate = bytes([Query.VALIDATE]) + NONCE.pack(MAGIC)
            connection.sendall(validate + bytes([Query.PING]) + nonce)
            # The echo tells a store from a stranger, and from oneself: a connection to a port of
            # the ephemeral range may be given that very port as its own.
            if connection.recv(NONCE.size, socket.MSG_WAITALL) != nonce:
                raise ConnectionError("whatever listens there is no store")
            connection.settimeout(_patience(self._timeout))
            return connection
        except BaseException:
            connection.close()
            raise

    def _wait_for_workers(self, world_size: int) -> None:
        """Count this client; the master waits until all are counted."""
        count = INTEGER.pack(1)
        joined = self._ask(Query.ADD, pack("init/"), count, reply=self._integer)
        if self._server is None:
            return
        limit = self._timeout.total_seconds()
        start = time.monotonic()
        next_report = REPORT_EVERY
        while joined < world_size:
            waited = time.monotonic() - start
            where = f"{joined} of {world_size} clients at {self.host}:{self.port}"
            if waited >= limit:
                raise DistStoreError(f"only {where} joined within {limit:g} s")
            if waited >= next_report:
                logger.warning("waiting for the others: %s, %.0f s", where, waited)
                next_report = waited + REPORT_EVERY
            time.sleep(0.01)
            joined = self._ask(Query.ADD, pack("init/"), INTEGER.pack(0), reply=self._integer)

    def __repr__(self):
        return f"TCPStore({self.host}:{self.port})"


def _patience(timeout: timedelta) -> float:
    """Seconds to wait for the reply to a request that never has to wait for anything itself."""
    return max(1.0, timeout.total_seconds())
