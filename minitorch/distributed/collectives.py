"""PyTorch's collective functions, on tensors and on NumPy arrays.

What stands between a tensor and the process group: which group is meant and whether this rank is in
it, the translation of global ranks to group ranks, and checks whose errors are better read here
than on another rank. A rank that is not in the group gets None from every function.

PyTorch: torch/distributed/distributed_c10d.py.
"""

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from minitorch.distributed.link import ANY
from minitorch.distributed.process_group import ProcessGroup, Work
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.world import member_group

Group = ProcessGroup | int | None


def all_reduce(
    tensor: Any, op: ReduceOp = ReduceOp.SUM, group: Group = None, async_op: bool = False
) -> Work | None:
    """Combine `tensor` over all ranks, in place, with bit-identical results on each.

    Any shape; every rank's must have the same number of elements and dtype. Returns a Work if
    `async_op`, else None when it is done. Mirrors `torch.distributed.all_reduce`.

    Raises DistBackendError or DistNetworkError, on all ranks, if a rank calls something else, is
    late or is gone.
    """
    array = _array(tensor)
    members = _members(group, "all_reduce")
    if members is None:
        return None
    work = members.all_reduce(array, _checked(op), async_op)
    return _hand_out(work, async_op, [tensor], [tensor])


def broadcast(
    tensor: Any,
    src: int | None = None,
    group: Group = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Copy rank `src`'s `tensor` into everybody's. `src` is a global rank, `group_src` counts
    within the group. Mirrors `torch.distributed.broadcast`; raises as `all_reduce`."""
    array = _array(tensor)
    members = _members(group, "broadcast")
    if members is None:
        return None
    work = members.broadcast(array, _group_rank(members, src, group_src), async_op)
    return _hand_out(work, async_op, [tensor], [tensor])


def reduce(
    tensor: Any,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: Group = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Combine `tensor` over all ranks into rank `dst`'s; the others' stay as they are.

    Mirrors `torch.distributed.reduce`; raises as `all_reduce`."""
    array = _array(tensor)
    members = _members(group, "reduce")
    if members is None:
        return None
    root = _group_rank(members, dst, group_dst)
    work = members.reduce(array, root, _checked(op), async_op)
    return _hand_out(work, async_op, [tensor], [tensor] if members.rank == root else [])


def all_gather(
    tensor_list: Sequence[Any], tensor: Any, group: Group = None, async_op: bool = False
) -> Work | None:
    """Copy rank i's `tensor` into `tensor_list[i]` on every rank.

    The list has one tensor for each rank, of the same size and dtype as `tensor`. Mirrors
    `torch.distributed.all_gather`; raises as `all_reduce`.
    """
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError(_invalid("tensor_list", "List[torch.Tensor]", tensor_list))
    array, outputs = _array(tensor), [_array(t, "tensor_list") for t in tensor_list]
    members = _members(group, "all_gather")
    if members is None:
        return None
    if len(outputs) != members.size:
        raise RuntimeError(
            f"all_gather: invalid output tensor list (expected length {members.size}, one for each "
            f"rank, got {len(outputs)})"
        )
    for i, output in enumerate(outputs):
        _check_output("all_gather", f" at index {i}", output, array.size, array.dtype)
    work = members.all_gather(outputs, array, async_op)
    return _hand_out(work, async_op, list(tensor_list), tensor_list)


def all_gather_into_tensor(
    output_tensor: Any, input_tensor: Any, group: Group = None, async_op: bool = False
) -> Work | None:
    """Gather every rank's `input_tensor` into one tensor, one after the other in rank order.

    The output has as many elements as all inputs together: concatenated along the first dimension,
    or stacked. Mirrors `torch.distributed.all_gather_into_tensor`; raises as `all_reduce`.
    """
    array, output = _array(input_tensor, "input_tensor"), _array(output_tensor, "output_tensor")
    members = _members(group, "all_gather_into_tensor")
    if members is None:
        return None
    _check_output("all_gather_into_tensor", "", output, array.size * members.size, array.dtype)
    work = members.all_gather_into_tensor(output, array, async_op)
    return _hand_out(work, async_op, output_tensor, [output_tensor])


all_gather_single = all_gather_into_tensor


def barrier(
    group: Group = None,
    async_op: bool = False,
    device_ids: Any = None,
    timeout: timedelta | None = None,
) -> Work | None:
    """Return when every rank has called it. Mirrors `torch.distributed.barrier`."""
    members = _members(group, "barrier")
    if members is None:
        return None
    work = members.barrier(async_op or timeout is not None)
    if timeout is not None and not async_op:
        work.wait(timeout)
    return _hand_out(work, async_op, None, [])


def isend(
    tensor: Any,
    dst: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """Start sending `tensor` to one rank. Mirrors `torch.distributed.isend`.

    Do not change the tensor before `wait()` has returned. The message then waits at the receiver,
    whether or not it has asked for it.
    """
    return _send("isend", tensor, dst, group, tag, group_dst, async_op=True)


def send(
    tensor: Any,
    dst: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """Send `tensor` to one rank. Mirrors `torch.distributed.send`.

    Messages between two ranks with the same tag are received in the order in which they were sent.
    Raises ValueError for a message to oneself.
    """
    _send("send", tensor, dst, group, tag, group_dst, async_op=False)


def irecv(
    tensor: Any,
    src: int | None = None,
    group: Group = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Start receiving into `tensor`. Mirrors `torch.distributed.irecv`."""
    work = _recv("irecv", tensor, src, group, tag, group_src, async_op=True)
    return None if work is None else _hand_out(work, True, [tensor], [tensor])


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
    _hand_out(work, False, None, [tensor])
    members = member_group(group)
    assert members is not None
    return members.ranks[work.source_rank()]


def _send(name, tensor, dst, group, tag, group_dst, async_op) -> Work | None:
    array = _array(tensor)
    members = _members(group, name)
    if members is None:
        return None
    destination = _group_rank(members, dst, group_dst)
    if destination == members.rank:
        raise ValueError(
            "Invalid destination rank: destination rank should not be the same as "
            "the rank of the current process."
        )
    work = members.send(array, destination, _checked_tag(tag), async_op)
    return _hand_out(work, async_op, [tensor], [])


def _recv(name, tensor, src, group, tag, group_src, async_op) -> Work | None:
    array = _array(tensor)
    members = _members(group, name)
    if members is None:
        return None
    source = ANY
    if src is not None or group_src is not None:
        source = _group_rank(members, src, group_src)
        if source == members.rank:
            raise ValueError(
                "Invalid source rank: source rank should not be the same as "
                "the rank of the current process."
            )
    return members.recv(array, source, _checked_tag(tag), async_op)


def _hand_out(work: Work, async_op: bool, result: Any, written: Sequence[Any]) -> Work | None:
    """What a collective returns: its Work, or None after it is done."""
    for tensor in written:
        _mark_modified(tensor)
    if async_op:
        work._result = result
        return work
    work.wait()
    return None


def _mark_modified(tensor: Any) -> None:
    """Tell autograd that a tensor was written to."""
    if hasattr(tensor, "_bump_version"):
        tensor._bump_version()


def _members(group: Group, name: str) -> ProcessGroup | None:
    members = member_group(group)
    if members is None:
        warnings.warn(
            f"Running {name} on a rank that does not belong to the given group.", stacklevel=3
        )
    return members


def _array(tensor: Any, parameter: str = "tensor") -> np.ndarray:
    """The NumPy array that holds a tensor's elements."""
    array = tensor if isinstance(tensor, np.ndarray) else getattr(tensor, "array", None)
    if not isinstance(array, np.ndarray):
        raise TypeError(_invalid(parameter, "torch.Tensor", tensor))
    return array


def _invalid(parameter: str, expected: str, got: Any) -> str:
    return (
        f"Invalid function argument. Expected parameter `{parameter}` of type {expected}\n"
        f"             but got {type(got)} instead."
    )


def _checked(op: ReduceOp) -> ReduceOp:
    if not isinstance(op, ReduceOp):
        raise TypeError(_invalid("op", "ReduceOp", op))
    return op


def _checked_tag(tag: int) -> int:
    if tag < 0:
        raise ValueError(f"a tag must not be negative, got {tag}")
    return tag


def _check_output(name: str, where: str, output: np.ndarray, size: int, dtype: np.dtype) -> None:
    if output.size != size:
        raise RuntimeError(
            f"{name}: invalid output tensor size{where} "
            f"(expected {size} elements, got {output.size} in shape {output.shape})"
        )
    if output.dtype != dtype:
        raise ValueError(
            f"{name}: invalid output tensor dtype{where} (expected {dtype}, got {output.dtype})"
        )


def _group_rank(members: ProcessGroup, global_rank: int | None, group_rank: int | None) -> int:
    if global_rank is None and group_rank is None:
        raise ValueError("Must specify global_rank or group_rank")
    if global_rank is not None and group_rank is not None:
        raise ValueError("Can't specify both group_rank and global_rank")
    if group_rank is None:
        if global_rank not in members.ranks:
            raise ValueError(
                f"Global rank {global_rank} is not part of group with ranks {members.ranks}"
            )
        return members.ranks.index(global_rank)
    if not 0 <= group_rank < members.size:
        raise ValueError(f"Group rank {group_rank} is not part of a group of {members.size} ranks")
    return group_rank
