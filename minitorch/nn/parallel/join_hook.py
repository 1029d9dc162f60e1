"""How a rank that has no more data keeps up with the others: DistributedDataParallel in a Join.

Each collective of a step has its counterpart here, in the same order (`_before_forward` in
distributed.py, then the reducer). Invariant: a rank that is through adds zeros to every sum.
PyTorch: _DDPJoinHook in torch/nn/parallel/distributed.py.
"""

from __future__ import annotations

from typing import Any

from ... import distributed as dist
from ...creation import tensor
from ...distributed.algorithms.join import JoinHook


class DDPJoinHook(JoinHook):
    """Shadows the steps of a DistributedDataParallel.

    divide_by_initial_world_size: gradients are divided by the number of all ranks, so that every
    sample has the same weight; if False, by the number of those that still have data.
    """

    def __init__(self, ddp: Any, divide_by_initial_world_size: bool = True):
        self.ddp = ddp
        ddp._divide_by_initial_world_size = divide_by_initial_world_size

    def main_hook(self) -> None:
        ddp = self.ddp
        averages, syncs_buffers = exchange_plan(ddp, False, False)
        if syncs_buffers:
            ddp._sync_buffers(has_data=False)
        if averages:
            ddp.reducer.shadow()

    def post_hook(self, is_last_joiner: bool) -> None:
        """Those who were through early have an old model: take that of a rank which was last."""
        self.ddp._sync_module(root=one_of_those(self.ddp, is_last_joiner))
        self.ddp.reducer.divisor = self.ddp.process_group.size()


def exchange_plan(ddp: Any, averages: bool, syncs_buffers: bool) -> list[bool]:
    """What any rank is going to do in this step."""
    plan = tensor([averages, syncs_buffers], device=ddp.device)
    dist.all_reduce(plan, group=ddp.process_group)
    return plan.tolist()


def one_of_those(ddp: Any, candidate: bool) -> int:
    """The highest group rank that gives True."""
    rank = tensor([ddp.process_group.rank() if candidate else -1], device=ddp.device)
    dist.all_reduce(rank, dist.ReduceOp.MAX, group=ddp.process_group)
    return int(rank.item())
