"""Cross-entropy of logits whose classes are spread over the ranks.

Why: the last layer of a language model has a column for every word of its vocabulary; joined, its
output would be the largest activation of all. Of the loss's three numbers for a row, its maximum,
the sum of its exponentials and the target's logit, each rank contributes its part.

PyTorch: torch/distributed/tensor/parallel/loss.py makes F.cross_entropy do this for DTensors.
"""

from __future__ import annotations

from typing import Any

from minitorch import distributed as dist
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.tensor.parallel.regions import reduce_from_region
from minitorch.distributed.tensor.placement_types import part_of
from minitorch.tensor import Tensor


def vocab_parallel_cross_entropy(
    logits: Tensor, target: Tensor, classes: int, group: ProcessGroup, ignore_index: int = -100
) -> Tensor:
    """F.cross_entropy(all logits, target), the same on every rank.

    logits: (n, this rank's part of `classes`), as a ColwiseParallel layer returns them. target: (n)
    of classes, the same on every rank.
    """
    part = part_of(classes, group.rank(), group.size())
    if logits.ndim != 2 or logits.shape[1] != part.stop - part.start:
        raise ValueError(
            f"vocab_parallel_cross_entropy: rank {group.rank()} of {group.size()} has classes "
            f"{part.start} to {part.stop - 1} of {classes}, so expected logits of shape "
            f"(n, {part.stop - part.start}), got {tuple(logits.shape)}"
        )
    largest = logits.detach().amax(1)  # only for the range of exp: it cancels out
    dist.all_reduce(largest, dist.ReduceOp.MAX, group)
    shifted = logits - largest.unsqueeze(1)
    total = reduce_from_region(shifted.exp().sum(1), group)

    elsewhere = (target < part.start) | (target >= part.stop)
    place = (target - part.start).masked_fill(elsewhere, 0).unsqueeze(1)
    mine = shifted.gather(1, place).squeeze(1).masked_fill(elsewhere, 0)
    counted: Any = target.ne(ignore_index).to(logits.dtype)
    losses = (total.log() - reduce_from_region(mine, group)) * counted
    return losses.sum() / counted.sum()
