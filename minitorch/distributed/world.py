"""The default process group: joining it, leaving it, and who is who.

Invariant: there is at most one default group in a process; it is left at the end of the program
even if the script forgets to, so that the other ranks hear a goodbye and not a death.

PyTorch: torch/distributed/distributed_c10d.py (init_process_group and its neighbours).
"""

import os
from datetime import timedelta
from multiprocessing.util import Finalize
from typing import Any

from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.registry import maker_of
from minitorch.distributed.rendezvous import rendezvous, sign_in
from minitorch.distributed.schedulers import setting
from minitorch.distributed.store import PrefixStore, Store

# PyTorch waits for 30 minutes, which is long to look at a hanging job.
default_pg_timeout = timedelta(minutes=5)

_world: ProcessGroup | None = None
_groups: dict[ProcessGroup, None] = {}  # those that this process is in, the default one first
_made = 0  # groups that all ranks have made: the same number on each, in the groups or not
_generation = 0  # how often this process has joined, so that a store can be used again


class _GroupMeta(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The default group; None before init_process_group."""
        return _world


class group(metaclass=_GroupMeta):
    """Mirrors `torch.distributed.group`: `group.WORLD` is the default group."""


class GroupMember(metaclass=_GroupMeta):
    """Mirrors `torch.distributed.GroupMember`."""

    NON_GROUP_MEMBER = -100  # what new_group returns on a rank that is no member


def is_available() -> bool:
    """Whether this package can be used: always. Mirrors `torch.distributed.is_available`."""
    return True


def is_initialized() -> bool:
    """Whether there is a default group. Mirrors `torch.distributed.is_initialized`."""
    return _world is not None


def is_torchelastic_launched() -> bool:
    """Whether the launcher (or torchrun) started this process. Mirrors torch's function."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Store | None = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
    _ranks: Any = None,
) -> None:
    """Join the default process group; returns when all ranks have. Mirrors torch's function.

    Args:
        backend: None or "zmq" (ours), "gloo" (ours as well, for PyTorch's scripts), "mpi", "nccl",
            or one given to `Backend.register_backend`.
        init_method: where the ranks meet: `env://` (the default), `tcp://host:port` or
            `file:///path`.
        timeout: after which joining, and later each collective, fails; 5 minutes by default.
        world_size, rank: needed with `store`, and with tcp:// unless they are in the URL.
        store: a store that all ranks share, in place of `init_method`.

    Raises ValueError for a second call or missing arguments, DistStoreError or DistNetworkError,
    naming the missing ranks, if they do not come together in time.
    """
    global _world, _generation, _made
    if _world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if timeout is None:
        timeout = default_pg_timeout
    check_timeout(timeout)
    make = maker_of(backend or "zmq")
    if (backend or "").lower() == "mpi":  # which has counted the ranks already
        init_method, store = "mpi://", None

    if store is None:
        url = init_method or "env://"
        store, rank, world_size = next(rendezvous(url, rank, world_size, timeout=timeout))
    else:
        if init_method is not None:
            raise ValueError("Cannot specify both init_method and store.")
        if world_size <= 0:
            raise ValueError("world_size must be positive if using store")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be from 0 to {world_size - 1} if using store, not {rank}")
        store = PrefixStore(f"group {_generation}", store)
        sign_in(store, str(store), rank, world_size, timeout)
    _generation += 1

    _world = make(store, rank, world_size, timeout)
    # Unlike `atexit`, this is also called at the end of a process that multiprocessing has forked.
    Finalize(None, _leave_at_exit, exitpriority=0)
    _made = 0
    add_group(_world, group_name or "0", "default_pg", backend or "zmq")


def add_group(
    made: ProcessGroup | None, name: str, description: str, backend: str, by_all: bool = True
) -> None:
    """Take note of a new group; None stands for one that this process is not in."""
    global _made
    _made += by_all
    if made is not None:
        made.group_name, made.group_desc, made.backend_name = name, description, backend
        _groups[made] = None


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Leave a group; without an argument all of them, closing the connections.

    What is still in flight then fails, here and on the ranks that wait for it. Mirrors
    `torch.distributed.destroy_process_group`.
    """
    global _world
    chosen = member_group(group)
    if chosen is None:
        return
    del _groups[chosen]
    if chosen is _world:
        _world = None
        _groups.clear()
    chosen.destroy()


def default_group() -> ProcessGroup:
    """The default group. Raises ValueError if there is none."""
    if _world is None:
        raise ValueError(
            "Default process group has not been initialized, "
            "please make sure to call init_process_group."
        )
    return _world


def member_group(group: ProcessGroup | int | None) -> ProcessGroup | None:
    """The group that a `group` argument means; None if this rank is no member of it.

    Raises ValueError for a group that has been destroyed, TypeError for what is no group.
    """
    if group is None:
        return default_group()
    if isinstance(group, int) and group == GroupMember.NON_GROUP_MEMBER:
        return None
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"expected a ProcessGroup as group, got {type(group).__name__}")
    default_group()
    if group not in _groups:
        raise ValueError("Invalid process group specified: it has been destroyed")
    return group


def check_timeout(timeout: Any) -> None:
    """Raise TypeError for a time-out that is no timedelta."""
    if not isinstance(timeout, timedelta):
        raise TypeError(
            f"Expected timeout argument to be of type datetime.timedelta, got {timeout}"
        )


def get_rank(group: ProcessGroup | None = None) -> int:
    """This process's rank in a group, -1 if it is no member. Mirrors torch's function."""
    chosen = member_group(group)
    return -1 if chosen is None else chosen.rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """The number of ranks in a group, -1 if this is no member. Mirrors torch's function."""
    chosen = member_group(group)
    return -1 if chosen is None else chosen.size()


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name of a group's backend, as it was given. Mirrors `torch.distributed.get_backend`."""
    chosen = member_group(group)
    if chosen is None:
        raise ValueError("Invalid process group specified: this rank is not a member")
    return chosen.backend_name


def get_backend_config(group: ProcessGroup | None = None) -> str:
    """The backend for each device, such as "cpu:zmq". Mirrors torch's function."""
    name = get_backend(group)
    return name if ":" in name else f"cpu:{name}"


def get_pg_count() -> int:
    """The number of groups that all ranks have made, the default one included. Mirrors torch's
    function."""
    return _made if _world is not None else 0


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """The global ranks of a group's members. Mirrors torch's function."""
    chosen = member_group(group)
    return [] if chosen is None else list(chosen.ranks)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The global rank of a group's member. Mirrors `torch.distributed.get_global_rank`."""
    ranks = get_process_group_ranks(group)
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of group with ranks {ranks}")
    return ranks[group_rank]


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """A member's rank within a group. Mirrors `torch.distributed.get_group_rank`."""
    ranks = get_process_group_ranks(group)
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group with ranks {ranks}")
    return ranks.index(global_rank)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK from the environment, or `fallback_rank`, or what mpirun or Slurm call it.

    Mirrors `torch.distributed.get_node_local_rank`.
    """
    local_rank = os.environ.get("LOCAL_RANK", fallback_rank)
    if local_rank is None:
        local_rank = setting("LOCAL_RANK")
    if local_rank is not None:
        return int(local_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment: start the script with minitorchrun, "
        "or give a fallback_rank"
    )


def _leave_at_exit() -> None:
    if _world is not None:
        destroy_process_group()


def _forget_after_fork() -> None:
    """A forked child has no group: the connections are its parent's, which it must not close."""
    global _world
    _world = None
    _groups.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
