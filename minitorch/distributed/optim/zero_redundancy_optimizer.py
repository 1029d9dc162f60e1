"""ZeroRedundancyOptimizer: each rank updates a share of the parameters (Rajbhandari et al. 2020).

Why: with DistributedDataParallel every rank keeps the same optimizer state, for Adam twice the size
of the model. But a rank need not update a parameter if another one does and sends it the result:
with N ranks, each keeps an N-th of the state.
Invariant: all ranks compute the same partition, since it depends on the parameters' sizes and order
alone; a parameter belongs to one rank, whole. After a step every rank has every parameter, with the
same bits.

The optimizer that a rank runs on its share is an ordinary one, `self.optim`. Its groups are those
of `self.param_groups` with fewer parameters; all other options are copied across before and after
each step, so that learning-rate schedulers can work on the outer ones.
PyTorch: torch/distributed/optim/zero_redundancy_optimizer.py.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import minitorch as torch
import minitorch.distributed as dist
from minitorch.distributed.algorithms.join import Joinable, JoinHook
from minitorch.optim.optimizer import Optimizer

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer, Joinable):
    """`optimizer_class(params, **defaults)`, its state divided among the ranks of a group.

    parameters_as_bucket_view: lay a rank's parameters side by side in one array, so that they
    travel in one message instead of one each. Mirrors torch's ZeroRedundancyOptimizer, but
    for `overlap_with_ddp`, which raises NotImplementedError.
    """

    def __init__(
        self,
        params,
        optimizer_class: type[Optimizer],
        process_group: Any = None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults: Any,
    ):
        if overlap_with_ddp:
            raise NotImplementedError(
                "ZeroRedundancyOptimizer: overlap_with_ddp is left out; without it step() does the "
                "same, after backward"
            )
        group: Any = process_group or dist.group.WORLD
        self.process_group = group
        self.world_size = dist.get_world_size(group)
        self.rank = dist.get_rank(group)
        self.global_rank = dist.get_global_rank(group, self.rank)
        self.parameters_as_bucket_view = parameters_as_bucket_view
        self.optim: Any = None
        Optimizer.__init__(self, params, defaults)
        Joinable.__init__(self)
        self.optim = optimizer_class(self._partition_parameters()[self.rank], **defaults)
        self.state = self.optim.state
        _copy_options(self.optim.param_groups, self.param_groups)
        self._messages = self._lay_out()
        self._consolidated: list[dict[str, Any]] = []  # every rank's state dict

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own. All ranks must call it."""
        super().add_param_group(param_group)
        if self.optim is not None:
            # The groups before it stay where they are, for so do the sums of sizes.
            self.optim.add_param_group(self._partition_parameters()[self.rank][-1])
            _copy_options(self.optim.param_groups, self.param_groups)
            self._messages = self._lay_out()

    # Whose parameters

    def _partition_parameters(self) -> list[list[dict[str, Any]]]:
        """Each rank's groups: a parameter, the largest first, goes to whom has least so far."""
        sizes = [0] * self.world_size
        partition: list[list[dict[str, Any]]] = [[] for _ in sizes]
        for group in self.param_groups:
            shares: list[list] = [[] for _ in sizes]
            for param in sorted(group["params"], key=lambda p: p.numel(), reverse=True):
                rank = sizes.index(min(sizes))
                shares[rank].append(param)
                sizes[rank] += param.numel()
            for rank, share in enumerate(shares):
                partition[rank].append({**_options(group), "params": share})
        return partition

    def _lay_out(self) -> list[list[torch.Tensor]]:
        """The tensors that each rank sends after a step: its parameters, or buckets of them."""
        messages: list[list[torch.Tensor]] = []
        for groups in self._partition_parameters():
            params = list(chain.from_iterable(group["params"] for group in groups))
            if self.parameters_as_bucket_view:
                kinds: dict[Any, list] = {}
                for p in params:
                    kinds.setdefault((p.dtype, p.device), []).append(p)
                messages.append([_side_by_side(kind) for kind in kinds.values()])
            else:
                messages.append(params)
        return messages

    # Working

    def step(self, closure=None, **kwargs: Any):
        """Update this rank's share, then exchange: all ranks must call it.

        closure: computes the loss and its gradients anew; what it returns is returned.
        """
        _copy_options(self.param_groups, self.optim.param_groups)
        loss = self.optim.step(**kwargs) if closure is None else self.optim.step(closure, **kwargs)
        _copy_options(self.optim.param_groups, self.param_groups)
        works: list[Any] = [
            dist.broadcast(tensor.detach(), group=self.process_group, group_src=rank, async_op=True)
            for rank, tensors in enumerate(self._messages)
            for tensor in tensors
        ]
        for work in works:
            work.wait()
        self._opt_called = True
        return loss

    # Saving and loading

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Bring all ranks' state to the rank `to` of the group, so that it can save it.

        All ranks must call it, before `state_dict` on that one.
        """
        _copy_options(self.param_groups, self.optim.param_groups)
        states: list = [None] * self.world_size
        receives = self.rank == to
        dist.gather_object(
            self.optim.state_dict(),
            states if receives else None,
            group=self.process_group,
            group_dst=to,
        )
        self._consolidated = states if receives else []

    def state_dict(self) -> dict[str, Any]:
        """What the unsharded optimizer's would be, when `consolidate_state_dict` was last called.

        Raises RuntimeError if it has not been called for this rank.
        """
        if not self._consolidated:
            raise RuntimeError(
                "Optimizer state has not been consolidated on this rank. "
                f"Please call `consolidate_state_dict(to={self.rank})` on "
                "all ranks beforehand if you meant to save the global state."
            )
        number = self._numbers()
        state = {}
        for groups, saved in zip(self._partition_parameters(), self._consolidated, strict=True):
            params = chain.from_iterable(group["params"] for group in groups)
            for i, param in enumerate(params):
                if i in saved["state"]:
                    state[number[param]] = saved["state"][i]
        return {
            "state": dict(sorted(state.items())),
            "param_groups": [
                {**group, "params": [number[param] for param in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over this rank's share of the state of an optimizer, sharded or not."""
        number = self._numbers()
        mine = self._partition_parameters()[self.rank]
        order = [number[p] for p in chain.from_iterable(group["params"] for group in mine)]
        saved = state_dict["state"]
        super().load_state_dict({**state_dict, "state": {}})  # the options, and their checks
        local = self.optim.state_dict()["param_groups"]
        _copy_options(self.param_groups, local)
        self.optim.load_state_dict(
            {
                "state": {i: saved[n] for i, n in enumerate(order) if n in saved},
                "param_groups": local,
            }
        )
        self.state = self.optim.state

    def _numbers(self) -> dict[Any, int]:
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        return {param: i for i, param in enumerate(params)}

    # In a Join

    def join_hook(self, **kwargs) -> JoinHook:
        """Steps along with the others: the rank's share must be updated to the end."""
        return _ZeroJoinHook(self)

    @property
    def join_device(self) -> torch.device:
        return self.param_groups[0]["params"][0].device

    @property
    def join_process_group(self) -> Any:
        return self.process_group


class _ZeroJoinHook(JoinHook):
    def __init__(self, zero: ZeroRedundancyOptimizer):
        self.zero = zero

    def main_hook(self) -> None:
        self.zero.step()


def _options(group: dict[str, Any]) -> dict[str, Any]:
    """All but the parameters of a group."""
    return {key: value for key, value in group.items() if key not in ("params", "param_names")}


def _copy_options(source: list[dict[str, Any]], destination: list[dict[str, Any]]) -> None:
    """Copy the options from each group to its counterpart."""
    for theirs, ours in zip(source, destination, strict=True):
        ours.update(_options(theirs))


def _side_by_side(params: list) -> torch.Tensor:
    """One flat tensor with the values of `params`, which become views into it."""
    flat = torch.cat([p.detach().reshape(-1) for p in params])
    for p, part in zip(params, flat.split([p.numel() for p in params]), strict=True):
        p.data = part.view(p.shape)
    return flat
