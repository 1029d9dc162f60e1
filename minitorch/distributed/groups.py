"""Groups of some of the ranks.

All groups share the default group's connections, so making one costs no more than a barrier. The
barrier is where ranks that mean different groups find out (its fingerprint holds the members).

Invariant: a group has a number, the same on all its members, that no other group of the job has.
Groups that every rank makes are counted. One that only its members make
(`use_local_synchronization`, split_group) gets a negative number from a checksum of its members
and of how often they have made one.

PyTorch: new_group and its neighbours in torch/distributed/distributed_c10d.py.
"""

from collections import Counter
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from minitorch.distributed import world
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.message import checksum
from minitorch.distributed.world import GroupMember, check_timeout, default_group, member_group

# default group -> members -> how many groups these have made by themselves
_made_locally: WeakKeyDictionary[ProcessGroup, Counter[tuple[int, ...]]] = WeakKeyDictionary()


def new_group(
    ranks: list[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
    sort_ranks: bool = True,
) -> ProcessGroup | int | None:
    """Make a group of some ranks (all by default). Mirrors `torch.distributed.new_group`.

    Every rank of the default group must call it, in the same order, members or not. Returns
    GroupMember.NON_GROUP_MEMBER on those that are no members. With `use_local_synchronization` only
    the members need to call it; others get None. Ranks count in sorted order, or in the given one.

    Raises ValueError for ranks that are missing, double or out of range, DistBackendError on all
    ranks if they mean different groups.
    """
    default = default_group()
    if ranks is None:
        ranks = list(range(default.size()))
    ranks = sorted(ranks) if sort_ranks else list(ranks)
    _check_ranks(ranks, default.size())
    if use_local_synchronization and default.rank() not in ranks:
        return None
    made = _make(default, ranks, timeout, backend, group_desc, use_local_synchronization)
    return GroupMember.NON_GROUP_MEMBER if made is None else made


def new_subgroups(
    group_size: int | None = None,
    group: ProcessGroup | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[ProcessGroup | int | None, list[ProcessGroup | int | None]]:
    """Cut a group (default: all ranks) into groups of `group_size` ranks, one after the other.

    Returns this rank's own and the list of all. Mirrors `torch.distributed.new_subgroups`. Raises
    ValueError for a size that does not divide the number of ranks.
    """
    parent = member_group(group)
    ranks = [] if parent is None else parent.ranks
    if group_size is None:
        raise ValueError("pass in 'group_size': the number of ranks in each subgroup")
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if len(ranks) < group_size:
        raise ValueError(
            f"The arg 'group_size' ({group_size}) must not exceed the world size ({len(ranks)})"
        )
    if len(ranks) % group_size:
        raise ValueError(
            f"The world size ({len(ranks)}) must be divisible by group_size={group_size}"
        )
    parts = [ranks[i : i + group_size] for i in range(0, len(ranks), group_size)]
    return new_subgroups_by_enumeration(parts, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: list[list[int]],
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[ProcessGroup | int | None, list[ProcessGroup | int | None]]:
    """Make one group for each list of ranks; no rank may be in two.

    Returns this rank's own (None if it is in none) and the list of all. Mirrors
    `torch.distributed.new_subgroups_by_enumeration`.
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    counts = Counter(rank for ranks in ranks_per_subgroup_list for rank in ranks)
    if twice := [rank for rank, count in counts.items() if count > 1]:
        raise ValueError(f"Rank {twice[0]} has appeared in more than one subgroup")
    made = [
        new_group(ranks, timeout, backend, pg_options, group_desc=group_desc)
        for ranks in ranks_per_subgroup_list
    ]
    own = [subgroup for subgroup in made if isinstance(subgroup, ProcessGroup)]
    return (own[0] if own else None), made


def split_group(
    parent_pg: ProcessGroup | None = None,
    split_ranks: list[list[int]] | None = None,
    timeout: timedelta | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
    backend: str | None = None,
) -> ProcessGroup | None:
    """Split a group (default: all ranks) into groups of its ranks, counted within it.

    Each rank of the parent calls it and gets the group that it is in, or None. Mirrors
    `torch.distributed.split_group`, which needs NCCL.
    """
    if not split_ranks:
        raise ValueError("split_ranks cannot be None or empty")
    parent = member_group(parent_pg)
    if parent is None:
        raise ValueError("this rank is not part of the parent group")
    for part in split_ranks:
        _check_ranks(part, parent.size())
    for part in split_ranks:
        if parent.rank() in part:
            ranks = [parent.ranks[rank] for rank in sorted(part)]
            return _make(default_group(), ranks, timeout, backend, group_desc, local=True)
    return None


def _make(
    default: ProcessGroup,
    ranks: list[int],
    timeout: timedelta | None,
    backend: str | None,
    description: str | None,
    local: bool,
) -> ProcessGroup | None:
    if timeout is None:
        timeout = timedelta(seconds=default.timeout)
    check_timeout(timeout)
    number = world.get_pg_count()
    if local:
        counts = _made_locally.setdefault(default, Counter())
        counts[tuple(ranks)] += 1
        number = -1 - checksum([*ranks, counts[tuple(ranks)]]) % (1 << 31)
    made = default.new_group(ranks, number, timeout.total_seconds())
    world.add_group(
        made, str(number), description or "undefined", backend or default.backend_name, not local
    )
    return made


def _check_ranks(ranks: list[int], size: int) -> None:
    if not ranks:
        raise ValueError("a group must have at least one rank")
    if len(set(ranks)) < len(ranks):
        raise ValueError(f"ranks list must not contain duplicate entries, got {ranks}")
    for rank in ranks:
        if not 0 <= rank < size:
            raise ValueError(
                f"Rank {rank} is out of range. Valid ranks are between 0 and {size - 1}"
            )
