"""HashStore: a store inside one process, shared by its threads.

It is also the table that a TCPStore's server keeps.

PyTorch: torch/csrc/distributed/c10d/HashStore.cpp
"""

import threading
from collections import deque
from datetime import timedelta

from minitorch.distributed.errors import DistStoreError, QueueEmptyError
from minitorch.distributed.store.base import (
    DEFAULT_TIMEOUT,
    Store,
    add_amounts,
    as_bytes,
    as_key,
    as_keys,
)
from minitorch.distributed.store.patience import seconds_of, wait_until


class HashStore(Store):
    """A store inside one process, shared by its threads. Mirrors torch.distributed.HashStore."""

    def __init__(self, timeout: timedelta = DEFAULT_TIMEOUT):
        super().__init__(timeout)
        self._table: dict[str, bytes] = {}
        self._queues: dict[str, deque[bytes]] = {}  # none of them is empty
        self._changed = threading.Condition()

    def clone(self):
        return self  # every method is safe in any thread

    def _put(self, key: str, value: bytes) -> None:
        self._table[as_key(key)] = value
        self._changed.notify_all()

    def _exist(self, keys: list[str]) -> bool:
        return all(key in self._table or key in self._queues for key in keys)

    def set(self, key, value):
        with self._changed:
            self._put(key, as_bytes(value))

    def get(self, key):
        self.wait([key])
        with self._changed:
            return self._table.get(key, b"")  # a mere queue has no value

    def add(self, key, amount):
        with self._changed:
            total = add_amounts(self._table.get(key, b""), amount)
            self._put(key, str(total).encode())
            return total

    def check(self, keys):
        with self._changed:
            return self._exist(as_keys(keys))

    def compare_set(self, key, expected, desired):
        expected, desired = as_bytes(expected), as_bytes(desired)
        with self._changed:
            if self._table.get(key, b"") == expected and (key in self._table or not expected):
                self._put(key, desired)
            return self._table.get(key, expected)

    def delete_key(self, key):
        with self._changed:
            return self._table.pop(key, None) is not None

    def num_keys(self):
        with self._changed:
            return len(self._table)

    def list_keys(self):
        with self._changed:
            return list(self._table)

    def append(self, key, value):
        with self._changed:
            self._put(key, self._table.get(key, b"") + as_bytes(value))

    def queue_push(self, key, value):
        with self._changed:
            self._queues.setdefault(as_key(key), deque()).append(as_bytes(value))
            self._changed.notify_all()

    def queue_pop(self, key, block=True):
        with self._changed:
            limit = seconds_of(self.timeout) if block else 0.0
            if not wait_until(
                lambda seconds: self._changed.wait_for(lambda: key in self._queues, seconds),
                limit,
                lambda: f"queue {key!r} in {self}",
            ):
                if not block:
                    raise QueueEmptyError(f"queue {key!r} is empty")
                raise DistStoreError(f"wait timeout: queue {key!r} stayed empty for {limit:g} s")
            queue = self._queues[key]
            value = queue.popleft()
            if not queue:
                del self._queues[key]
            return value

    def queue_len(self, key):
        with self._changed:
            return len(self._queues.get(key, ()))

    def has_extended_api(self):
        return True

    def wait_at_most(self, keys, seconds):
        keys = as_keys(keys)
        with self._changed:
            return self._changed.wait_for(lambda: self._exist(keys), seconds)
