"""Collectives that deal with one block for each rank.

Each comes in two forms: with a list of tensors, or (`..._single`) with one tensor that is cut
along its first dimension. What is said at the top of collectives.py holds here too.

PyTorch: torch/distributed/distributed_c10d.py.
"""

from itertools import accumulate
from typing import Any

import numpy as np

from minitorch.distributed.arguments import (
    Group,
    array_of,
    arrays_of,
    check_dtypes,
    check_length,
    check_op,
    check_size,
    group_rank_of,
    hand_out,
    members_of,
)
from minitorch.distributed.backend import Work
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.futures import Future, collect_all


def all_gather(
    tensor_list: list, tensor: Any, group: Group = None, async_op: bool = False
) -> Work | None:
    """Copy rank i's `tensor` into `tensor_list[i]` on every rank.

    The ranks' tensors may have different sizes, which all ranks must know: `tensor_list[i]` is as
    large as rank i's. Mirrors `torch.distributed.all_gather`. Raises RuntimeError for a list or a
    tensor of the wrong size, ValueError for different dtypes.
    """
    outputs, array = arrays_of(tensor_list, "tensor_list"), array_of(tensor)
    check_dtypes([*outputs, array])
    members = members_of(group, "all_gather")
    if members is None:
        return None
    check_length("all_gather", "output", outputs, members.size())
    own = members.rank()
    check_size("all_gather", f"output (at index {own})", outputs[own], array.size)
    return hand_out(members.all_gather(outputs, array, async_op), async_op, tensor_list)


def all_gather_single(
    output_tensor: Any, input_tensor: Any, group: Group = None, async_op: bool = False
) -> Work | None:
    """Gather every rank's `input_tensor` into one tensor, one after the other in rank order.

    The output has as many elements as all inputs together: concatenated along the first dimension,
    or stacked. Mirrors `torch.distributed.all_gather_single`, also called
    `all_gather_into_tensor`.
    """
    array, output = array_of(input_tensor, "input_tensor"), array_of(output_tensor, "output_tensor")
    check_dtypes([output, array], RuntimeError)
    members = members_of(group, "all_gather_single")
    if members is None:
        return None
    check_size("all_gather_single", "output", output, array.size * members.size())
    blocks = _equal_blocks("all_gather_single", output, members.size())
    return hand_out(members.all_gather(blocks, array, async_op), async_op, [output_tensor])


def all_gather_coalesced(
    output_tensor_lists: list, input_tensor_list: list, group: Group = None, async_op: bool = False
) -> Future | None:
    """Copy rank i's `input_tensor_list` into `output_tensor_lists[i]`, all under way at once.

    With `async_op` a Future. Mirrors `torch.distributed.all_gather_coalesced` (deprecated there).
    """
    arrays_of(input_tensor_list, "input_tensor_list")
    if not isinstance(output_tensor_lists, list):
        raise TypeError("Invalid function argument: output_tensor_lists should be a list")
    count = len(input_tensor_list)
    if any(len(arrays_of(t, "output_tensor_lists")) != count for t in output_tensor_lists):
        raise RuntimeError(f"all_gather_coalesced: each output list must have {count} tensors")
    works = [
        all_gather([outputs[i] for outputs in output_tensor_lists], tensor, group, async_op=True)
        for i, tensor in enumerate(input_tensor_list)
    ]
    if None in works:
        return None
    everything = collect_all([work.get_future() for work in works if work is not None])
    gathered = everything.then(lambda all_: [future.value() for future in all_.value()])
    if async_op:
        return gathered
    gathered.wait()
    return None


