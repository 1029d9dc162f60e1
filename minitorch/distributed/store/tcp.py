"""TCPStore: a store that one process hosts and all others use over the network.

Why it exists: it is how the ranks of a job meet, for all they need to know is a host and a port.

PyTorch: torch/csrc/distributed/c10d/TCPStore.cpp
"""

import time
from collections.abc import Sequence
from datetime import timedelta

from minitorch.distributed.errors import DistStoreError, QueueEmptyError
from minitorch.distributed.store.base import (
    DEFAULT_TIMEOUT,
    Store,
    as_amount,
    as_bytes,
    as_keys,
)
from minitorch.distributed.store.connection import Connection
from minitorch.distributed.store.patience import poll, seconds_of, wait_until
from minitorch.distributed.store.protocol import (
    COUNT,
    INTEGER,
    LAST_WILL,
    MAX_KEYS,
    MAX_REQUEST,
    READY,
    Query,
    pack,
)
from minitorch.distributed.store.server import StoreServer, is_loopback


class TCPStore(Store):
    """A store shared over TCP: one process hosts the table, all are its clients.

    With `is_master` this process hosts it (port 0 takes a free port, read it from `.port`), else
    a connection is tried until the time-out. With `world_size` and `wait_for_workers` the master
    returns only when so many clients have joined. `multi_tenant` shares a server that this same
    process already hosts at the port, `master_listen_fd` serves on a socket that listens already,
    and `use_libuv` changes nothing. Mirrors torch.distributed.TCPStore, wire protocol included.

    Raises DistNetworkError when the port is taken, the master cannot be reached or goes away, and
    DistStoreError when a key or the workers do not come in time.
    """

    libuvBackend = False  # PyTorch's name for which of its two servers is at work

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
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ):
        super().__init__(timeout)
        if not 0 <= port < 1 << 16:
            raise TypeError(f"a port is a number from 0 to 65535, not {port}")
        self.host, self.port = host_name, port
        self._server: StoreServer | None = None
        if is_master:
            self._server = StoreServer.at(port) if multi_tenant else None
            self._server = self._server or StoreServer(host_name, port, master_listen_fd)
            self._server.users += 1
            self.port = self._server.port
        try:
            self._connection = Connection(self.host, self.port, seconds_of(timeout))
            if world_size is not None and wait_for_workers:
                self._wait_for_workers(world_size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up, and stop the server if this store hosts it (for nobody else in the process)."""
        if hasattr(self, "_connection"):  # it was reached
            self._connection.close()
        server, self._server = self._server, None
        if server is not None:
            server.users -= 1
            if not server.users:
                server.close()

    def __del__(self):
        if hasattr(self, "_server"):
            self.close()

    def clone(self) -> "TCPStore":
        """A second connection to the same table, for another thread: a wait in one thread holds
        this store's only connection for seconds at a time."""
        return TCPStore(self.host, self.port, timeout=self.timeout)

    def set_timeout(self, timeout):
        super().set_timeout(timeout)
        self._connection.set_timeout(seconds_of(timeout))

    @property
    def local_address(self) -> str:
        """This machine's address on the network that reaches the store: the one to tell peers.

        The store's own machine may know itself under a loopback address (many systems map the
        host name to 127.0.1.1); then it is the name under which the peers have found the store.
        """
        address = self._connection.own_address
        return self.host if is_loopback(address) else address

    def set(self, key, value):
        self._ask(Query.SET, self._name(key), pack(as_bytes(value)))

    def last_will(self, key, value):
        self._ask(Query.SET, pack(LAST_WILL + self._KEY + key), pack(as_bytes(value)))

    def get(self, key):
        self.wait([key])
        return self._ask(Query.GET, self._name(key), reply=self._connection.value)

    def add(self, key, amount):
        return self._integer(Query.ADD, self._name(key), INTEGER.pack(as_amount(amount)))

    def check(self, keys):
        return self._ask(Query.CHECK, self._names(keys), reply=self._connection.byte) == READY

    def compare_set(self, key, expected, desired):
        values = pack(as_bytes(expected)) + pack(as_bytes(desired))
        reply = self._connection.value
        return self._ask(Query.COMPARE_SET, self._name(key), values, reply=reply)

    def delete_key(self, key):
        return bool(self._integer(Query.DELETE_KEY, self._name(key)))

    def num_keys(self):
        return self._integer(Query.NUM_KEYS)

    def list_keys(self):
        keys = self._ask(Query.LIST_KEYS, reply=self._connection.values)
        return [key[1:].decode() for key in keys if key.startswith(self._KEY.encode())]

    def append(self, key, value):
        self._ask(Query.APPEND, self._name(key), pack(as_bytes(value)))

    def queue_push(self, key, value):
        self._ask(Query.QUEUE_PUSH, self._name(key), pack(as_bytes(value)))

    def queue_pop(self, key, block=True):
        def pop() -> bytes | None:
            return self._connection.value() if self._connection.integer() else None

        end = time.monotonic() + seconds_of(self.timeout)
        while True:
            if block:
                self.wait([key], timedelta(seconds=max(0.0, end - time.monotonic())))
            value = self._ask(Query.QUEUE_POP, self._name(key), reply=pop)
            if value is not None:
                return value
            if not block:
                raise QueueEmptyError(f"queue {key!r} in {self} is empty")
            # Somebody else was quicker: wait for the next one.

    def queue_len(self, key):
        return self._integer(Query.QUEUE_LEN, self._name(key))

    def has_extended_api(self):
        return True

    def multi_get(self, keys):
        self.wait(keys)
        value = self._connection.value
        return self._ask(Query.MULTI_GET, self._names(keys), reply=lambda: [value() for _ in keys])

    def multi_set(self, keys, values):
        pairs = self._pairs(keys, values)
        fields = [self._name(key) + pack(as_bytes(value)) for key, value in pairs]
        self._ask(Query.MULTI_SET, COUNT.pack(len(fields)), *fields)

    def wait_at_most(self, keys, seconds):
        connection = self._connection
        return self._ask(
            Query.WAIT,
            self._names(keys),
            reply=lambda: connection.end_of_wait(lambda: connection.readable(seconds)),
        )

    def barrier(self, key, world_size, timeout=None):
        limit = self.timeout if timeout is None else timeout
        connection, others = self._connection, f"the others of {world_size} at barrier {key!r}"

        def comes() -> bool:
            # Asking again would count this caller again, so the question is asked once only.
            return wait_until(connection.readable, seconds_of(limit), lambda: f"{others} in {self}")

        amount = INTEGER.pack(as_amount(world_size))
        if not self._ask(
            Query.BARRIER, self._name(key), amount, reply=lambda: connection.end_of_wait(comes)
        ):
            raise self._incomplete(key, key, world_size, limit)

    def _name(self, key: str) -> bytes:
        return pack(self._KEY + key)

    def _names(self, keys: Sequence[str]) -> bytes:
        keys = as_keys(keys)
        if len(keys) > MAX_KEYS:
            raise DistStoreError(f"{len(keys)} keys are too many for one request ({MAX_KEYS})")
        return COUNT.pack(len(keys)) + b"".join([self._name(key) for key in keys])

    def _integer(self, query: Query, *fields: bytes) -> int:
        return self._ask(query, *fields, reply=self._connection.integer)

    def _ask(self, query: Query, *fields: bytes, reply=None):
        size = 1 + sum(map(len, fields))
        if size > MAX_REQUEST:
            raise DistStoreError(
                f"{query.name} of {size} bytes: a store takes {MAX_REQUEST} at a time, for it is "
                f"a notice board; send large data with a collective"
            )
        return self._connection.ask(query, *fields, reply=reply)

    def _wait_for_workers(self, world_size: int) -> None:
        """Count this client; the master waits until all are counted."""
        joined = 0

        def count(amount: int) -> bool:
            nonlocal joined
            joined = self._integer(Query.ADD, pack("init/"), INTEGER.pack(amount))
            return joined >= world_size

        if count(1) or self._server is None:
            return
        limit = seconds_of(self.timeout)
        where = f"clients at {self.host}:{self.port}"
        if not wait_until(
            lambda seconds: poll(lambda: count(0), seconds),
            limit,
            lambda: f"the others: {joined} of {world_size} {where}",
        ):
            raise DistStoreError(f"only {joined} of {world_size} {where} joined within {limit:g} s")

    def __repr__(self):
        return f"TCPStore({self.host}:{self.port})"
