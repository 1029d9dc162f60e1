"""What a TCPStore's server says to its clients; it knows nothing of sockets.

The conversation with each client is written as if reading could block: a generator that yields how
many bytes it wants next, and is resumed with them when they have arrived. So half a request needs
no special care; it is a generator that has not been resumed.

Invariants: a request is read whole before anything is done about it, and is limited in size.
Whoever talks nonsense gets a ValueError raised, upon which the server hangs up.

PyTorch: torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp
"""

import struct
from collections import defaultdict
from collections.abc import Generator
from typing import Any

from minitorch.distributed.store.hash import HashStore
from minitorch.distributed.store.protocol import (
    COUNT,
    INTEGER,
    LAST_WILL,
    MAGIC,
    MAX_KEYS,
    MAX_REQUEST,
    NONCE,
    NOT_READY,
    READY,
    STOP_WAITING,
    WAIT_CANCELED,
    Query,
    pack,
)

# What a reading function yields is how many bytes it wants, and what it is sent are those bytes.
Read = Generator[int, bytes, Any]


def read_number(layout: struct.Struct) -> Read:
    return layout.unpack((yield layout.size))[0]


def read_value() -> Read:
    return (yield (yield from read_number(COUNT)))


def read_key() -> Read:
    return (yield from read_value()).decode()


def read_count() -> Read:
    count = yield from read_number(COUNT)
    if count > MAX_KEYS:
        raise ValueError(f"it announced {count} keys")
    return count


def read_keys() -> Read:
    keys = []
    for _ in range((yield from read_count())):
        keys.append((yield from read_key()))
    return keys


class Client:
    """One connection: what has arrived and is not yet understood, and what has not yet left."""

    def __init__(self, board: "Board"):
        self.received = bytearray()
        self.unsent = bytearray()
        self.introduced = False  # it has said hello
        self.awaited: set[str] = set()  # keys of a pending WAIT or BARRIER that are yet to come
        self.will: dict[str, bytes] = {}  # what to set when it has gone
        self.size = 0  # of the present request so far
        self._conversation = board.converse(self)
        self._wanted = next(self._conversation)

    def digest(self) -> bool:
        """Go on with the conversation as far as what has arrived allows; True if it stopped
        because so many replies have not left. Raises ValueError if the client talks nonsense."""
        while len(self.unsent) < MAX_REQUEST:
            if self.size + self._wanted > MAX_REQUEST:
                raise ValueError(f"it announced {self.size + self._wanted} bytes or more")
            if len(self.received) < self._wanted:
                return False
            self.size += self._wanted
            data = bytes(self.received[: self._wanted])
            del self.received[: self._wanted]
            self._wanted = self._conversation.send(data)
        return True

    def end(self) -> None:
        """Let go of everything at once: this object and its generator refer to each other."""
        self._conversation.close()
        self.received.clear()
        self.unsent.clear()


class Board:
    """The table, and who waits for what to appear in it."""

    def __init__(self, table: HashStore):
        self._table = table
        self._waiting: defaultdict[str, set[Client]] = defaultdict(set)
        self.woken: set[Client] = set()  # whose wait has ended since the server last looked

    def converse(self, client: Client) -> Read:
        """All that one client says; the replies go to `client.unsent`."""
        if (yield 1)[0] != Query.VALIDATE or (yield from read_number(NONCE)) != MAGIC:
            raise ValueError("it does not speak the store's protocol")
        client.introduced = True
        while True:
            client.size = 0
            query = (yield 1)[0]
            client.unsent += yield from self._answer(client, query)

    def leave(self, client: Client) -> None:
        """Nothing is to be said to this client when the keys come that it waited for."""
        for key in client.awaited:
            self._waiting[key].discard(client)
            if not self._waiting[key]:
                del self._waiting[key]
        client.awaited = set()

    def execute_will(self, client: Client) -> None:
        """A client has gone: tell those who wait what it has left for them."""
        self.leave(client)
        for key, value in client.will.items():
            self._table.compare_set(key, b"", value)
            self._announce(key)

    def _wait(self, client: Client, keys: set[str]) -> bytes:
        self.leave(client)
        client.awaited = keys
        for key in keys:
            self._waiting[key].add(client)
        return b"" if keys else STOP_WAITING

    def _announce(self, *keys: str) -> None:
        """These keys have come: answer those who waited for nothing else."""
        for key in keys:
            for client in self._waiting.pop(key, ()):
                client.awaited.discard(key)
                if not client.awaited:
                    client.unsent += STOP_WAITING
                    self.woken.add(client)

    def _existing(self, key: str) -> bytes:
        if not self._table.check([key]):
            raise ValueError("it asked for a key that does not exist")
        return self._table.get(key)

    def _answer(self, client: Client, query: int) -> Read:
        """Read the fields of one request, act on it, and return the reply, often empty."""
        table = self._table
        match query:
            case Query.SET | Query.APPEND | Query.QUEUE_PUSH:
                key, value = (yield from read_key()), (yield from read_value())
                if key.startswith(LAST_WILL):
                    client.will[key.removeprefix(LAST_WILL)] = value
                    return b""
                put = {
                    Query.SET: table.set,
                    Query.APPEND: table.append,
                    Query.QUEUE_PUSH: table.queue_push,
                }
                put[Query(query)](key, value)
                self._announce(key)
                return b""
            case Query.COMPARE_SET:
                key, expected = (yield from read_key()), (yield from read_value())
                desired = yield from read_value()
                value = table.compare_set(key, expected, desired)
                if table.check([key]):
                    self._announce(key)
                return pack(value)
            case Query.GET:
                return pack(self._existing((yield from read_key())))
            case Query.ADD:
                key, amount = (yield from read_key()), (yield from read_number(INTEGER))
                total = table.add(key, amount)
                self._announce(key)
                return INTEGER.pack(total)
            case Query.CHECK:
                return READY if table.check((yield from read_keys())) else NOT_READY
            case Query.WAIT:
                keys = yield from read_keys()
                return self._wait(client, {key for key in keys if not table.check([key])})
            case Query.NUM_KEYS:
                return INTEGER.pack(table.num_keys())
            case Query.DELETE_KEY:
                return INTEGER.pack(table.delete_key((yield from read_key())))
            case Query.MULTI_GET:
                keys = yield from read_keys()
                return b"".join([pack(self._existing(key)) for key in keys])
            case Query.MULTI_SET:
                keys, values = [], []
                for _ in range((yield from read_count())):
                    keys.append((yield from read_key()))
                    values.append((yield from read_value()))
                table.multi_set(keys, values)
                self._announce(*keys)
                return b""
            case Query.CANCEL_WAIT:
                self.leave(client)
                return WAIT_CANCELED
            case Query.PING:
                return NONCE.pack((yield from read_number(NONCE)))
            case Query.QUEUE_POP:
                key = yield from read_key()
                length = table.queue_len(key)
                value = pack(table.queue_pop(key, block=False)) if length else b""
                return INTEGER.pack(length) + value
            case Query.QUEUE_LEN:
                return INTEGER.pack(table.queue_len((yield from read_key())))
            case Query.LIST_KEYS:
                keys = table.list_keys()
                return COUNT.pack(len(keys)) + b"".join([pack(key) for key in keys])
            case Query.BARRIER:
                key, world_size = (yield from read_key()), (yield from read_number(INTEGER))
                if table.add(key, 1) < world_size:
                    return self._wait(client, {key})
                self._announce(key)
                return STOP_WAITING
        raise ValueError(f"it sent a query of unknown kind {query}")
