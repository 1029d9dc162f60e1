"""What stands between a user's arguments and the backend.

Every function of this package begins the same way: the arrays behind the tensors, the group that is
meant and whether this rank is in it, global ranks turned into group ranks, and checks whose errors
are better read here than on another rank. The errors have PyTorch's types.

PyTorch: the `_check_*` functions of torch/distributed/distributed_c10d.py.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minitorch.distributed.backend import ProcessGroup, Work
from minitorch.distributed.reduce_op import ReduceOp, check_reduction
from minitorch.distributed.world import member_group
from minitorch.tensor import Tensor

Group = ProcessGroup | int | None


def members_of(group: Group, name: str) -> ProcessGroup | None:
    """The group that is meant; None, with a warning, if this rank is not in it."""
    members = member_group(group)
    if members is None:
        warnings.warn(
            f"Running {name} on a rank that does not belong to the given group.", stacklevel=3
        )
    return members


def array_of(tensor: Any, parameter: str = "tensor") -> Any:
    """The array that holds a tensor's elements, NumPy's or a GPU's; TypeError for no tensor."""
    array = tensor if isinstance(tensor, np.ndarray) else getattr(tensor, "array", None)
    if not isinstance(array, np.ndarray) and not isinstance(tensor, Tensor):
        raise TypeError(_invalid(parameter, "torch.Tensor", f"{type(tensor)}"))
    return array


def arrays_of(tensors: Any, parameter: str) -> list[np.ndarray]:
    """The arrays of a list of tensors; TypeError for what is no such list."""
    expected = "List[torch.Tensor]"
    if not isinstance(tensors, list):
        raise TypeError(_invalid(parameter, expected, f"{type(tensors)}"))
    try:
        return [array_of(tensor) for tensor in tensors]
    except TypeError:
        kinds = f"a list with elements of type {[type(tensor) for tensor in tensors]}"
        raise TypeError(_invalid(parameter, expected, kinds)) from None


def check_dtypes(arrays: Sequence[np.ndarray], error: type[Exception] = ValueError) -> None:
    """Raise `error` unless all arrays have one dtype."""
    names = list(dict.fromkeys(array.dtype.name for array in arrays))
    if len(names) > 1:
        raise error(f"Invalid usage of tensors with different dtypes: found {' and '.join(names)}")


def check_length(name: str, what: str, blocks: Sequence[Any], ranks: int) -> None:
    """Raise RuntimeError unless a list has one block for each rank."""
    if len(blocks) != ranks:
        raise RuntimeError(
            f"{name}: invalid {what} tensor list: expected length {ranks}, one for each rank, "
            f"got {len(blocks)}"
        )


def check_size(name: str, what: str, array: np.ndarray, elements: int) -> None:
    """Raise RuntimeError unless an array has so many elements."""
    if array.size != elements:
        raise RuntimeError(
            f"{name}: invalid {what} tensor size: expected {elements} elements, "
            f"got {array.size} in shape {array.shape}"
        )


def check_op(op: Any, array: np.ndarray) -> ReduceOp:
    """`op`, if tensors like this one can be reduced so."""
    if not isinstance(op, ReduceOp):
        raise TypeError(_invalid("op", "ReduceOp", f"{type(op)}"))
    check_reduction(op, array.dtype)
    return op


def group_rank_of(
    members: ProcessGroup,
    global_rank: int | None,
    group_rank: int | None,
    default: int | None = None,
) -> int:
    """The group rank that is meant by `src` and `group_src`, of which one may be given.

    `default` is the global rank if neither is. Raises ValueError for none, both, or no member.
    """
    if global_rank is None and group_rank is None:
        global_rank = default
        if default is None:
            raise ValueError("Must specify global_rank or group_rank")
    if global_rank is not None and group_rank is not None:
        raise ValueError("Can't specify both group_rank and global_rank")
    if group_rank is None:
        if global_rank not in members.ranks:
            raise ValueError(
                f"Global rank {global_rank} is not part of group with ranks {members.ranks}"
            )
        return members.ranks.index(global_rank)
    if not 0 <= group_rank < members.size():
        raise ValueError(
            f"Group rank {group_rank} is not part of a group of {members.size()} ranks"
        )
    return group_rank


def check_not_self(members: ProcessGroup, rank: int, side: str) -> None:
    """Raise ValueError for a message to or from this rank itself."""
    if rank == members.rank():
        raise ValueError(
            f"Invalid {side} rank: {side} rank should not be the same as "
            "the rank of the current process."
        )


def hand_out(work: Work, async_op: bool, written: Sequence[Any]) -> Work | None:
    """What a collective returns: its Work, or None after it is done.

    `written` are the tensors that it fills; autograd is told that they change.
    """
    for tensor in written:
        if hasattr(tensor, "_bump_version"):
            tensor._bump_version()
    if async_op:
        work._result = written
        return work
    work.wait()
    return None


def _invalid(parameter: str, expected: str, got: str) -> str:
    return (
        f"Invalid function argument. Expected parameter `{parameter}` of type {expected}\n"
        f"             but got {got} instead."
    )
