"""Messages over a stream of bytes: through a pipe within a host, or over a plain TCP connection.

ZeroMQ copies what it sends, and has a thread of its own on either side move it, which has to be
woken each time. Here the thread that runs the collective hands its arrays to the kernel and takes
them from there: less to copy, and nobody to wake but the receiver. In return two things are left to
us: a message may come in pieces, and the kernel may be full.

    on the stream:  | slot, size | header | payload |

A payload that is in shared memory (shared_memory.py) does not follow: `slot` says where it is.

Invariants:
- A stream has one direction. (Who closes a connection while something is unread in it destroys what
  the other side has still to read.)
- Nothing here ever waits. What the kernel does not take at once is copied and kept, in `unsent`,
  until `flush` finds room for it.
- An end of a stream is no news: whether the other side has died is for ZeroMQ to say, which also
  knows of those that were stopped. What is written to nobody is dropped.

PyTorch: gloo/transport/tcp/pair.cc.
"""

import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minitorch.distributed.message import HEADER_BYTES

_PREFIX = struct.Struct("<iq")
# (header, size of the payload) -> where to put the payload; None: into memory of its own.
Place = Callable[[bytes, int], memoryview | None]
NO_SLOT = -1
# Below this, a copy takes less time than to ask where to put a payload.
IN_PLACE_BYTES = 1 << 14


class Writer:
    """The end of a stream into which we write; `file` is its descriptor, which it now owns."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.unsent: deque[memoryview] = deque()

    def send(self, header: bytes, payload: np.ndarray, slot: int = NO_SLOT) -> None:
        """Write a message. The payload, flat bytes, may be overwritten at once."""
        parts: list[Any] = [_PREFIX.pack(slot, len(payload)) + header]
        if slot == NO_SLOT and len(payload):
            parts.append(payload)
        taken = 0 if self.unsent else self._write(parts)
        for part in parts:
            if taken < len(part):
                self.unsent.append(memoryview(bytes(part[taken:])))
            taken = max(0, taken - len(part))

    def flush(self) -> None:
        """Write what is unsent, for as long as there is room."""
        while self.unsent:
            part = self.unsent[0]
            taken = self._write([part])
            if taken < len(part):
                self.unsent[0] = part[taken:]
                return
            self.unsent.popleft()

    def close(self) -> None:
        os.close(self.file)

    def _write(self, parts: Sequence) -> int:
        try:
            return os.writev(self.file, parts)
        except BlockingIOError:
            return 0
        except OSError:  # nobody is there any more
            return sum(map(len, parts))


class Reader:
    """The end of a stream from which we read; `ended` once nothing more can come."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.ended = False
        self._prefix = memoryview(bytearray(_PREFIX.size + HEADER_BYTES))
        self._payload: memoryview | None = None  # of the message whose prefix we have
        self._filled = 0

    def receive(self, place: Place | None = None) -> tuple[bytes, memoryview, int, int] | None:
        """The next message: header, payload, slot and size; None while it is not all there."""
        if self._payload is None:
            if not self._fill(self._prefix):
                return None
            slot, size = _PREFIX.unpack_from(self._prefix)
            if slot != NO_SLOT:
                size = 0
            if place is not None and size >= IN_PLACE_BYTES:
                self._payload = place(bytes(self._prefix[_PREFIX.size :]), size)
            if self._payload is None:
                self._payload = np.empty(size, np.uint8).data
        if not self._fill(self._payload):
            return None
        payload, self._payload = self._payload, None
        return bytes(self._prefix[_PREFIX.size :]), payload, *_PREFIX.unpack_from(self._prefix)

    def let_go(self) -> None:
        """What is left of a payload goes into memory of its own from here on."""
        if self._payload is not None:
            self._payload = np.empty(len(self._payload), np.uint8).data

    def close(self) -> None:
        os.close(self.file)

    def _fill(self, buffer: memoryview) -> bool:
        """Read until a buffer is full, as far as there is something; whether it is."""
        while self._filled < len(buffer):
            try:
                count = os.readv(self.file, [buffer[self._filled :]])
            except BlockingIOError:
                return False
            except OSError:
                count = 0
            if not count:
                self.ended = True
                return False
            self._filled += count
        self._filled = 0
        return True


def open_pipe() -> tuple[Reader, str]:
    """A new pipe, and the address at which another process of this user can write into it."""
    file, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(writer)
    return Reader(file), f"/proc/{os.getpid()}/fd/{file} {os.fstat(file).st_ino}"


def write_to_pipe(address: str) -> Writer:
    """The other end of a pipe. Raises OSError if it is not there, or not ours to write into."""
    path, number = address.split()
    file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if os.fstat(file).st_ino != int(number):
        os.close(file)
        raise OSError(f"{path} is another file")
    return Writer(file)
