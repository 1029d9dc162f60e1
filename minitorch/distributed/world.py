"""The default process group: joining it, leaving it, and who is who.

Invariant: there is at most one default group in a process; it is left at the end of the program
even if the script forgets to, so that the other ranks hear a goodbye and not a death.

PyTorch: torch/distributed/distributed_c10d.py (init_process_group and its neighbours).
"""

import atexit
import os
from datetime import timedelta
from typing import Any

from minitorch.distributed.process_group import ProcessGroup, ZmqProcessGroup
from minitorch.distributed.rendezvous import rendezvous, sign_in
from minitorch.distributed.store import PrefixStore, Store

# PyTorch waits for 30 minutes, which is long to look at a hanging job.
default_pg_timeout = timedelta(minutes=5)

_BACKENDS = {"zmq": ZmqProcessGroup, "gloo": ZmqProcessGroup}

_world: ProcessGroup | None = None
_backend_names: dict[ProcessGroup, str] = {}
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
) -> None:
    """Join the default process group; returns when all ranks have. Mirrors torch's function.

    Args:
        backend: None, "zmq" or "gloo" (an alias, for PyTorch's scripts).
        init_method: where the ranks meet: `env://` (the default) or `tcp://host:port`.
        timeout: after which joining, and later each collective, fails; 5 minutes by default.
        world_size, rank: needed with `store`, and with tcp:// unless they are in the URL.
        store: a store that all ranks share, in place of `init_method`.

    Raises ValueError for a second call or missing arguments, DistStoreError or DistNetworkError,
    naming the missing ranks, if they do not come together in time.
    """
    global _world, _generation
    if _world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if timeout is None:
        timeout = default_pg_timeout
    if not isinstance(timeout, timedelta):
        raise TypeError(
            f"Expected timeout argument to be of type datetime.timedelta, got {timeout}"
        )
    make = _backend(backend or "zmq")

    if store is None:
        store, rank, world_size = rendezvous(init_method or "env://", rank, world_size, timeout)
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

    _world = make.connect(store, rank, world_size, group_name, timeout.total_seconds())
    _backend_names[_world] = backend or "zmq"


def _backend(name: str):
    # PyTorch also takes one backend for each device: "cpu:gloo,cuda:nccl".
    devices = dict(part.split(":") for part in name.split(",")) if ":" in name else {"cpu": name}
    chosen = devices.get("cpu", "").lower()
    if chosen not in _BACKENDS:
        raise ValueError(f"no backend {name!r}; there are: {', '.join(_BACKENDS)}")
    return _BACKENDS[chosen]


def new_group(
    ranks: list[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    **kwargs: Any,
) -> ProcessGroup | int:
    """Make a group of some ranks (all by default). Mirrors `torch.distributed.new_group`.

    Every rank of the default group must call it, in the same order, members or not. Returns
    GroupMember.NON_GROUP_MEMBER on those that are no members.
    """
    world = default_group()
    ranks = sorted(world.ranks if ranks is None else ranks)
    if len(set(ranks)) < len(ranks):
        raise ValueError(f"ranks list must not contain duplicate entries, got {ranks}")
    if not ranks or ranks[0] < 0 or ranks[-1] >= world.size:
        raise ValueError(f"ranks must be between 0 and {world.size - 1}, got {ranks}")
    seconds = world.timeout if timeout is None else timeout.total_seconds()
    made = world.new_group(ranks, "", seconds)
    if made is None:
        return GroupMember.NON_GROUP_MEMBER
    _backend_names[made] = backend or _backend_names[world]
    return made


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Leave a group; without an argument all of them, closing the connections.

    Mirrors `torch.distributed.destroy_process_group`. What is still in flight fails, here and on
    the ranks that wait for it.
    """
    global _world
    chosen = member_group(group)
    if chosen is None:
        return
    _backend_names.pop(chosen, None)
    if chosen is _world:
        _world = None
        _backend_names.clear()
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
    """The group that a `group` argument means; None if this rank is no member of it."""
    if group is None:
        return default_group()
    if group == GroupMember.NON_GROUP_MEMBER:
        return None
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"expected a ProcessGroup as group, got {type(group).__name__}")
    default_group()
    return group


def get_rank(group: ProcessGroup | None = None) -> int:
    """This process's rank in a group, -1 if it is no member. Mirrors torch's function."""
    chosen = member_group(group)
    return -1 if chosen is None else chosen.rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """The number of ranks in a group, -1 if this is no member. Mirrors torch's function."""
    chosen = member_group(group)
    return -1 if chosen is None else chosen.size


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name of a group's backend, as it was given. Mirrors `torch.distributed.get_backend`."""
    chosen = member_group(group)
    if chosen is None:
        raise ValueError("Invalid process group specified: this rank is not a member")
    return _backend_names.get(chosen, "zmq")


def get_process_group_ranks(group: ProcessGroup | None = None) -> list[int]:
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
    """LOCAL_RANK from the environment. Mirrors `torch.distributed.get_node_local_rank`."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
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
    _backend_names.clear()


atexit.register(_leave_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
