"""Distributed training: process groups, collectives, stores and the launcher.

Read in this order: link.py (what an algorithm may know of the network), algorithms.py (who sends
what to whom), message.py (the fingerprint), transport.py (ZeroMQ), progress.py (the event loop and
every way to fail), process_group.py, world.py and collectives.py (PyTorch's functions).

PyTorch: torch/distributed/__init__.py.
"""

from minitorch.distributed.collectives import (
    all_gather,
    all_gather_into_tensor,
    all_gather_single,
    all_reduce,
    barrier,
    broadcast,
    irecv,
    isend,
    recv,
    reduce,
    send,
)
from minitorch.distributed.errors import (
    DistBackendError,
    DistError,
    DistNetworkError,
    DistStoreError,
)
from minitorch.distributed.process_group import ProcessGroup, Work
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.rendezvous import rendezvous
from minitorch.distributed.store import HashStore, PrefixStore, Store, TCPStore
from minitorch.distributed.world import (
    GroupMember,
    default_pg_timeout,
    destroy_process_group,
    get_backend,
    get_global_rank,
    get_group_rank,
    get_node_local_rank,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_initialized,
    new_group,
)

__all__ = [
    "DistBackendError",
    "DistError",
    "DistNetworkError",
    "DistStoreError",
    "GroupMember",
    "HashStore",
    "PrefixStore",
    "ProcessGroup",
    "ReduceOp",
    "Store",
    "TCPStore",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_single",
    "all_reduce",
    "barrier",
    "broadcast",
    "default_pg_timeout",
    "destroy_process_group",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "irecv",
    "is_available",
    "is_initialized",
    "isend",
    "new_group",
    "recv",
    "reduce",
    "rendezvous",
    "send",
]
