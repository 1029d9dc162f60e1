"""Collectives that treat a tensor as a whole: reductions, copies, barriers.

Every function works on tensors and on NumPy arrays, and returns None, or with `async_op` a Work
that says when the tensors may be used again. A rank that is not in the group is warned and gets
None. All raise DistBackendError or DistNetworkError, on all ranks, naming the one at fault, if a
rank calls something else, is late, or is gone.

Those that deal with one block for each rank are in blocks.py.
PyTorch: torch/distributed/distributed_c10d.py.
"""

import warnings
from datetime import timedelta
from typing import Any

from minitorch.distributed.arguments import (
    Group,
    array_of,
    arrays_of,
    check_dtypes,
    check_op,
    group_rank_of,
    hand_out,
    members_of,
)
from minitorch.distributed.backend import Work
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.world import check_timeout
from minitorch.futures import Future, collect_all


def all_reduce(
    tensor: Any, op: ReduceOp = ReduceOp.SUM, group: Group = None, async_op: bool = False
) -> Work | None:
    """Combine `tensor` over all ranks, in place, with bit-identical results on each.

    Any shape; every rank's must have the same number of elements and dtype. Of bool, SUM is "or";
    sums of float16 and bfloat16 are rounded at each step, as Gloo's are. Mirrors
    `torch.distributed.all_reduce`. Raises RuntimeError for the average of integers or the bits of
    floats, ValueError for the order of complex numbers.
    """
    array = array_of(tensor)
    members = members_of(group, "all_reduce")
    if members is None:
        return None
    return hand_out(members.all_reduce(array, check_op(op, array), async_op), async_op, [tensor])


def broadcast(
    tensor: Any,
    src: int | None = None,
    group: Group = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Copy rank `src`'s `tensor` into everybody's. `src` is a global rank, `group_src` counts
    within the group. Mirrors `torch.distributed.broadcast`."""
    array = array_of(tensor)
    members = members_of(group, "broadcast")
    if members is None:
        return None
    root = group_rank_of(members, src, group_src)
    return hand_out(members.broadcast(array, root, async_op), async_op, [tensor])


def reduce(
    tensor: Any,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: Group = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Combine `tensor` over all ranks into rank `dst`'s; the others' stay as they are.

    Mirrors `torch.distributed.reduce`; raises for `op` as `all_reduce`.
    """
    array = array_of(tensor)
    members = members_of(group, "reduce")
    if members is None:
        return None
    root = group_rank_of(members, dst, group_dst)
    work = members.reduce(array, root, check_op(op, array), async_op)
    return hand_out(work, async_op, [tensor] if members.rank() == root else [])


def all_reduce_coalesced(
    tensors: list, op: ReduceOp = ReduceOp.SUM, group: Group = None, async_op: bool = False
) -> Future | None:
    """`all_reduce` of each tensor in a list, all under way at once. With `async_op` a Future of
    the list. Mirrors `torch.distributed.all_reduce_coalesced` (deprecated there)."""
    tensors = tensors if isinstance(tensors, list) else [tensors]
    check_dtypes(arrays_of(tensors, "tensors"))
    works = [all_reduce(tensor, op, group, async_op=True) for tensor in tensors]
    if None in works:
        return None
    everything = collect_all([work.get_future() for work in works if work is not None])
    reduced = everything.then(lambda all_: [future.value()[0] for future in all_.value()])
    if async_op:
        return reduced
    reduced.wait()
    return None


def barrier(
    group: Group = None,
    async_op: bool = False,
    device_ids: Any = None,
    timeout: timedelta | None = None,
) -> Work | None:
    """Return when every rank has called it, and earlier asynchronous collectives are done.

    Earlier ones of this rank in this group, that is. Mirrors `torch.distributed.barrier`.
    """
    members = members_of(group, "barrier")
    if members is None:
        return None
    if timeout is not None:
        check_timeout(timeout)
    work = members.barrier(async_op or timeout is not None)
    if timeout is not None and not async_op:
        work.wait(timeout)
    return hand_out(work, async_op, [])


def monitored_barrier(
    group: Group = None, timeout: timedelta | float | None = None, wait_all_ranks: bool = False
) -> None:
    """A barrier whose error names all ranks that did not come within `timeout`.

    Every collective's does here, so this is a barrier; and as all missing ranks are always named,
    `wait_all_ranks` changes nothing. Mirrors `torch.distributed.monitored_barrier`.
    """
    if isinstance(timeout, float):
        warnings.warn(
            f"Please specify timeout arg as a timedelta. {timeout} is taken as seconds.",
            stacklevel=2,
        )
        timeout = timedelta(seconds=timeout)
    barrier(group, timeout=timeout)
