"""Collectives of Python objects: pickled, sent as bytes, and unpickled.

A receiver cannot know how large an object is, so each of these first exchanges the sizes, then the
bytes. They are made of the collectives of tensors and add no messages of their own.

Security: unpickling can run any code, so nothing may be unpickled that comes from a stranger. What
arrives here has come over the job's own connections, which were opened with the job's secret.

PyTorch: torch/distributed/distributed_c10d.py.
"""

import pickle
from typing import Any

import numpy as np

from minitorch.distributed.arguments import (
    Group,
    check_not_self,
    group_rank_of,
    members_of,
)
from minitorch.distributed.blocks import all_gather, check_list_on_root, gather, scatter
from minitorch.distributed.collectives import broadcast
from minitorch.distributed.point_to_point import recv, send


def all_gather_object(object_list: list, obj: Any, group: Group = None) -> None:
    """Put rank i's `obj` into `object_list[i]` on every rank.

    Mirrors `torch.distributed.all_gather_object`. Raises IndexError for a list that is too short.
    """
    members = members_of(group, "all_gather_object")
    if members is None:
        return
    if len(object_list) < members.size():
        raise IndexError(
            f"object_list needs one place for each of {members.size()} ranks, has "
            f"{len(object_list)}"
        )
    data = _pickled(obj)
    received = [np.empty(size, np.uint8) for size in _all_sizes(data, members)]
    all_gather(received, data, members)
    object_list[: len(received)] = [_unpickled(part) for part in received]


def gather_object(
    obj: Any,
    object_gather_list: list | None = None,
    dst: int | None = None,
    group: Group = None,
    group_dst: int | None = None,
) -> None:
    """Put rank i's `obj` into `object_gather_list[i]` on rank `dst` (0 by default).

    The others give no list: ValueError. Mirrors `torch.distributed.gather_object`.
    """
    members = members_of(group, "gather_object")
    if members is None:
        return
    root = group_rank_of(members, dst, group_dst, default=0)
    is_root = members.rank() == root
    check_list_on_root(object_gather_list, "gather_list", is_root, "destination")
    data = _pickled(obj)
    sizes = _all_sizes(data, members)
    parts = [np.empty(max(sizes), np.uint8) for _ in sizes] if is_root else None
    gather(_padded(data, max(sizes)), parts, group=members, group_dst=root)
    if parts is not None and object_gather_list is not None:
        for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
            object_gather_list[i] = _unpickled(part[:size])


def broadcast_object_list(
    object_list: list,
    src: int | None = None,
    group: Group = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Copy rank `src`'s list (0's by default) into the others', of the same length.

    Mirrors `torch.distributed.broadcast_object_list`.
    """
    members = members_of(group, "broadcast_object_list")
    if members is None:
        return
    root = group_rank_of(members, src, group_src, default=0)
    is_root = members.rank() == root
    data, sizes = _pickled_list(object_list) if is_root else _room_for_list(object_list)
    broadcast(sizes, group=members, group_src=root)
    if not is_root:
        data = np.empty(sizes.sum(), np.uint8)
    broadcast(data, group=members, group_src=root)
    if not is_root:
        object_list[:] = _unpickled_list(data, sizes)


def scatter_object_list(
    scatter_object_output_list: list,
    scatter_object_input_list: list | None = None,
    src: int | None = None,
    group: Group = None,
    group_src: int | None = None,
) -> None:
    """Put `scatter_object_input_list[i]` of rank `src` (0 by default) into the first place of rank
    i's `scatter_object_output_list`. Mirrors `torch.distributed.scatter_object_list`."""
    members = members_of(group, "scatter_object_list")
    if members is None:
        return
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError(
            "Expected argument scatter_object_output_list to be a list of size at least 1."
        )
    root = group_rank_of(members, src, group_src, default=0)
    sizes = np.zeros(members.size(), np.int64)
    parts = None
    if members.rank() == root:
        if scatter_object_input_list is None:
            raise ValueError("source rank must provide non-None scatter_object_input_list")
        if len(scatter_object_input_list) != members.size():
            raise ValueError(
                f"scatter_object_input_list needs one object for each of {members.size()} ranks, "
                f"has {len(scatter_object_input_list)}"
            )
        pickled = [_pickled(obj) for obj in scatter_object_input_list]
        sizes[:] = [part.size for part in pickled]
        parts = [_padded(part, sizes.max()) for part in pickled]
    broadcast(sizes, group=members, group_src=root)
    own = np.empty(sizes.max(), np.uint8)
    scatter(own, parts, group=members, group_src=root)
    scatter_object_output_list[0] = _unpickled(own[: sizes[members.rank()]])


def send_object_list(
    object_list: list,
    dst: int | None = None,
    group: Group = None,
    device: Any = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Send a list of objects to one rank. Mirrors `torch.distributed.send_object_list`."""
    members = members_of(group, "send_object_list")
    if members is None:
        return
    destination = group_rank_of(members, dst, group_dst)
    check_not_self(members, destination, "destination")
    data, sizes = _pickled_list(object_list)
    send(sizes, group=members, group_dst=destination)
    send(data, group=members, group_dst=destination)


def recv_object_list(
    object_list: list,
    src: int | None = None,
    group: Group = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Receive as many objects as `object_list` has places, from rank `src` or from any.

    Returns the sender's global rank, -1 on a rank that is not in the group. Mirrors
    `torch.distributed.recv_object_list`.
    """
    members = members_of(group, "recv_object_list")
    if members is None:
        return -1
    _, sizes = _room_for_list(object_list)
    source = recv(sizes, src, members, group_src=group_src)
    data = np.empty(sizes.sum(), np.uint8)
    recv(data, source, members)
    object_list[:] = _unpickled_list(data, sizes)
    return source


def _pickled(obj: Any) -> np.ndarray:
    return np.frombuffer(pickle.dumps(obj), np.uint8)


def _unpickled(data: np.ndarray) -> Any:
    return pickle.loads(data.data)


def _padded(data: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros(size, np.uint8)
    padded[: data.size] = data
    return padded


def _all_sizes(data: np.ndarray, members) -> list[int]:
    """The sizes of every rank's data."""
    sizes = [np.zeros(1, np.int64) for _ in members.ranks]
    all_gather(sizes, np.array([data.size]), members)
    return [int(size[0]) for size in sizes]


def _pickled_list(objects: list) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all objects, one after the other, and the size of each."""
    if not objects:
        raise ValueError("object_list must not be empty")
    parts = [_pickled(obj) for obj in objects]
    return np.concatenate(parts), np.array([part.size for part in parts])


def _room_for_list(objects: list) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, np.uint8), np.zeros(len(objects), np.int64)


def _unpickled_list(data: np.ndarray, sizes: np.ndarray) -> list:
    return [_unpickled(part) for part in np.split(data, np.cumsum(sizes)[:-1])]
