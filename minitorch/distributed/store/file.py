"""FileStore: a store in a file that all processes can open.

Why it exists: processes on one machine, or with a shared file system, can meet without a port.

The file is a log: records are appended and never changed, the last one about a key counts. A
record is a key and a value, each a 32-bit length and that many bytes. The key is the user's with
`/` in front; `-/key` deletes it; `refcount/` counts the stores that have the file open and
`cleanup/` those that have closed it. PyTorch's FileStore reads and writes the same.

    refcount/ 1 | /answer 42 | refcount/ 2 | -/answer | cleanup/ 1 | refcount/ 1 | ...

Invariant: the log is only read and written under flock(2), which the kernel takes from a process
that dies, and only whole records count: what a full disk or a killed writer leaves of one is cut
off by the next writer.

PyTorch: torch/csrc/distributed/c10d/FileStore.cpp
"""

import contextlib
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta

from minitorch.distributed.errors import DistStoreError
from minitorch.distributed.store.base import (
    DEFAULT_TIMEOUT,
    Store,
    add_amounts,
    as_bytes,
    as_keys,
)
from minitorch.distributed.store.patience import poll, seconds_of, wait_until

LENGTH = struct.Struct("=I")
USERS, LEFT = "refcount/", "cleanup/"  # the store's own keys


def record(key: str, value: bytes) -> bytes:
    name = key.encode()
    return LENGTH.pack(len(name)) + name + LENGTH.pack(len(value)) + value


