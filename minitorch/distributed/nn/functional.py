"""Collectives that autograd can go back through.

Why: the functions of torch.distributed write into arrays, and the graph ends there. These return
new tensors, so that a loss may be computed from what other ranks have sent.

Seen over all ranks, a collective is a linear map: it copies and adds. Backward needs the transpose
of that map, and the transpose of a collective is another one: where forward copies a value to N
ranks, backward adds N gradients; where forward adds, backward copies.

| forward | backward |
|---|---|
| broadcast from rank r | reduce (sum) to rank r |
| reduce to rank r | broadcast from rank r |
| all_reduce | all_reduce |
| gather to rank r | scatter from rank r |
| scatter from rank r | gather to rank r |
| all_gather | reduce_scatter (sum) |
| reduce_scatter | all_gather |
| all_to_all | all_to_all, with the sizes sent and received exchanged |

AVG is the sum divided by N, and so is its transpose. MAX, MIN and PRODUCT are not linear: they are
computed as a gather and an ordinary operation on what has come, which knows its own derivative.

Invariants:
- What is differentiated is the sum of all ranks' losses: a rank's gradient holds what its tensor
  has done for every rank. (Where all ranks compute one and the same loss, that counts it N times;
  torch.distributed.tensor.parallel has the collectives for that case.)
- Backward calls collectives, so every rank must come to them: the tensors given to one call require
  gradients on all ranks or on none, and every rank's loss depends on the result. The engine visits
  nodes in the reverse order of their creation, the same on each rank, so the calls pair up.

PyTorch: torch/distributed/nn/functional.py.
"""

from __future__ import annotations

from typing import Any

from minitorch import distributed as dist
from minitorch.autograd.function import Function
from minitorch.distributed import ReduceOp
from minitorch.distributed.arguments import Group
from minitorch.ops.join import stack
from minitorch.tensor import Tensor

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]


def broadcast(tensor: Tensor, src: int, group: Group = None) -> Tensor:
    """Global rank `src`'s tensor, on every rank. The others give one of the same shape and dtype.
    Mirrors `torch.distributed.nn.functional.broadcast`."""
    return _Broadcast.apply(src, group, tensor)


def reduce(tensor: Tensor, dst: int, op: ReduceOp = ReduceOp.SUM, group: Group = None) -> Tensor:
    """All ranks' tensors combined, on global rank `dst`; zeros on the others. Mirrors
    `torch.distributed.nn.functional.reduce`."""
    if _is_linear(op, tensor):
        return _Reduce.apply(dst, op, group, tensor)
    return _combine(gather(tensor, dst, group), op)


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Group = None) -> Tensor:
    """All ranks' tensors combined, the same bits on every rank. Mirrors
    `torch.distributed.nn.functional.all_reduce`."""
    if _is_linear(op, tensor):
        return _AllReduce.apply(op, group, tensor)
    return _combine(all_gather(tensor, group), op)


def gather(tensor: Tensor, dst: int = 0, group: Group = None) -> tuple[Tensor, ...]:
    """Every rank's tensor, on global rank `dst`; zeros on the others. Mirrors
    `torch.distributed.nn.functional.gather`."""
    return _Gather.apply(dst, group, tensor)


def scatter(tensors: Any, src: int = 0, group: Group = None) -> Tensor:
    """The tensor that global rank `src` has for this rank. The others' `tensors` only say shape and
    dtype. Mirrors `torch.distributed.nn.functional.scatter`."""
    return _Scatter.apply(src, group, *tensors)


def all_gather(tensor: Tensor, group: Group = None) -> tuple[Tensor, ...]:
    """Every rank's tensor, on every rank; all of one shape. Mirrors
    `torch.distributed.nn.functional.all_gather`."""
    return _AllGather.apply(group, tensor)


def reduce_scatter(
    output: Tensor, input_list: Any, op: ReduceOp = ReduceOp.SUM, group: Group = None
) -> Tensor:
    """All ranks' `input_list[i]` combined, on rank i, in `output`. Mirrors
    `torch.distributed.nn.functional.reduce_scatter`."""
    if _is_linear(op, output):
        return _ReduceScatter.apply(op, group, output, *input_list)
    pieces = all_to_all([output.new_empty(output.shape) for _ in input_list], input_list, group)
    return output.detach().copy_(_combine(pieces, op))


def all_to_all(
    output_tensor_list: list, input_tensor_list: Any, group: Group = None
) -> tuple[Tensor, ...]:
    """`input_tensor_list[j]` of rank i, as the i-th result of rank j, in `output_tensor_list[i]`.
    Sizes may differ. Mirrors `torch.distributed.nn.functional.all_to_all`."""
    return _AllToAll.apply(group, output_tensor_list, *input_tensor_list)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Group = None,
) -> Tensor:
    """`input` cut along its first dimension, a part to each rank, and the parts that have come, one
    after the other, in `output`. Mirrors `torch.distributed.nn.functional.all_to_all_single`."""
    return _AllToAllSingle.apply(group, output, output_split_sizes, input_split_sizes, input)


def _all_gather_base(output_tensor: Tensor, input_tensor: Tensor, group: Group = None) -> Tensor:
    """Every rank's tensor, one after the other, in `output_tensor`. Mirrors torch's function."""
    return _AllGatherBase.apply(output_tensor, input_tensor, group)


