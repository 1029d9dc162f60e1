"""Messages between two ranks.

A send is complete as soon as its data is on the way, whether or not anybody asks for it; a receive
waits. So sends and receives may be posted in any order without a deadlock. Messages between two
ranks with the same tag are received in the order in which they were sent.

What is said at the top of collectives.py holds here too.
PyTorch: torch/distributed/distributed_c10d.py.
"""

from collections.abc import Callable
from typing import Any

from minitorch.distributed.arguments import (
    Group,
    array_of,
    check_not_self,
    group_rank_of,
    hand_out,
    members_of,
)
from minitorch.distributed.backend import ProcessGroup, Work
from minitorch.distributed.link import ANY
from minitorch.distributed.world import get_rank, member_group


def isend(
    tensor: Any,
    dst: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """Start sending `tensor` to one rank. Mirrors `torch.distributed.isend`.

    Do not change the tensor before `wait()` has returned. Raises ValueError for a message to
    oneself, RuntimeError for a negative tag.
    """
    return _send("isend", tensor, dst, group, tag, group_dst, async_op=True)


def send(
    tensor: Any,
    dst: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """Send `tensor` to one rank; raises as `isend`. Mirrors `torch.distributed.send`."""
    _send("send", tensor, dst, group, tag, group_dst, async_op=False)


def irecv(
    tensor: Any,
    src: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Start receiving into `tensor`, from any rank if no source is given. Its `source_rank()` says
    from whom. Raises as `isend`. Mirrors `torch.distributed.irecv`."""
    work = _recv("irecv", tensor, src, group, tag, group_src, async_op=True)
    return None if work is None else hand_out(work, True, [tensor])


def recv(
    tensor: Any,
    src: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """Receive into `tensor` from rank `src`, or from any; returns the sender's global rank.

    The sender's tensor must have the same number of elements and dtype. Mirrors
    `torch.distributed.recv`, and returns -1 on a rank that is not in the group.
    """
    work = _recv("recv", tensor, src, group, tag, group_src, async_op=False)
    if work is None:
        return -1
    hand_out(work, False, [tensor])
    members = member_group(group)
    assert members is not None
    return members.ranks[work.source_rank()]


class P2POp:
    """A send or receive for `batch_isend_irecv`. Mirrors `torch.distributed.P2POp`.

    op: `isend` or `irecv` themselves. peer: the other's global rank; group_peer: within the group.
    """

    def __init__(
        self,
        op: Callable,
        tensor: Any,
        peer: int | None = None,
        group: ProcessGroup | None = None,
        tag: int = 0,
        group_peer: int | None = None,
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError(
                "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or "
                "``torch.distributed.irecv``."
            )
        array_of(tensor)
        members = member_group(group)
        if members is None:
            raise ValueError("P2POp: this rank does not belong to the given group")
        self.op = op
        self.tensor = tensor
        self.group = members
        self.tag = tag
        self.group_peer = group_rank_of(members, peer, group_peer)
        self.peer = members.ranks[self.group_peer]

    def __repr__(self) -> str:
        ends = [get_rank(self.group), self.group_peer]
        source, destination = ends if self.op is isend else reversed(ends)
        return (
            f"P2POp({self.op.__name__} pg={self.group.group_name}, group_src={source}, "
            f"group_dst={destination}, {self.tensor.shape}, {self.tensor.dtype})"
        )


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Start all of them and return their Works.

    The ranks may list theirs in any order, but that of messages between the same two with the same
    tag. Mirrors `torch.distributed.batch_isend_irecv`. Raises ValueError for anything but a list
    of P2POps of one group, IndexError for an empty one.
    """
    if not isinstance(p2p_op_list, list) or not all(isinstance(p, P2POp) for p in p2p_op_list):
        raise ValueError(
            "Invalid ``p2p_op_list``. Each op is expected to to be of type "
            "``torch.distributed.P2POp``."
        )
    group = p2p_op_list[0].group
    if any(p.group is not group for p in p2p_op_list):
        raise ValueError("All ops need to use the same group.")
    works = []
    for p in p2p_op_list:
        peer = {"group_dst" if p.op is isend else "group_src": p.group_peer}
        works.append(p.op(p.tensor, group=group, tag=p.tag, **peer))
    return works


def _send(name, tensor, dst, group, tag, group_dst, async_op) -> Work | None:
    array = array_of(tensor)
    members = members_of(group, name)
    if members is None:
        return None
    destination = group_rank_of(members, dst, group_dst)
    check_not_self(members, destination, "destination")
    return hand_out(members.send(array, destination, _checked(tag), async_op), async_op, [])


def _recv(name, tensor, src, group, tag, group_src, async_op) -> Work | None:
    array = array_of(tensor)
    members = members_of(group, name)
    if members is None:
        return None
    source = ANY
    if src is not None or group_src is not None:
        source = group_rank_of(members, src, group_src)
        check_not_self(members, source, "source")
    return members.recv(array, source, _checked(tag), async_op)


def _checked(tag: int) -> int:
    if tag < 0:
        raise RuntimeError(f"Tag must be nonnegative, got {tag}")
    return tag
