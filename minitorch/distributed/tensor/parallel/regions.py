"""Into the part of a model where each rank computes something else, and out of it again.

Why: between these collectives a layer's ranks work on their own parts without a word. Around them
all ranks hold the same activations and compute the same loss. So that loss counts once, unlike in
torch.distributed.nn.functional, where the losses of N ranks are summed; and a gradient is either
the same on every rank (outside), or a rank's own contribution, of which the sum is meant (inside).

| going in | forward | backward |
|---|---|---|
| copy_to_region: the f of Megatron-LM | nothing | all_reduce |
| scatter_to_region | keep one's own part | all_gather |
| gather_to_region: the parts have been apart outside | all_gather | reduce_scatter |

| coming out | forward | backward |
|---|---|---|
| reduce_from_region: the g of Megatron-LM | all_reduce | nothing |
| gather_from_region | all_gather | keep one's own part |
| reduce_scatter_from_region: the parts stay apart outside | reduce_scatter | all_gather |

Invariant: the two tables are each other's transposes, row by row: what a function does in forward,
its partner does in backward. "Nothing" is the clever one: a replicated value needs no message to
become everybody's input, but each rank's gradient of it is only a term of the sum.

PyTorch: the redistributions in torch/distributed/tensor/_redistribute.py.
"""

from __future__ import annotations

from minitorch import distributed as dist
from minitorch.autograd.function import Function
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.tensor.placement_types import part_of
from minitorch.ops.join import cat
from minitorch.tensor import Tensor


def copy_to_region(tensor: Tensor, group: ProcessGroup) -> Tensor:
    """The same tensor, of which each rank makes another use."""
    return _Copy.apply(tensor, group)


def reduce_from_region(tensor: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of the ranks' tensors."""
    return _Reduce.apply(tensor, group)


def scatter_to_region(tensor: Tensor, dim: int, group: ProcessGroup) -> Tensor:
    """This rank's part of dimension `dim`."""
    return _Scatter.apply(tensor, dim, group)


def gather_from_region(
    tensor: Tensor, dim: int, group: ProcessGroup, length: int | None = None
) -> Tensor:
    """The ranks' parts, joined along `dim`, which is `length` long: ranks x ours by default."""
    return _Gather.apply(tensor, dim, group, length)


def gather_to_region(
    tensor: Tensor, dim: int, group: ProcessGroup, length: int | None = None
) -> Tensor:
    """The ranks' parts, joined along `dim`, of which each rank makes another use."""
    return _GatherIn.apply(tensor, dim, group, length)


def reduce_scatter_from_region(tensor: Tensor, dim: int, group: ProcessGroup) -> Tensor:
    """This rank's part, along `dim`, of the sum of the ranks' tensors."""
    return _ReduceScatter.apply(tensor, dim, group)


class _Copy(Function):
    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        return tensor

    @staticmethod
    def backward(ctx, grad):
        return _Reduce.apply(grad, ctx.group), None


class _Reduce(Function):
    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        total = tensor.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad):
        return _Copy.apply(grad, ctx.group), None


class _Scatter(Function):
    @staticmethod
    def forward(ctx, tensor, dim, group):
        ctx.dim, ctx.group, ctx.length = dim, group, tensor.shape[dim]
        return _parts(tensor, dim, group)[group.rank()].clone()

    @staticmethod
    def backward(ctx, grad):
        return _Gather.apply(grad, ctx.dim, ctx.group, ctx.length), None, None


class _Gather(Function):
    @staticmethod
    def forward(ctx, tensor, dim, group, length):
        ctx.dim, ctx.group = dim, group
        return all_gather(tensor, dim, group, length)

    @staticmethod
    def backward(ctx, grad):
        return _Scatter.apply(grad, ctx.dim, ctx.group), None, None, None


class _GatherIn(_Gather):
    @staticmethod
    def backward(ctx, grad):
        return _ReduceScatter.apply(grad, ctx.dim, ctx.group), None, None, None


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx, tensor, dim, group):
        ctx.dim, ctx.group, ctx.length = dim, group, tensor.shape[dim]
        parts = _parts(tensor, dim, group)
        mine = tensor.new_empty(parts[group.rank()].shape)
        dist.reduce_scatter(mine, parts, group=group)
        return mine

    @staticmethod
    def backward(ctx, grad):
        return _GatherIn.apply(grad, ctx.dim, ctx.group, ctx.length), None, None


def _parts(tensor: Tensor, dim: int, group: ProcessGroup) -> list[Tensor]:
    """All ranks' parts of a tensor, as views."""
    length, ranks = tensor.shape[dim], group.size()
    cuts = [part_of(length, rank, ranks) for rank in range(ranks)]
    return [tensor.narrow(dim, cut.start, cut.stop - cut.start) for cut in cuts]


def all_gather(tensor: Tensor, dim: int, group: ProcessGroup, length: int | None) -> Tensor:
    """The ranks' parts, joined along `dim`; the graph ends here."""
    if length is None:
        length = tensor.shape[dim] * group.size()
    parts = []
    for rank in range(group.size()):
        shape = list(tensor.shape)
        cut = part_of(length, rank, group.size())
        shape[dim] = cut.stop - cut.start
        parts.append(tensor.new_empty(shape))
    dist.all_gather(parts, tensor, group)
    return cat(parts, dim)