def reduce_scatter(
    output: Any,
    input_list: list,
    op: ReduceOp = ReduceOp.SUM,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """Combine every rank's `input_list[i]` into the `output` of rank i.

    Blocks may have different sizes, the same on all ranks. Mirrors
    `torch.distributed.reduce_scatter`; raises for `op` as `all_reduce`.
    """
    result, inputs = array_of(output, "output"), arrays_of(input_list, "input_list")
    check_dtypes([result, *inputs])
    members = members_of(group, "reduce_scatter")
    if members is None:
        return None
    check_length("reduce_scatter", "input", inputs, members.size())
    check_size("reduce_scatter", "output", result, inputs[members.rank()].size)
    work = members.reduce_scatter(result, inputs, check_op(op, result), async_op)
    return hand_out(work, async_op, [output])


def reduce_scatter_single(
    output: Any,
    input: Any,
    op: ReduceOp = ReduceOp.SUM,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """Combine every rank's `input`, and leave the i-th of its equal parts in rank i's `output`.

    Mirrors `torch.distributed.reduce_scatter_single`, also called `reduce_scatter_tensor`.
    """
    result, array = array_of(output, "output"), array_of(input, "input")
    check_dtypes([result, array], RuntimeError)
    members = members_of(group, "reduce_scatter_single")
    if members is None:
        return None
    check_size("reduce_scatter_single", "input", array, result.size * members.size())
    blocks = _equal_blocks("reduce_scatter_single", array, members.size())
    work = members.reduce_scatter(result, blocks, check_op(op, result), async_op)
    return hand_out(work, async_op, [output])


def all_to_all(
    output_tensor_list: list, input_tensor_list: list, group: Group = None, async_op: bool = False
) -> Work | None:
    """Copy `input_tensor_list[j]` of rank i into `output_tensor_list[i]` of rank j.

    Sizes may differ; those two must agree. Mirrors `torch.distributed.all_to_all`.
    """
    outputs = arrays_of(output_tensor_list, "output_tensor_list")
    inputs = arrays_of(input_tensor_list, "input_tensor_list")
    check_dtypes([*outputs, *inputs])
    members = members_of(group, "all_to_all")
    if members is None:
        return None
    check_length("all_to_all", "output", outputs, members.size())
    check_length("all_to_all", "input", inputs, members.size())
    work = _exchange(members, outputs, inputs, async_op)
    return hand_out(work, async_op, output_tensor_list)


def all_to_all_single(
    output: Any,
    input: Any,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """Cut `input` along its first dimension, send part j to rank j, and put what comes from rank i
    into part i of `output`.

    The parts are equal, or as long as the split sizes say. Mirrors
    `torch.distributed.all_to_all_single`. Raises RuntimeError for sizes that do not fit.
    """
    result, array = array_of(output, "output"), array_of(input, "input")
    check_dtypes([result, array])
    members = members_of(group, "all_to_all_single")
    if members is None:
        return None
    outputs = _split(result, output_split_sizes, members.size(), "output")
    inputs = _split(array, input_split_sizes, members.size(), "input")
    return hand_out(_exchange(members, outputs, inputs, async_op), async_op, [output])


def gather(
    tensor: Any,
    gather_list: list | None = None,
    dst: int | None = None,
    group: Group = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Copy rank i's `tensor` into `gather_list[i]` on rank `dst` (0 by default).

    All have the same size. The others give no list: ValueError. Mirrors
    `torch.distributed.gather`.
    """
    array, outputs = array_of(tensor), arrays_of(gather_list or [], "gather_list")
    check_dtypes([array, *outputs])
    members = members_of(group, "gather")
    if members is None:
        return None
    root = group_rank_of(members, dst, group_dst, default=0)
    check_list_on_root(outputs, "gather_list", members.rank() == root, "destination")
    if members.rank() == root:
        check_length("gather", "output", outputs, members.size())
        for output in outputs:
            check_size("gather", "output", output, array.size)
    work = members.gather(outputs or None, array, root, async_op)
    return hand_out(work, async_op, gather_list or [])


def scatter(
    tensor: Any,
    scatter_list: list | None = None,
    src: int | None = None,
    group: Group = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Copy `scatter_list[i]` of rank `src` (0 by default) into rank i's `tensor`.

    All have the same size. The others give no list: ValueError. Mirrors
    `torch.distributed.scatter`.
    """
    array, inputs = array_of(tensor), arrays_of(scatter_list or [], "scatter_list")
    check_dtypes([array, *inputs])
    members = members_of(group, "scatter")
    if members is None:
        return None
    root = group_rank_of(members, src, group_src, default=0)
    check_list_on_root(inputs, "scatter_list", members.rank() == root, "source")
    if members.rank() == root:
        check_length("scatter", "input", inputs, members.size())
        for block in inputs:
            check_size("scatter", "input", block, array.size)
    return hand_out(members.scatter(array, inputs or None, root, async_op), async_op, [tensor])


def check_list_on_root(blocks: Any, parameter: str, is_root: bool, root: str) -> None:
    """Raise ValueError unless the root, and only the root, has given a list."""
    if is_root and not blocks:
        raise ValueError(f"Argument ``{parameter}`` must be specified on {root} rank.")
    if not is_root and blocks:
        raise ValueError(f"Argument ``{parameter}`` must NOT be specified on non-{root} ranks.")


def _exchange(members, outputs, inputs, async_op) -> Work:
    own = members.rank()
    check_size("all_to_all", f"output (at index {own})", outputs[own], inputs[own].size)
    return members.all_to_all(outputs, inputs, async_op)


def _equal_blocks(name: str, array: np.ndarray, count: int) -> list[np.ndarray]:
    """`count` equal parts of an array, as views."""
    if array.flags.c_contiguous:
        return list(array.reshape(count, -1))
    if not array.ndim or array.shape[0] % count:
        raise ValueError(f"{name}: a tensor of shape {array.shape} must be contiguous to be cut")
    return _cut(array, [array.shape[0] // count] * count)


def _split(array: np.ndarray, sizes: list[int] | None, count: int, what: str) -> list[np.ndarray]:
    """An array's parts of these sizes along the first dimension, as views."""
    length = array.shape[0] if array.ndim else 0
    if not sizes:
        if length % count or not array.ndim:
            raise RuntimeError(
                f"all_to_all_single: {what} of shape {array.shape} does not divide equally into "
                f"{count} parts along its first dimension; give {what}_split_sizes"
            )
        sizes = [length // count] * count
    if len(sizes) != count:
        raise RuntimeError(
            f"all_to_all_single: {what}_split_sizes has {len(sizes)} entries, "
            f"not one for each of {count} ranks"
        )
    if sum(sizes) != length or min(sizes) < 0:
        raise RuntimeError(
            f"all_to_all_single: {what}_split_sizes {list(sizes)} do not add up to {length}, the "
            f"{what}'s first dimension"
        )
    return _cut(array, sizes)


def _cut(array: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Views of so many rows each. (np.split would want a GPU's array on the current GPU.)"""
    ends = accumulate(sizes)
    return [array[end - size : end] for size, end in zip(sizes, ends, strict=True)]


# The names that PyTorch had before 2.13.
all_gather_into_tensor = _all_gather_base = all_gather_single
reduce_scatter_tensor = _reduce_scatter_base = reduce_scatter_single
