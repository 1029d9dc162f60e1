"""Post-local SGD: means over all ranks at first, then only over a few near ones (Lin et al. 2018).

Why: the link between hosts is slow. After some steps gradients are averaged within each host only,
and every few steps the parameters over all ranks (model_averaging, and PostLocalSGDOptimizer in
distributed/optim/).
PyTorch: torch/distributed/algorithms/ddp_comm_hooks/post_localSGD_hook.py.
"""

from __future__ import annotations

from typing import Any

import minitorch.distributed as dist
from minitorch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from minitorch.distributed.algorithms.ddp_comm_hooks.default_hooks import mean
from minitorch.futures import Future


class PostLocalSGDState:
    """`process_group` (None: all ranks) for the first `start_localSGD_iter` steps, then `subgroup`.

    post_local_gradient_allreduce: False averages no gradients at all after those steps. Mirrors
    torch's PostLocalSGDState, which makes subgroups by itself where `subgroup` is None, one for
    each host; here they must be given (dist.new_subgroups).
    """

    def __init__(
        self,
        process_group: Any,
        subgroup: Any,
        start_localSGD_iter: int,
        post_local_gradient_allreduce: bool = True,
    ):
        if subgroup is None and post_local_gradient_allreduce:
            raise ValueError(
                "which ranks are near each other? Give subgroup, for example "
                "dist.new_subgroups(group_size=the ranks of a host)[0]"
            )
        self.process_group = process_group
        self.subgroup = subgroup
        self.start_localSGD_iter = start_localSGD_iter
        self.post_local_gradient_allreduce = post_local_gradient_allreduce
        self.iter = 0


def post_localSGD_hook(state: PostLocalSGDState, bucket: dist.GradBucket) -> Future:
    """The mean over all ranks, or over the subgroup's. Mirrors torch's hook."""
    if state.iter < state.start_localSGD_iter:
        state.iter += bucket.is_last()
        return mean(bucket.buffer(), state.process_group)
    if state.post_local_gradient_allreduce:
        return mean(bucket.buffer(), state.subgroup)
    return noop_hook(None, bucket)
