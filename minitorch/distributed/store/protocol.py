"""How a TCPStore's clients and its server talk: the wire protocol of PyTorch's TCPStore.

Why it exists: since both speak PyTorch's protocol, a PyTorch worker can be a client of our server
and a minitorch worker one of PyTorch's (torchrun hosts one for the workers it starts).

A request is one byte saying which query it is, then its fields. A string or value is a 64-bit
length and that many bytes, a list is a 64-bit count and its items, integers are in the machine's
own byte order. A client's first request is VALIDATE with the magic number. Requests of one client
are answered in order; WAIT and BARRIER are answered only when there is nothing left to wait for,
and CANCEL_WAIT may overtake them. Nothing received is ever unpickled.

PyTorch: torch/csrc/distributed/c10d/TCPStoreBackend.hpp
"""

import enum
import struct

COUNT = struct.Struct("=Q")  # lengths and counts
INTEGER = struct.Struct("=q")  # values of counters
NONCE = struct.Struct("=I")
MAGIC = 0x3C85F7CE  # so that strangers are told apart

# A store is a notice board, not a way to move tensors: whoever announces more than this has gone
# wrong or means harm. (PyTorch's server takes 8 MiB a value.)
MAX_REQUEST = 64 << 20
MAX_KEYS = 1 << 17  # in one request

# What is set under such a key comes into force, under the rest of the key, when its client has hung
# up. (PyTorch's server knows nothing of this, and keeps it as it keeps any key.)
LAST_WILL = "/last will: "

READY, NOT_READY = b"\0", b"\1"  # replies to CHECK
STOP_WAITING, WAIT_CANCELED = b"\0", b"\1"  # replies to WAIT, BARRIER and CANCEL_WAIT


class Query(enum.IntEnum):
    VALIDATE = 0
    SET = 1
    COMPARE_SET = 2
    GET = 3
    ADD = 4
    CHECK = 5
    WAIT = 6
    NUM_KEYS = 7
    DELETE_KEY = 8
    APPEND = 9
    MULTI_GET = 10
    MULTI_SET = 11
    CANCEL_WAIT = 12
    PING = 13
    QUEUE_PUSH = 14
    QUEUE_POP = 15
    QUEUE_LEN = 16
    LIST_KEYS = 17
    BARRIER = 18


def pack(data: str | bytes) -> bytes:
    """A string or value as it travels: its length, then its bytes."""
    data = data.encode() if isinstance(data, str) else data
    return COUNT.pack(len(data)) + data
