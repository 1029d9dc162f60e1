"""Distributed training: process groups, collectives, stores and the launcher.

To read it, follow one call with docs/reading.md ("How a collective travels"), or take the files in
this order:

| | |
|---|---|
| who sends what to whom | `link`, then `algorithms/`: `direct`, `ring`, `pieces`, `table` |
| one call | `message` (its fingerprint), `operation` |
| how bytes travel | `transport`, `data_paths`, `streams`, `shared_memory` |
| how calls go on, and fail | `progress` (the event loop), `watch` |
| what a backend is, and ours | `backend`, `process_group`; others: `registry`, `backends/` |
| PyTorch's functions | `arguments`, `collectives`, `blocks`, `point_to_point`, `objects` |
| how a job begins | `world`, `rendezvous`, `store/`, `handshake`, `security`, `calibration` |
| groups of some ranks | `groups`, `device_mesh` |
| gradients through collectives | `nn/functional` |
| layers split over ranks | `tensor/parallel/` |
| layers shared out among ranks | `pipelining/` |
| weights, gradients and optimizer states spread over ranks | `fsdp/`, `checkpoint/` |
| what happened? | `recorder`, `flight_recorder`, `log`, `errors` |
| thousands of ranks in one thread | `simulation` |
| starting the processes | `run`, `launcher/` |

PyTorch: torch/distributed/__init__.py.
"""

import importlib

from minitorch.distributed.backend import ProcessGroup, Work
from minitorch.distributed.blocks import (
    _all_gather_base,
    _reduce_scatter_base,
    all_gather,
    all_gather_coalesced,
    all_gather_into_tensor,
    all_gather_single,
    all_to_all,
    all_to_all_single,
    gather,
    reduce_scatter,
    reduce_scatter_single,
    reduce_scatter_tensor,
    scatter,
)
from minitorch.distributed.collectives import (
    all_reduce,
    all_reduce_coalesced,
    barrier,
    broadcast,
    monitored_barrier,
    reduce,
)
from minitorch.distributed.device_mesh import DeviceMesh, init_device_mesh
from minitorch.distributed.errors import (
    DistBackendError,
    DistError,
    DistNetworkError,
    DistStoreError,
    QueueEmptyError,
)
from minitorch.distributed.grad_bucket import GradBucket
from minitorch.distributed.groups import (
    new_group,
    new_subgroups,
    new_subgroups_by_enumeration,
    split_group,
)
from minitorch.distributed.objects import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    recv_object_list,
    scatter_object_list,
    send_object_list,
)
from minitorch.distributed.point_to_point import (
    P2POp,
    batch_isend_irecv,
    irecv,
    isend,
    recv,
    send,
)
from minitorch.distributed.reduce_op import ReduceOp, reduce_op, supports_complex
from minitorch.distributed.registry import (
    Backend,
    get_default_backend_for_device,
    is_backend_available,
    is_gloo_available,
    is_mpi_available,
    is_nccl_available,
    is_ucc_available,
    is_xccl_available,
)
from minitorch.distributed.rendezvous import register_rendezvous_handler, rendezvous
from minitorch.distributed.store import FileStore, HashStore, PrefixStore, Store, TCPStore
from minitorch.distributed.world import (
    GroupMember,
    default_pg_timeout,
    destroy_process_group,
    get_backend,
    get_backend_config,
    get_global_rank,
    get_group_rank,
    get_node_local_rank,
    get_pg_count,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_initialized,
    is_torchelastic_launched,
)

__all__ = [
    "Backend",
    "DeviceMesh",
    "DistBackendError",
    "DistError",
    "DistNetworkError",
    "DistStoreError",
    "FileStore",
    "GradBucket",
    "GroupMember",
    "HashStore",
    "P2POp",
    "PrefixStore",
    "ProcessGroup",
    "QueueEmptyError",
    "ReduceOp",
    "Store",
    "TCPStore",
    "Work",
    "_all_gather_base",
    "_reduce_scatter_base",
    "all_gather",
    "all_gather_coalesced",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_gather_single",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "broadcast_object_list",
    "default_pg_timeout",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_backend_config",
    "get_default_backend_for_device",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_pg_count",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_device_mesh",
    "init_process_group",
    "irecv",
    "is_available",
    "is_backend_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "is_ucc_available",
    "is_xccl_available",
    "isend",
    "monitored_barrier",
    "new_group",
    "new_subgroups",
    "new_subgroups_by_enumeration",
    "recv",
    "recv_object_list",
    "reduce",
    "reduce_op",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "register_rendezvous_handler",
    "rendezvous",
    "scatter",
    "scatter_object_list",
    "send",
    "send_object_list",
    "split_group",
    "supports_complex",
]

# These need what is built on this package (minitorch.nn): imported when they are first asked for.
_LATER = (
    "checkpoint",
    "elastic",
    "fsdp",
    "launch",
    "launcher",
    "nn",
    "optim",
    "pipelining",
    "run",
    "tensor",
)


def __getattr__(name: str):
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    from minitorch.missing import getattr_for

    return getattr_for(__name__)(name)
