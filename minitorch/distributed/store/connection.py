"""A client's connection to a TCPStore's server.

Invariant: a request and its reply stay together, so a connection is used by one thread at a time,
and after a failure in between it is closed for good. A connection that cannot be made is tried
again until the time-out, and then an error says where, for how long and why; a server that goes
away is an error at once.

PyTorch: TCPClient in torch/csrc/distributed/c10d/TCPStore.cpp
"""

import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from minitorch.distributed.errors import DistNetworkError
from minitorch.distributed.store.patience import poll, wait_until
from minitorch.distributed.store.protocol import (
    COUNT,
    INTEGER,
    MAGIC,
    NONCE,
    STOP_WAITING,
    Query,
)


class Connection:
    """Connects to the store at host:port; `seconds` is the time-out for that and each request.

    Raises DistNetworkError when no store answers in time, and from every request once the server
    has gone.
    """

    def __init__(self, host: str, port: int, seconds: float):
        self.host, self.port = host, port
        self._socket: socket.socket | None = None
        self._broken = "it was closed here"
        self._lock = threading.Lock()  # a request and its reply belong together
        self._connect(seconds)
        self.set_timeout(seconds)

    def set_timeout(self, seconds: float) -> None:
        """For requests that have nothing to wait for; a loaded server has a second in any case."""
        self._living().settimeout(max(1.0, seconds))

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    @property
    def own_address(self) -> str:
        """This machine's address on the network over which the server was reached."""
        return self._living().getsockname()[0].removeprefix("::ffff:")

    def ask(self, query: Query, *fields: bytes, reply: Callable[[], Any] | None = None) -> Any:
        """Send one request and read its reply. After a failure the stream is out of step, so the
        connection is closed and every later request fails at once."""
        with self._lock:
            connection = self._living()
            try:
                connection.sendall(bytes([query]) + b"".join(fields))
                return reply() if reply else None
            except BaseException as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._broken = f"{query.name} ended with {reason}"
                self.close()
                if isinstance(error, OSError):
                    raise self._lost() from error
                raise  # a Ctrl-C, most likely

    # Replies, for `ask`.

    def byte(self) -> bytes:
        return self._receive(1)

    def integer(self) -> int:
        return INTEGER.unpack(self._receive(INTEGER.size))[0]

    def value(self) -> bytes:
        return self._receive(COUNT.unpack(self._receive(COUNT.size))[0])

    def values(self) -> list[bytes]:
        return [self.value() for _ in range(COUNT.unpack(self._receive(COUNT.size))[0])]

    def end_of_wait(self, comes: Callable[[], bool]) -> bool:
        """The answer to WAIT or BARRIER if it `comes`, else the question is withdrawn. That is
        always confirmed, even when the answer crosses it on the way."""
        if comes():
            return self.byte() == STOP_WAITING
        self._living().sendall(bytes([Query.CANCEL_WAIT]))
        in_time = self.byte() == STOP_WAITING
        if in_time:
            self.byte()
        return in_time

    def readable(self, seconds: float) -> bool:
        """Whether a reply begins to arrive within so many seconds."""
        poller = select.poll()
        poller.register(self._living(), select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def _receive(self, size: int) -> bytes:
        connection = self._living()
        parts = []
        while size:
            part = connection.recv(size)
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _living(self) -> socket.socket:
        if self._socket is None:
            raise self._lost()
        return self._socket

    def _lost(self) -> DistNetworkError:
        return DistNetworkError(
            f"lost the store at {self.host}:{self.port}: {self._broken}. The process that hosts "
            f"it (rank 0 or the launcher) has probably ended."
        )

    def _connect(self, limit: float) -> None:
        """Connect to a live store, trying again until the time-out."""
        reason = ""

        def attempt(seconds: float) -> bool:
            def once() -> bool:
                nonlocal reason
                try:
                    self._socket = _greet(self.host, self.port, max(0.1, seconds))
                except OSError as error:
                    reason = _explain(error)
                return self._socket is not None

            return poll(once, seconds)

        place = f"{self.host}:{self.port}"
        if not wait_until(attempt, limit, lambda: f"the store at {place} ({reason})"):
            raise DistNetworkError(
                f"no store answered at {place} for {limit:g} s ({reason}). Is the process that "
                f"hosts it (rank 0 or the launcher) running, and are host and port right?"
            )


def _explain(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host's name could not be resolved: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "nothing answers there"
    return error.strerror or str(error)


def _greet(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to the store at host:port. Raises OSError unless it is one."""
    connection = socket.create_connection((host, port), timeout=seconds)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = NONCE.pack(os.getpid() & 0xFFFFFFFF)
        validate = bytes([Query.VALIDATE]) + NONCE.pack(MAGIC)
        connection.sendall(validate + bytes([Query.PING]) + nonce)
        # The echo tells a store from a stranger, and from oneself: a connection to a port of the
        # ephemeral range may be given that very port as its own.
        if connection.recv(NONCE.size, socket.MSG_WAITALL) != nonce:
            raise ConnectionError("whatever listens there is no store")
        return connection
    except BaseException:
        connection.close()
        raise
