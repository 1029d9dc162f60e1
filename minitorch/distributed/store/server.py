"""The serving side of TCPStore: one thread, one table, any number of clients.

Why it exists: a TCPStore's table lives in one process, and every other process asks it over a
plain TCP connection. The wire protocol is that of PyTorch's TCPStore, so that a PyTorch worker
can be a client of this server and a minitorch worker a client of PyTorch's (torchrun hosts one
for the workers it starts).

The protocol: a request is one byte saying which query it is, then its fields. A string or value
is a 64-bit length and that many bytes, a list is a 64-bit count and its items, integers are in the
machine's own byte order. Requests of one client are answered in order; `WAIT` is answered only when
all its keys exist, and `CANCEL_WAIT` may overtake it. Nothing received is ever unpickled.

The invariant: the thread never blocks on one client. Sockets are non-blocking; a request that has
not arrived whole stays in the client's buffer, and a reply that cannot leave at once is queued.

PyTorch: torch/csrc/distributed/c10d/{TCPStoreBackend,TCPStoreLibUvBackend}.cpp
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import selectors
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from minitorch.distributed.errors import DistNetworkError

if TYPE_CHECKING:
    from minitorch.distributed.store.base import HashStore

logger = logging.getLogger("minitorch.distributed")

COUNT = struct.Struct("=Q")  # lengths and counts
INTEGER = struct.Struct("=q")  # values of counters
NONCE = struct.Struct("=I")
MAGIC = 0x3C85F7CE  # the first thing a client says, so that strangers are told apart
MAX_LENGTH = 1 << 32  # longer than any honest value: such a length means a broken client

_servers: dict[int, StoreServer] = {}  # those of this process, by port

READY, NOT_READY = b"\0", b"\1"  # replies to CHECK
STOP_WAITING, WAIT_CANCELED = b"\0", b"\1"  # replies to WAIT and CANCEL_WAIT


class Query(enum.IntEnum):
    VALIDATE = 0
    SET = 1
    COMPARE_SET = 2
    GET = 3
    ADD = 4
    CHECK = 5
    WAIT = 6
    NUM_KEYS = 7
    DELETE_KEY = 8
    APPEND = 9
    MULTI_GET = 10
    MULTI_SET = 11
    CANCEL_WAIT = 12
    PING = 13


def pack(data: str | bytes) -> bytes:
    """A string or value as it travels: its length, then its bytes."""
    data = data.encode() if isinstance(data, str) else data
    return COUNT.pack(len(data)) + data


class Incomplete(Exception):
    """The rest of the request has not arrived yet."""


class Client:
    """One connection: what has arrived and is not yet understood, and what has not yet left."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.received = bytearray()
        self.position = 0  # up to here the request at the buffer's start has been read
        self.unsent = bytearray()
        self.validated = False
        self.awaited: set[str] = set()  # keys of a pending WAIT that do not exist yet

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size > MAX_LENGTH:
            raise ValueError(f"a field of {size} bytes")
        if end > len(self.received):
            raise Incomplete
        data = bytes(self.received[self.position : end])
        self.position = end
        return data

    def read_number(self, layout: struct.Struct) -> int:
        return layout.unpack(self.take(layout.size))[0]

    def read_value(self) -> bytes:
        return self.take(self.read_number(COUNT))

    def read_key(self) -> str:
        return self.read_value().decode()

    def read_keys(self) -> list[str]:
        return [self.read_key() for _ in range(self.read_number(COUNT))]