def _is_linear(op: ReduceOp, tensor: Tensor) -> bool:
    """Whether the transposes hold; they also do for integers, which have no gradients."""
    differentiable = tensor.is_floating_point() or tensor.is_complex()
    return op in (ReduceOp.SUM, ReduceOp.AVG) or not differentiable


def _combine(pieces: tuple[Tensor, ...], op: ReduceOp) -> Tensor:
    together: Any = stack(pieces)
    if op is ReduceOp.MAX:
        return together.amax(0)
    if op is ReduceOp.MIN:
        return together.amin(0)
    if op is ReduceOp.PRODUCT:
        return together.prod(0)
    raise RuntimeError(f"ReduceOp.{op.name} works on bits; got a tensor of {together.dtype}")


# Each Function's backward applies the Function of the transpose, so that it is recorded in its
# turn: derivatives of any order.


class _Broadcast(Function):
    @staticmethod
    def forward(ctx, src, group, tensor):
        ctx.src, ctx.group = src, group
        result = tensor.clone()
        dist.broadcast(result, src, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        return None, None, _Reduce.apply(ctx.src, ReduceOp.SUM, ctx.group, grad)


class _Reduce(Function):
    @staticmethod
    def forward(ctx, dst, op, group, tensor):
        ctx.dst, ctx.op, ctx.group = dst, op, group
        total = tensor.clone()
        dist.reduce(total, dst, op, group)
        return total if dist.get_rank() == dst else total.zero_()

    @staticmethod
    def backward(ctx, grad):
        grad = _Broadcast.apply(ctx.dst, ctx.group, grad)
        return None, None, None, _averaged(grad, ctx.op, ctx.group)


class _AllReduce(Function):
    @staticmethod
    def forward(ctx, op, group, tensor):
        ctx.op, ctx.group = op, group
        total = tensor.clone()
        dist.all_reduce(total, op, group)
        return total

    @staticmethod
    def backward(ctx, grad):
        return None, None, _AllReduce.apply(ctx.op, ctx.group, grad)


class _Gather(Function):
    @staticmethod
    def forward(ctx, dst, group, tensor):
        ctx.dst, ctx.group = dst, group
        pieces = [tensor.new_zeros(tensor.shape) for _ in range(dist.get_world_size(group))]
        dist.gather(tensor, pieces if dist.get_rank() == dst else None, dst, group)
        return tuple(pieces)

    @staticmethod
    def backward(ctx, *grads):
        return None, None, _Scatter.apply(ctx.dst, ctx.group, *grads)


class _Scatter(Function):
    @staticmethod
    def forward(ctx, src, group, *tensors):
        ctx.src, ctx.group = src, group
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) != 1:
            raise ValueError(f"scatter: the tensors must have one shape, got {sorted(shapes)}")
        result = tensors[0].new_empty(tensors[0].shape)
        dist.scatter(result, list(tensors) if dist.get_rank() == src else None, src, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        return None, None, *_Gather.apply(ctx.src, ctx.group, grad)


class _AllGather(Function):
    @staticmethod
    def forward(ctx, group, tensor):
        ctx.group = group
        pieces = [tensor.new_empty(tensor.shape) for _ in range(dist.get_world_size(group))]
        dist.all_gather(pieces, tensor, group)
        return tuple(pieces)

    @staticmethod
    def backward(ctx, *grads):
        mine = grads[0].new_empty(grads[0].shape)
        return None, _ReduceScatter.apply(ReduceOp.SUM, ctx.group, mine, *grads)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx, op, group, output, *tensors):
        ctx.op, ctx.group = op, group
        dist.reduce_scatter(output, list(tensors), op, group)
        return output

    @staticmethod
    def backward(ctx, grad):
        grad = _averaged(grad, ctx.op, ctx.group)
        return None, None, None, *_AllGather.apply(ctx.group, grad)


class _AllToAll(Function):
    @staticmethod
    def forward(ctx, group, outputs, *tensors):
        ctx.group, ctx.shapes = group, [tensor.shape for tensor in tensors]
        dist.all_to_all(outputs, list(tensors), group)
        return tuple(outputs)

    @staticmethod
    def backward(ctx, *grads):
        received = [grads[0].new_empty(shape) for shape in ctx.shapes]
        return None, None, *_AllToAll.apply(ctx.group, received, *grads)


class _AllToAllSingle(Function):
    @staticmethod
    def forward(ctx, group, output, output_splits, input_splits, tensor):
        ctx.group, ctx.shape = group, tensor.shape
        ctx.splits = input_splits, output_splits  # exchanged
        dist.all_to_all_single(output, tensor, output_splits, input_splits, group)
        return output

    @staticmethod
    def backward(ctx, grad):
        received = grad.new_empty(ctx.shape)
        return None, None, None, None, _AllToAllSingle.apply(ctx.group, received, *ctx.splits, grad)


class _AllGatherBase(Function):
    @staticmethod
    def forward(ctx, output, tensor, group):
        ctx.group, ctx.shape = group, tensor.shape
        dist.all_gather_single(output, tensor, group)
        return output

    @staticmethod
    def backward(ctx, grad):
        pieces = grad.reshape(dist.get_world_size(ctx.group), *ctx.shape).unbind()
        mine = grad.new_empty(ctx.shape)
        return None, _ReduceScatter.apply(ReduceOp.SUM, ctx.group, mine, *pieces), None


def _averaged(grad: Tensor, op: ReduceOp, group: Any) -> Tensor:
    return grad / dist.get_world_size(group) if op is ReduceOp.AVG else grad
