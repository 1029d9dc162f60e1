"""The serving side of TCPStore: one thread, one table, any number of clients.

Why it exists: a TCPStore's table lives in one process, and every other process asks it over a
plain TCP connection. What is said there is in `conversation`; here are the sockets.

Invariants: the thread never blocks on one client, and none can stop it or fill its memory: a
request is limited, a stranger has to say hello soon, and who does not read its replies is not read
from either. Whoever misbehaves is hung up on; the first time, a warning says so.

PyTorch: torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time

from minitorch.distributed.errors import DistNetworkError
from minitorch.distributed.log import logger
from minitorch.distributed.store.conversation import Board, Client
from minitorch.distributed.store.hash import HashStore
from minitorch.distributed.store.protocol import MAX_REQUEST

HELLO_WITHIN = 10.0  # seconds that a new connection has to show that it is a store's client

_servers: dict[int, StoreServer] = {}  # those of this process, by port


class StoreServer:
    """Serves a table at (host, port) from a daemon thread until `close`.

    Port 0 takes a free one; `port` tells which. A loopback host listens on that address only, any
    other on all interfaces, since a host name need not name an address of this machine's own.
    `listen_fd` is a socket that listens already. Raises DistNetworkError when the port is taken.
    """

    def __init__(self, host: str, port: int, listen_fd: int | None = None):
        self.users = 0  # TCPStores of this process that host it together
        self._board = Board(HashStore())
        self._clients: dict[Client, socket.socket] = {}
        self._strangers: dict[Client, float] = {}  # who has not said hello, and came when
        self._complained = False
        try:
            self._listener = (
                _listen(host, port) if listen_fd is None else socket.socket(fileno=listen_fd)
            )
        except OSError as error:
            raise DistNetworkError(
                f"process {os.getpid()} wanted to host a store at {host}:{port}, but could not "
                f"listen there: {error.strerror or error}. Choose another port (0 takes a free "
                f"one), or end the process that holds it."
            ) from error
        self.port: int = self._listener.getsockname()[1]
        self._process = os.getpid()
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
        if self._process != os.getpid():  # a forked child has a copy of this, but not the thread
            return
        _servers.pop(self.port, None)
        with contextlib.suppress(OSError):
            self._closing.send(b"x")
        # Not for ever: while the interpreter shuts down, daemon threads no longer run.
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _serve(self) -> None:
        try:
            while True:
                for ready, events in self._selector.select(1.0 if self._strangers else None):
                    if ready.fileobj is self._closed:
                        return
                    if ready.fileobj is self._listener:
                        self._accept()
                    elif ready.data in self._clients:  # not dropped meanwhile
                        self._attend(ready.data, events)
                self._drop_silent_strangers()
        finally:
            for registered in list(self._selector.get_map().values()):
                registered.fileobj.close()  # type: ignore[union-attr]
            self._closing.close()
            self._selector.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # it may have hung up already
            if error.errno in (errno.EMFILE, errno.ENFILE):  # no file descriptor is left
                if self._strangers:
                    self._hang_up(next(iter(self._strangers)), "there are too many connections")
                else:
                    time.sleep(0.05)  # the listener stays ready: do not spin
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self._board)
        self._clients[client] = connection
        self._strangers[client] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _drop_silent_strangers(self) -> None:
        latest = time.monotonic() - HELLO_WITHIN
        for client, came in list(self._strangers.items()):
            if came < latest:
                self._hang_up(client, "it connected but did not say hello")

    def _attend(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_READ:
            try:
                data = self._clients[client].recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                client.received += data
            else:
                self._drop(client)
        self._board.woken.add(client)
        while self._board.woken:
            self._go_on(self._board.woken.pop())

    def _go_on(self, client: Client) -> None:
        """Answer what is there to be answered, as far as the client reads the replies, and listen
        for what there then is to listen for."""
        if client not in self._clients:
            return
        try:
            while client.digest():
                if not self._send(client):
                    break  # we are called again when more can be sent
            else:
                self._send(client)
        except OSError:
            return self._drop(client)
        except ValueError as error:
            # The protocol has no error reply: hanging up is how a client learns of it.
            return self._hang_up(client, str(error))
        if client.introduced:
            self._strangers.pop(client, None)
        events = selectors.EVENT_WRITE if client.unsent else 0
        if len(client.unsent) < MAX_REQUEST:
            events |= selectors.EVENT_READ
        if self._selector.get_key(self._clients[client]).events != events:
            self._selector.modify(self._clients[client], events, client)

    def _send(self, client: Client) -> bool:
        """Send as much as can leave at once; whether that is all."""
        with contextlib.suppress(BlockingIOError):
            while client.unsent:
                sent = self._clients[client].send(client.unsent)
                del client.unsent[:sent]
        return not client.unsent

    def _hang_up(self, client: Client, reason: str) -> None:
        """Drop a client that misbehaves. The log is no place for strangers to write to, so only
        the first one is worth a warning."""
        text = "the store at port %d hung up on a client: %s"
        if self._complained:
            logger.debug(text, self.port, reason)
        else:
            logger.warning(f"{text} (others will not be reported)", self.port, reason)
        self._complained = True
        self._drop(client)

    def _drop(self, client: Client) -> None:
        self._board.execute_will(client)
        client.end()
        self._strangers.pop(client, None)
        connection = self._clients.pop(client)
        self._selector.unregister(connection)
        connection.close()


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