class StoreServer:
    """Serves `table` at (host, port) from a daemon thread until `close`.

    Port 0 takes a free one; `port` tells which. A loopback host listens on that address only, any
    other on all interfaces, since a host name need not name an address of this machine's own.
    Raises DistNetworkError when the port is taken.
    """

    def __init__(self, host: str, port: int, table: HashStore):
        self.table = table
        self.users = 0  # TCPStores of this process that host it together
        self._waiting: dict[str, list[Client]] = defaultdict(list)
        try:
            self._listener = _listen(host, port)
        except OSError as error:
            raise DistNetworkError(
                f"process {os.getpid()} wanted to host a store at {host}:{port}, but could not "
                f"listen there: {error.strerror or error}. Choose another port (0 takes a free "
                f"one), or end the process that holds it."
            ) from error
        self.port: int = self._listener.getsockname()[1]
        self._closing, self._closed = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._closed, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="store server", daemon=True)
        self._thread.start()
        _servers[self.port] = self

    @staticmethod
    def at(port: int) -> StoreServer | None:
        """The server that this process already runs at `port`."""
        return _servers.get(port)

    def close(self) -> None:
        """Stop serving; clients that wait get an error at once."""
        _servers.pop(self.port, None)
        with contextlib.suppress(OSError):
            self._closing.send(b"x")
        # Not for ever: while the interpreter shuts down, daemon threads no longer run.
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _serve(self) -> None:
        try:
            while True:
                for ready, events in self._selector.select():
                    if ready.fileobj is self._closed:
                        return
                    if ready.fileobj is self._listener:
                        self._accept()
                    else:
                        self._attend(ready.data, events)
        finally:
            for registered in list(self._selector.get_map().values()):
                registered.fileobj.close()  # type: ignore[union-attr]
            self._closing.close()
            self._selector.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it may have hung up already
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _attend(self, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(client)
            if events & selectors.EVENT_READ:
                data = client.socket.recv(1 << 16)
                if not data:
                    return self._drop(client)
                client.received += data
                self._answer_all(client)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
        except ValueError as error:
            # The protocol has no error reply: hanging up is how a client learns of it.
            logger.warning("the store at port %d hangs up on a client: %s", self.port, error)
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if client.socket.fileno() != -1:
            self._selector.unregister(client.socket)
            client.socket.close()
        for key in client.awaited:
            self._waiting[key].remove(client)
        client.awaited = set()

    def _answer_all(self, client: Client) -> None:
        with contextlib.suppress(Incomplete):
            while client.received:
                client.position = 0
                reply = self._answer(client)
                del client.received[: client.position]
                if reply:
                    self._send(client, reply)

    def _answer(self, client: Client) -> bytes:
        """Read one request whole, and only then act on it; returns the reply, often empty."""
        query = client.take(1)[0]
        if query == Query.VALIDATE:
            client.validated = client.read_number(NONCE) == MAGIC
        if not client.validated:
            raise ValueError("it does not speak the store's protocol")
        table = self.table
        match query:
            case Query.VALIDATE:
                return b""
            case Query.SET:
                key, value = client.read_key(), client.read_value()
                table.set(key, value)
                self._announce([key])
                return b""
            case Query.COMPARE_SET:
                key, expected, desired = client.read_key(), client.read_value(), client.read_value()
                value = table.compare_set(key, expected, desired)
                self._announce([key])
                return pack(value)
            case Query.GET:
                key = client.read_key()
                return pack(self._existing(key))
            case Query.ADD:
                key, amount = client.read_key(), client.read_number(INTEGER)
                total = table.add(key, amount)
                self._announce([key])
                return INTEGER.pack(total)
            case Query.CHECK:
                return READY if table.check(client.read_keys()) else NOT_READY
            case Query.WAIT:
                return self._wait(client, client.read_keys())
            case Query.NUM_KEYS:
                return INTEGER.pack(table.num_keys())
            case Query.DELETE_KEY:
                return INTEGER.pack(table.delete_key(client.read_key()))
            case Query.APPEND:
                key, value = client.read_key(), client.read_value()
                table.append(key, value)
                self._announce([key])
                return b""
            case Query.MULTI_GET:
                return b"".join([pack(self._existing(key)) for key in client.read_keys()])
            case Query.MULTI_SET:
                pairs = [
                    (client.read_key(), client.read_value())
                    for _ in range(client.read_number(COUNT))
                ]
                for key, value in pairs:
                    table.set(key, value)
                self._announce(key for key, _ in pairs)
                return b""
            case Query.CANCEL_WAIT:
                for key in client.awaited:
                    self._waiting[key].remove(client)
                client.awaited = set()
                return WAIT_CANCELED
            case Query.PING:
                return NONCE.pack(client.read_number(NONCE))
        raise ValueError(f"it sent a query of unknown kind {query}")

    def _existing(self, key: str) -> bytes:
        if not self.table.check([key]):
            raise ValueError(f"it asked for {key!r}, which does not exist")
        return self.table.get(key)

    def _wait(self, client: Client, keys: list[str]) -> bytes:
        client.awaited = {key for key in keys if not self.table.check([key])}
        for key in client.awaited:
            self._waiting[key].append(client)
        return b"" if client.awaited else STOP_WAITING

    def _announce(self, keys: Iterable[str]) -> None:
        """Answer those whose last missing key has just come."""
        for key in keys:
            if not self._waiting or not self.table.check([key]):
                continue
            for client in self._waiting.pop(key, []):
                client.awaited.discard(key)
                if not client.awaited:
                    self._send_or_drop(client, STOP_WAITING)

    def _send_or_drop(self, client: Client, data: bytes) -> None:
        try:
            self._send(client, data)
        except OSError:
            self._drop(client)

    def _send(self, client: Client, data: bytes = b"") -> None:
        client.unsent += data
        with contextlib.suppress(BlockingIOError):
            sent = client.socket.send(client.unsent)
            del client.unsent[:sent]
        write = selectors.EVENT_WRITE if client.unsent else 0
        if self._selector.get_key(client.socket).events != selectors.EVENT_READ | write:
            self._selector.modify(client.socket, selectors.EVENT_READ | write, client)


def is_loopback(host: str) -> bool:
    """Whether this name or address can only mean the machine itself."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _listen(host: str, port: int) -> socket.socket:
    if is_loopback(host) and host != "::1":
        return socket.create_server((host, port), backlog=1024)
    if socket.has_dualstack_ipv6():
        family, host = socket.AF_INET6, host if host == "::1" else "::"
        return socket.create_server(
            (host, port), family=family, backlog=1024, dualstack_ipv6=host == "::"
        )
    return socket.create_server(("", port), backlog=1024)