class FileStore(Store):
    """A store in the file `file_name`, which is made if need be. Mirrors torch's FileStore.

    The last of `world_size` stores to be closed removes the file; with -1 it stays. Queues are not
    supported, as in PyTorch.

    Raises DistStoreError when the file cannot be opened, read or written, is no store's, is removed
    while it is in use, or stays locked by another process until the time-out.
    """

    def __init__(self, file_name: str, world_size: int = -1, timeout: timedelta = DEFAULT_TIMEOUT):
        super().__init__(timeout)
        self.path = os.fspath(file_name)
        self._world_size = world_size
        self._table: dict[str, bytes] = {}  # what the log up to _position says
        self._position = 0
        self._owner = os.getpid()
        self._mutex = threading.Lock()  # flock(2) is between openings of a file, not threads
        self._file = self._open()
        try:
            self._join()
        except BaseException:
            os.close(self._file)
            del self._file
            raise

    def _open(self) -> int:
        with self._explained("open"):
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _join(self) -> None:
        """Count this store as a user of the file, unless the last one removed it meanwhile."""
        while True:
            with self._locked(fcntl.LOCK_EX, check_name=False):
                if self._has_its_name():
                    self._count(USERS, 1)
                    return
            removed, self._file = self._file, self._open()
            os.close(removed)
            self._table, self._position = {}, 0

    def close(self) -> None:
        """Leave; the last one removes the file."""
        file, owner = getattr(self, "_file", None), self._owner
        if file is None or owner != os.getpid():  # it was not the forked child who joined
            return
        try:
            with self._locked(fcntl.LOCK_EX):
                left = self._count(LEFT, 1)
                if self._count(USERS, -1) == 0 and 0 <= self._world_size <= left:
                    os.unlink(self.path)
        except (DistStoreError, OSError):
            pass  # the file is gone or the disk is full: there is nobody left to tell
        finally:
            del self._file
            os.close(file)

    def __del__(self):
        if hasattr(self, "_owner"):
            self.close()

    def clone(self) -> "FileStore":
        return FileStore(self.path, self._world_size, self.timeout)

    @property
    def local_address(self) -> str:
        """The address to tell peers: with no connection to learn it from, this host's name."""
        return socket.gethostname()

    def set(self, key, value):
        with self._locked(fcntl.LOCK_EX):
            self._write("/" + key, as_bytes(value))

    def get(self, key):
        self.wait([key])
        with self._locked(fcntl.LOCK_SH):
            return self._table.get("/" + key, b"")

    def add(self, key, amount):
        with self._locked(fcntl.LOCK_EX):
            return self._count("/" + key, amount)

    def check(self, keys):
        keys = as_keys(keys)
        with self._locked(fcntl.LOCK_SH):
            return all("/" + key in self._table for key in keys)

    def compare_set(self, key, expected, desired):
        expected, desired, name = as_bytes(expected), as_bytes(desired), "/" + key
        with self._locked(fcntl.LOCK_EX):
            if self._table.get(name, b"") == expected and (name in self._table or not expected):
                self._write(name, desired)
            return self._table.get(name, expected)

    def delete_key(self, key):
        with self._locked(fcntl.LOCK_EX):
            existed = "/" + key in self._table
            if existed:
                self._write("-/" + key, b"")
            return existed

    def num_keys(self):
        with self._locked(fcntl.LOCK_SH):
            return len(self._table)

    def list_keys(self):
        with self._locked(fcntl.LOCK_SH):
            return [key[1:] for key in self._table if key.startswith("/")]

    def append(self, key, value):
        with self._locked(fcntl.LOCK_EX):
            self._write("/" + key, self._table.get("/" + key, b"") + as_bytes(value))

    # The log.

    @contextlib.contextmanager
    def _locked(self, kind: int, check_name: bool = True) -> Iterator[None]:
        """With the file locked (LOCK_SH: others may read) and the table up to date."""
        if not hasattr(self, "_file"):
            raise DistStoreError(f"{self} was closed here")
        if self._owner != os.getpid():
            raise DistStoreError(
                f"{self} belongs to process {self._owner}, from which process {os.getpid()} was "
                f"forked: make a FileStore in each process"
            )
        with self._mutex:
            self._lock(kind)
            try:
                with self._explained("read"):
                    if check_name and not self._has_its_name():
                        raise DistStoreError(f"{self.path} was removed while {self} was in use")
                    self._read()
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self, kind: int) -> None:
        def locked() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._file, kind | fcntl.LOCK_NB)
                return True
            return False

        limit = max(1.0, seconds_of(self.timeout))
        with self._explained("lock"):
            if not wait_until(
                lambda seconds: poll(locked, seconds, pause=0.0005, longest=0.005),
                limit,
                lambda: f"the lock of {self.path}, which another process holds",
            ):
                raise DistStoreError(f"another process kept {self.path} locked for {limit:g} s")

    def _has_its_name(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _read(self) -> None:
        """Take in the records that were appended since the last time."""
        size = os.fstat(self._file).st_size
        log = os.pread(self._file, size - self._position, self._position)
        if self._position == 0:
            first = record(USERS, b"")[: -LENGTH.size]
            if not (log.startswith(first) or first.startswith(log)):
                raise DistStoreError(
                    f"{self.path} is not a store's file: it begins with {log[:20]!r}. Choose "
                    f"another path, or remove the file"
                )
        start = 0
        while (end := self._read_record(log, start)) is not None:
            start = end
        self._position += start

    def _read_record(self, log: bytes, start: int) -> int | None:
        """Take in the record at `start`; where it ends, or None if it is not whole."""
        fields = []
        for _ in ("key", "value"):
            begin = start + LENGTH.size
            if begin > len(log):
                return None
            start = begin + LENGTH.unpack_from(log, begin - LENGTH.size)[0]
            if start > len(log):
                return None
            fields.append(log[begin:start])
        key, value = fields[0].decode(errors="surrogateescape"), fields[1]
        if key.startswith("-"):
            self._table.pop(key[1:], None)
        else:
            self._table[key] = value
        return start

    def _count(self, key: str, amount: int) -> int:
        total = add_amounts(self._table.get(key, b""), amount)
        self._write(key, str(total).encode())
        return total

    def _write(self, key: str, value: bytes) -> None:
        """Append a record, whole or not at all."""
        data = record(key, value)
        with self._explained(f"write {len(data)} bytes to"):
            os.ftruncate(self._file, self._position)  # what a killed writer has left
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(self._file, data[written:], self._position + written)
            except BaseException:
                os.ftruncate(self._file, self._position)
                raise
            self._read()

    @contextlib.contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DistStoreError(
                f"process {os.getpid()} could not {action} {self.path}, the file of a FileStore: "
                f"{error.strerror or error}"
            ) from error

    def __repr__(self):
        return f"FileStore({self.path!r})"
