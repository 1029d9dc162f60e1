"""Key-value stores: the notice board on which processes find each other.

Why it exists: before ranks can send tensors to each other they must exchange addresses, and
somebody must count who is there. A store is a small dictionary of bytes with three extra talents:
`get` and `wait` block until a key exists, `add` counts atomically, and `compare_set` lets exactly
one process win.

`base` holds what all stores share, `HashStore` (one process) and `PrefixStore` (a namespace within
another store); `tcp` the client side of `TCPStore` and `server` the side that holds the table.
`TCPStore` speaks the wire protocol of PyTorch's, so either side may be PyTorch.

PyTorch: torch/csrc/distributed/c10d/Store.hpp
"""

from minitorch.distributed.store.base import HashStore, PrefixStore, Store
from minitorch.distributed.store.tcp import TCPStore

__all__ = ["HashStore", "PrefixStore", "Store", "TCPStore"]
