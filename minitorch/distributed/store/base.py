"""What every store can do, and the two stores that need no network.

Invariant: nothing blocks for ever. Every wait ends with the key, or with an error that says what
was waited for, where and how long; until then a warning repeats it every few seconds.

PyTorch: torch/csrc/distributed/c10d/{Store,HashStore,PrefixStore}.cpp
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from minitorch.distributed.errors import DistStoreError

logger = logging.getLogger("minitorch.distributed")

DEFAULT_TIMEOUT = timedelta(seconds=300)
REPORT_EVERY = 5.0  # seconds between two "still waiting" warnings


def as_bytes(value: str | bytes) -> bytes:
    """A store's values are bytes; text is taken as UTF-8, as torch does."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a store holds bytes or str, not {type(value).__name__}: {value!r}")


class Store:
    """What every store can do. Mirrors torch.distributed.Store.

    A subclass provides the dictionary operations and `wait_at_most`; patience, progress reports
    and time-outs are the same for all and here.
    """

    def __init__(self, timeout: timedelta = DEFAULT_TIMEOUT):
        self._timeout = timeout

    @property
    def timeout(self) -> timedelta:
        """How long `get` and `wait` wait unless told otherwise."""
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Store `value` under `key`, replacing what was there."""
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        """The value of `key`; waits until it exists. Raises DistStoreError after the time-out."""
        raise NotImplementedError

    def add(self, key: str, amount: int) -> int:
        """Add to the counter `key` (kept as decimal text, 0 at first) and return the new value."""
        raise NotImplementedError

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all keys exist now."""
        raise NotImplementedError

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        """Set `key` to `desired` if its value is `expected`, or if it is absent and `expected`
        is empty. Returns the value afterwards (`expected` itself where there is none)."""
        raise NotImplementedError

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        raise NotImplementedError

    def num_keys(self) -> int:
        """How many keys exist. A TCPStore counts the one with which it counts its clients."""
        raise NotImplementedError

    def append(self, key: str, value: str | bytes) -> None:
        """Append to the value of `key`, which starts out empty."""
        raise NotImplementedError

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values of all keys; waits until all exist."""
        return [self.get(key) for key in keys]

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Set several keys."""
        if len(keys) != len(values):
            raise DistStoreError(f"multi_set got {len(keys)} keys but {len(values)} values")
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Block until all keys exist. Raises DistStoreError when the time-out passes first."""
        limit = (self._timeout if timeout is None else timeout).total_seconds()
        start = time.monotonic()
        while True:
            left = start + limit - time.monotonic()
            if self.wait_at_most(keys, max(0.0, min(left, REPORT_EVERY))):
                return
            waited = time.monotonic() - start
            missing = ", ".join(repr(key) for key in keys if not self.check([key]))
            if waited >= limit:
                raise DistStoreError(
                    f"wait timeout: {missing} did not appear in {self} within {limit:g} s"
                )
            logger.warning("waiting for %s in %s, %.0f s", missing, self, waited)

    def wait_at_most(self, keys: Sequence[str], seconds: float) -> bool:
        """Block until all keys exist, but not longer than this; whether they do. Not in PyTorch."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__


class HashStore(Store):
    """A store inside one process, shared by its threads. Mirrors torch.distributed.HashStore."""

    def __init__(self, timeout: timedelta = DEFAULT_TIMEOUT):
        super().__init__(timeout)
        self._table: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def set(self, key, value):
        with self._changed:
            self._table[key] = as_bytes(value)
            self._changed.notify_all()

    def get(self, key):
        self.wait([key])
        with self._changed:
            return self._table[key]

    def add(self, key, amount):
        with self._changed:
            total = int(self._table.get(key, b"0")) + amount
            self._table[key] = str(total).encode()
            self._changed.notify_all()
            return total

    def check(self, keys):
        with self._changed:
            return all(key in self._table for key in keys)

    def compare_set(self, key, expected, desired):
        expected = as_bytes(expected)
        with self._changed:
            if self._table.get(key, b"") == expected and (key in self._table or not expected):
                self._table[key] = as_bytes(desired)
                self._changed.notify_all()
            return self._table.get(key, expected)

    def delete_key(self, key):
        with self._changed:
            return self._table.pop(key, None) is not None

    def num_keys(self):
        with self._changed:
            return len(self._table)

    def append(self, key, value):
        with self._changed:
            self._table[key] = self._table.get(key, b"") + as_bytes(value)
            self._changed.notify_all()

    def wait_at_most(self, keys, seconds):
        with self._changed:
            return self._changed.wait_for(lambda: all(k in self._table for k in keys), seconds)


class PrefixStore(Store):
    """A view of `store` in which every key starts with `prefix/`. Mirrors torch's PrefixStore."""

    def __init__(self, prefix: str, store: Store):
        super().__init__(store.timeout)
        self._prefix = prefix + "/"
        self.underlying_store = store

    @property
    def timeout(self) -> timedelta:
        return self.underlying_store.timeout

    def set_timeout(self, timeout):
        self.underlying_store.set_timeout(timeout)

    @property
    def local_address(self) -> str:
        """See TCPStore.local_address."""
        return self.underlying_store.local_address  # type: ignore[attr-defined]

    def set(self, key, value):
        self.underlying_store.set(self._prefix + key, value)

    def get(self, key):
        return self.underlying_store.get(self._prefix + key)

    def add(self, key, amount):
        return self.underlying_store.add(self._prefix + key, amount)

    def check(self, keys):
        return self.underlying_store.check([self._prefix + key for key in keys])

    def compare_set(self, key, expected, desired):
        return self.underlying_store.compare_set(self._prefix + key, expected, desired)

    def delete_key(self, key):
        return self.underlying_store.delete_key(self._prefix + key)

    def num_keys(self):
        return self.underlying_store.num_keys()

    def append(self, key, value):
        self.underlying_store.append(self._prefix + key, value)

    def multi_get(self, keys):
        return self.underlying_store.multi_get([self._prefix + key for key in keys])

    def multi_set(self, keys, values):
        self.underlying_store.multi_set([self._prefix + key for key in keys], values)

    def wait_at_most(self, keys, seconds):
        return self.underlying_store.wait_at_most([self._prefix + key for key in keys], seconds)

    def __repr__(self):
        return f"PrefixStore({self._prefix[:-1]!r}, {self.underlying_store})"
