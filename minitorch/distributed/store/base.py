"""What every store can do.

Invariant: nothing blocks for ever. Every wait ends with the key, or with an error that says what
was waited for, where and how long; until then a warning repeats it every few seconds.

PyTorch: torch/csrc/distributed/c10d/Store.cpp
"""

import operator
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from minitorch.distributed.errors import DistStoreError
from minitorch.distributed.store.patience import poll, seconds_of, wait_until

DEFAULT_TIMEOUT = timedelta(seconds=300)


def as_bytes(value: str | bytes) -> bytes:
    """A store's values are bytes; text is taken as UTF-8, as torch does."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a store holds bytes or str, not {type(value).__name__}: {value!r}")


def as_key(key: str) -> str:
    """`key`, if it is one. Raises TypeError otherwise, before somebody waits for what cannot be."""
    if isinstance(key, str):
        return key
    raise TypeError(f"a store's keys are str, not {type(key).__name__}: {key!r}")


def as_keys(keys: Sequence[str]) -> list[str]:
    """A list of keys. A lone str would be taken for a list of letters: a TypeError."""
    if isinstance(keys, str):
        raise TypeError(f"expected a list of keys, not one str; write [{keys!r}]")
    return [as_key(key) for key in keys]


def add_amounts(value: bytes, amount: int) -> int:
    """A counter's decimal text (empty: 0) plus `amount`, wrapping round at 64 bits as torch's.
    Raises ValueError if the text is no number, TypeError if `amount` is none."""
    amount = as_amount(amount)
    try:
        total = int(value or b"0") + amount
    except ValueError:
        raise ValueError(f"cannot add to {value[:40]!r}, which is no number") from None
    return (total + 2**63) % 2**64 - 2**63


def as_amount(amount: int) -> int:
    """An integer that fits into 64 bits. Raises TypeError otherwise, as torch does."""
    amount = operator.index(amount)
    if not -(2**63) <= amount < 2**63:
        raise TypeError(f"a counter has 64 bits, which {amount} does not fit")
    return amount


class Store:
    """What every store can do. Mirrors torch.distributed.Store.

    A subclass provides the dictionary operations; patience, progress reports and time-outs are the
    same for all and here.
    """

    def __init__(self, timeout: timedelta = DEFAULT_TIMEOUT):
        seconds_of(timeout)
        self._timeout = timeout

    @property
    def timeout(self) -> timedelta:
        """How long `get` and `wait` wait unless told otherwise."""
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        """Change the time-out. Zero means not to wait at all, for no store means for ever."""
        seconds_of(timeout)
        self._timeout = timeout

    def clone(self) -> "Store":
        """Another handle on the same table, safe to use from another thread."""
        self._lacks("clone")

    def set(self, key: str, value: str | bytes) -> None:
        """Store `value` under `key`, replacing what was there."""
        self._lacks("set")

    def last_will(self, key: str, value: str | bytes) -> None:
        """Let `key` be set to `value`, unless it has one, when this client has gone, in whatever
        way. Only a TCPStore, which has connections, can tell. Not in PyTorch."""

    def get(self, key: str) -> bytes:
        """The value of `key`; waits until it exists. Raises DistStoreError after the time-out."""
        self._lacks("get")

    def add(self, key: str, amount: int) -> int:
        """Add to the counter `key` (kept as decimal text, 0 at first) and return the new value.
        Raises ValueError if the value is no number (a TCPStore's server hangs up instead)."""
        self._lacks("add")

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all keys exist now. A queue with something in it exists, too."""
        self._lacks("check")

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        """Set `key` to `desired` if its value is `expected`, or if it is absent and `expected`
        is empty. Returns the value afterwards (`expected` itself where there is none)."""
        self._lacks("compare_set")

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        self._lacks("delete_key")

    def num_keys(self) -> int:
        """How many keys exist, counting those with which a TCPStore counts its clients and a
        FileStore its users, and those outside a PrefixStore."""
        self._lacks("num_keys")

    def list_keys(self) -> list[str]:
        """The keys that exist, in any order, without queues and the store's own."""
        self._lacks("list_keys")

    def append(self, key: str, value: str | bytes) -> None:
        """Append to the value of `key`, which starts out empty."""
        self._lacks("append")

    def queue_push(self, key: str, value: str | bytes) -> None:
        """Put `value` at the end of the queue `key`. Queues and values have separate tables."""
        self._lacks("queue_push")

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Take the value at the front of the queue `key`. An empty queue is waited for until
        the time-out (then DistStoreError), or with block=False a QueueEmptyError at once."""
        self._lacks("queue_pop")

    def queue_len(self, key: str) -> int:
        """How many values the queue `key` holds."""
        self._lacks("queue_len")

    def has_extended_api(self) -> bool:
        """Whether append, multi_get and multi_set are single steps rather than several."""
        return False

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values of all keys; waits until all exist."""
        return [self.get(key) for key in as_keys(keys)]

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Set several keys. Raises DistStoreError unless there are as many values."""
        for key, value in self._pairs(keys, values):
            self.set(key, value)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Block until all keys exist. Raises DistStoreError when the time-out passes first."""
        keys = as_keys(keys)

        def missing() -> str:
            return ", ".join([repr(key) for key in keys if not self.check([key])])

        limit = seconds_of(self.timeout if timeout is None else timeout)
        if not wait_until(
            lambda seconds: self.wait_at_most(keys, seconds),
            limit,
            lambda: f"{missing()} in {self}",
        ):
            raise DistStoreError(
                f"wait timeout: {missing()} did not appear in {self} within {limit:g} s"
            )

    def wait_at_most(self, keys: Sequence[str], seconds: float) -> bool:
        """Block until all keys exist, but not longer than this; whether they do. Not in PyTorch."""
        return poll(lambda: self.check(keys), seconds)

    def barrier(self, key: str, world_size: int, timeout: timedelta | None = None) -> None:
        """Block until `world_size` callers have come. The key serves once: whoever comes after
        them passes at once. Raises DistStoreError when the time-out passes first."""
        came = self.add(f"{key}/num_members", 1)
        if came >= world_size:
            self.set(f"{key}/last_member", "1")
        limit = self.timeout if timeout is None else timeout
        try:
            self.wait([f"{key}/last_member"], limit)
        except DistStoreError as error:
            raise self._incomplete(key, f"{key}/num_members", world_size, limit) from error

    def _incomplete(self, key, counter: str, world_size: int, limit: timedelta) -> DistStoreError:
        came = self.add(counter, 0)
        return DistStoreError(
            f"barrier {key!r} in {self}: {came} of {world_size} came within "
            f"{limit.total_seconds():g} s"
        )

    def _pairs(self, keys, values) -> list[tuple[str, str | bytes]]:
        if len(keys) != len(values):
            raise DistStoreError(f"multi_set got {len(keys)} keys but {len(values)} values")
        return list(zip(as_keys(keys), values, strict=True))

    def _lacks(self, method: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} has no {method}")

    def __repr__(self) -> str:
        return type(self).__name__
