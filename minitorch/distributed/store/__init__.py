"""Key-value stores: the notice board on which processes find each other.

Why it exists: before ranks can send tensors to each other they must exchange addresses, and
somebody must count who is there. A store is a small dictionary of bytes with three extra talents:
`get` and `wait` block until a key exists, `add` counts atomically, and `compare_set` lets exactly
one process win.

| file | idea |
|---|---|
| `base` | what all stores share |
| `patience` | waiting with reports and a time-out |
| `hash` | `HashStore`: a dictionary for the threads of one process |
| `file` | `FileStore`: a log in a file |
| `prefix` | `PrefixStore`: a namespace within another store |
| `tcp`, `connection` | `TCPStore`: its operations, and the connection that they travel on |
| `protocol` | the wire protocol, which is that of PyTorch's TCPStore |
| `conversation`, `server` | the side that holds the table: what it answers, and its sockets |

PyTorch: torch/csrc/distributed/c10d/Store.hpp
"""

from minitorch.distributed.store.base import Store
from minitorch.distributed.store.file import FileStore
from minitorch.distributed.store.hash import HashStore
from minitorch.distributed.store.prefix import PrefixStore
from minitorch.distributed.store.tcp import TCPStore

__all__ = ["FileStore", "HashStore", "PrefixStore", "Store", "TCPStore"]
