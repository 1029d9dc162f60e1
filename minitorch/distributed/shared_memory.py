"""Large messages between ranks of one host: written once, into memory that both have mapped.

What goes through a pipe or socket is copied into the kernel, out of it on the other side, and only
then reduced. Here the sender copies it into a slot of its outbox, memory that the other ranks have
mapped as well, and the message (streams.py) only says which slot. The receiver reduces straight out
of it. The lowest free slot is taken, so that a ring writes and reads the same few megabytes again
and again, and they stay in the processor's cache.

    outbox     | token, marks | slot 0 | slot 1 | ...
                 a mark is one byte: FREE or TAKEN

Invariants:
- Only the owner of an outbox turns a mark from FREE to TAKEN, and only the receiver of the message
  turns it back. So no lock is needed.
- Nobody waits for a slot: if none is free, the payload goes through the pipe.
- A slot is free again when the last array that looks into it is gone; nobody has to say so.
- The memory has no name in any file system, and the kernel frees it with the last process that has
  it mapped, however that one ends.

Linux only (memfd). NCCL's is transport/shm.cc; Gloo has none.
"""

import mmap
import os
import secrets
from typing import Any

import numpy as np

SLOTS = 32
SLOT_BYTES = 1 << 20
HEAD_BYTES = mmap.PAGESIZE
TOKEN_BYTES = 16
# Below this the pipe is as quick.
LEAST_BYTES = 1 << 15
FREE, TAKEN = 0, 1


class Outbox:
    """The memory into which a rank writes what it sends to others on its host.

    `address` is where they find it, from its making to `close`. Raises OSError if there is no
    such memory to be had, AttributeError where the system does not know it.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("minitorch")
        try:
            os.ftruncate(self._file, HEAD_BYTES + SLOTS * SLOT_BYTES)
            token, self._marks, self._slots = _map(self._file)
        except BaseException:
            self.close()
            raise
        token[:] = np.frombuffer(secrets.token_bytes(TOKEN_BYTES), np.uint8)
        self.address = f"/proc/{os.getpid()}/fd/{self._file} {token.tobytes().hex()}"

    def put(self, payload: np.ndarray) -> int | None:
        """Copy bytes into a free slot and return its number; None if they must go another way."""
        if not LEAST_BYTES <= len(payload) <= SLOT_BYTES:
            return None
        slot = int(self._marks.argmin())
        if self._marks[slot] == TAKEN:
            return None
        self._slots[slot, : len(payload)] = payload
        self._marks[slot] = TAKEN
        return slot

    def close(self) -> None:
        """Nobody else can map it from now on; those who have keep it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Inbox:
    """The outbox of another rank, as the receiver sees it.

    Raises OSError if there is nothing at `address` that this process may map, or something else.
    """

    def __init__(self, address: str) -> None:
        path, expected = address.split()
        file = os.open(path, os.O_RDWR)
        try:
            if os.fstat(file).st_size != HEAD_BYTES + SLOTS * SLOT_BYTES:
                raise OSError(f"{path} is no outbox")
            token, self._marks, self._slots = _map(file)
        finally:
            os.close(file)
        if token.tobytes().hex() != expected:  # of another process with that number
            raise OSError(f"{path} is another outbox")

    def look(self, slot: int, nbytes: int) -> memoryview:
        """The bytes in a slot, read-only. When nobody refers to them any more it is free again."""
        content = self._slots[slot, :nbytes].view(_Content)
        content.flags.writeable = False
        content.mark = self._marks[slot : slot + 1]
        content.reader = os.getpid()
        return content.data  # what is made of it holds on to it, as views of arrays do not


class _Content(np.ndarray):
    """What is in a slot, until the last that was made of it is gone."""

    mark: Any = None
    reader = 0

    def __del__(self) -> None:
        # A forked child has a copy of this object and the same marks, but it is not the reader.
        if self.mark is not None and os.getpid() == self.reader:
            self.mark[0] = FREE


def _map(file: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    memory = np.frombuffer(mmap.mmap(file, 0), np.uint8)
    marks = memory[TOKEN_BYTES : TOKEN_BYTES + SLOTS]
    return memory[:TOKEN_BYTES], marks, memory[HEAD_BYTES:].reshape(SLOTS, SLOT_BYTES)
