"""PrefixStore: a namespace within another store.

Why it exists: several users of one store (the launcher, a rendezvous, each process group) must not
get in each other's way, and can then use plain keys.

PyTorch: torch/csrc/distributed/c10d/PrefixStore.cpp
"""

from minitorch.distributed.store.base import Store, as_keys


class PrefixStore(Store):
    """A view of `store` in which every key starts with `prefix/`. Mirrors torch's PrefixStore.

    `underlying_store` is `store`; the time-out is the one it has.
    """

    def __init__(self, prefix: str, store: Store):
        super().__init__(store.timeout)
        self._prefix = prefix + "/"
        self.underlying_store = store

    @property
    def timeout(self):
        return self.underlying_store.timeout

    def set_timeout(self, timeout):
        self.underlying_store.set_timeout(timeout)

    @property
    def local_address(self) -> str:
        """See TCPStore.local_address."""
        return self.underlying_store.local_address  # type: ignore[attr-defined]

    def clone(self):
        return PrefixStore(self._prefix[:-1], self.underlying_store.clone())

    def _full(self, keys):
        return [self._prefix + key for key in as_keys(keys)]

    def set(self, key, value):
        self.underlying_store.set(self._prefix + key, value)

    def last_will(self, key, value):
        self.underlying_store.last_will(self._prefix + key, value)

    def get(self, key):
        return self.underlying_store.get(self._prefix + key)

    def add(self, key, amount):
        return self.underlying_store.add(self._prefix + key, amount)

    def check(self, keys):
        return self.underlying_store.check(self._full(keys))

    def compare_set(self, key, expected, desired):
        return self.underlying_store.compare_set(self._prefix + key, expected, desired)

    def delete_key(self, key):
        return self.underlying_store.delete_key(self._prefix + key)

    def num_keys(self):
        return self.underlying_store.num_keys()

    def list_keys(self):
        keys = self.underlying_store.list_keys()
        return [key.removeprefix(self._prefix) for key in keys if key.startswith(self._prefix)]

    def append(self, key, value):
        self.underlying_store.append(self._prefix + key, value)

    def queue_push(self, key, value):
        self.underlying_store.queue_push(self._prefix + key, value)

    def queue_pop(self, key, block=True):
        return self.underlying_store.queue_pop(self._prefix + key, block)

    def queue_len(self, key):
        return self.underlying_store.queue_len(self._prefix + key)

    def has_extended_api(self):
        return self.underlying_store.has_extended_api()

    def multi_get(self, keys):
        return self.underlying_store.multi_get(self._full(keys))

    def multi_set(self, keys, values):
        self.underlying_store.multi_set(self._full(keys), values)

    def wait_at_most(self, keys, seconds):
        return self.underlying_store.wait_at_most(self._full(keys), seconds)

    def __repr__(self):
        return f"PrefixStore({self._prefix[:-1]!r}, {self.underlying_store})"
