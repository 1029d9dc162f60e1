"""A plain TCP connection to a rank, and who may make it: the way of the data where it is not
encrypted (streams.py).

Who connects shows a password of its own first: security.py makes it of the job's secret, for this
caller and this listener. Whoever shows anything else, or nothing, is hung up on, and as soon as the
right one has come the port is closed.

PyTorch: gloo/transport/tcp/listener.cc, which lets in whoever knows a number.
"""

import hmac
import selectors
import socket
import time
from typing import Any

from minitorch.distributed.log import logger


class Gate:
    """A port on this host's address `host`, for one caller; `address` says where."""

    def __init__(self, host: str, password: bytes) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, 0), family=family)
        self.address = f"{host} {self._server.getsockname()[1]}"
        self._password = password
        self._warned = False

    def admit(self, seconds: float) -> int | None:
        """The connection of the one who shows the password (its descriptor); None if nobody did."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as visitors:
            visitors.register(self._server, selectors.EVENT_READ)
            try:
                while (left := end - time.monotonic()) > 0:
                    for key, _ in visitors.select(left):
                        visitor: Any = key.fileobj
                        if visitor is self._server:
                            visitor, _ = self._server.accept()
                            visitor.setblocking(False)
                            visitors.register(visitor, selectors.EVENT_READ, bytearray())
                            continue
                        welcome = self._hear(visitor, key.data)
                        if welcome is not None:
                            visitors.unregister(visitor)
                            if welcome:
                                return visitor.detach()
                            visitor.close()
                return None
            finally:
                for key in visitors.get_map().values():
                    key.fileobj.close()  # type: ignore[union-attr]

    def close(self) -> None:
        self._server.close()

    def _hear(self, visitor: socket.socket, shown: bytearray) -> bool | None:
        """Whether a visitor has shown the password; None if that is still open."""
        try:
            said = visitor.recv(len(self._password) - len(shown))
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        shown += said
        if said and len(shown) < len(self._password):
            return None
        welcome = hmac.compare_digest(shown, self._password)
        if not (welcome or self._warned):
            self._warned = True
            logger.warning(
                "somebody who is not of this job has connected to %s, and was turned away (this is "
                "said only once)",
                self.address,
            )
        return welcome


def call(address: str, password: bytes, seconds: float) -> int:
    """Connect to a gate, showing the password; returns the descriptor. Raises OSError."""
    host, port = address.split()
    connection = socket.create_connection((host, int(port)), timeout=seconds)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(password)
        connection.setblocking(False)
    except OSError:
        connection.close()
        raise
    return connection.detach()
