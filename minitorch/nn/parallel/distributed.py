"""DistributedDataParallel: every process has the whole model and a share of the data.

Why: averaging the gradients of N processes gives the gradient of the N-fold batch. naive.py does
just that, in forty lines; read it first. This one hides the cost: gradients are gathered into
buckets (buckets.py), and a bucket is reduced as soon as its last gradient is there, while backward
goes on computing those of the layers before it (reducer.py). This file is the module around it:
what it accepts, what happens before a forward, and PyTorch's interface.
Invariants:
- The ranks begin with the same parameters and buffers (replicas.py), and get the same gradients.
- What a rank sends depends only on what all ranks do alike: a forward without gradients, or in
  `eval` mode, sends nothing that another rank would have to answer.
PyTorch: torch/nn/parallel/distributed.py.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ... import distributed as dist
from ... import tracing
from ...autograd.grad_mode import mode
from ...distributed.algorithms.join import Join, Joinable, in_batch
from ..modules.module import Module
from .arguments import (
    bucket_limits,
    check_device_ids,
    check_hook,
    check_parameters,
    delayed_parameters,
    group_of,
    refuse,
    when_to_sync_buffers,
)
from .join_hook import DDPJoinHook, exchange_plan, one_of_those
from .reducer import Reducer
from .replicas import broadcast_coalesced, check_same, describe
from .scatter_gather import gather, scatter_kwargs
from .statistics import statistics


class DistributedDataParallel(Module, Joinable):
    """Wraps `module` so that backward averages its gradients over the ranks of a process group.

    process_group: default the world; or device_mesh, of one dimension.
    init_sync: compare the ranks' models, and give all of them rank 0's parameters and buffers.
    forward_sync_buffers: bring rank 0's buffers to the others before each training forward.
    bucket_cap_mb: size of all buckets but the first, in MiB; bucket_cap_mb_list: of each.
    find_unused_parameters: allow parameters to be without a gradient in some steps. Where no rank
    has one, .grad stays as it is; elsewhere it is the mean, to which those without add zero.
    static_graph: every backward has the graph of the first; it may leave parameters out, and reach
    one several times, through reentrant checkpoints.
    gradient_as_bucket_view: .grad are views of the buckets, which saves a copy of all gradients.
    delay_all_reduce_named_params: (name, parameter) pairs, which are averaged together, after
    param_to_hook_all_reduce and all others: embeddings that are large, or many and small.
    device_ids, output_device, dim: for modules on a GPU. Of no use here, and accepted for scripts'
    sake: check_reduction, skip_all_reduce_unused_params, batched_grad_copy.

    Raises RuntimeError if no parameter requires a gradient, if the ranks' models differ, and at
    the end of a backward that left a parameter without a gradient on any rank, by name.
    Mirrors torch.nn.parallel.DistributedDataParallel.
    """

    def __init__(
        self,
        module,
        device_ids=None,
        output_device=None,
        dim=0,
        broadcast_buffers=None,
        init_sync=True,
        process_group=None,
        bucket_cap_mb=None,
        find_unused_parameters=False,
        check_reduction=False,
        gradient_as_bucket_view=False,
        static_graph=False,
        delay_all_reduce_named_params=None,
        param_to_hook_all_reduce=None,
        mixed_precision=None,
        device_mesh=None,
        skip_all_reduce_unused_params=False,
        bucket_cap_mb_list=None,
        batched_grad_copy=False,
        forward_sync_buffers=None,
    ):
        Module.__init__(self)
        Joinable.__init__(self)
        refuse(mixed_precision, check_reduction)
        self.process_group: Any = group_of(process_group, device_mesh)
        self.module = module
        self.parameters_to_ignore = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        names = {p: name for name, p in self._state()[0] if p.requires_grad}
        check_parameters(names)
        self._delay_all_reduce_params = delayed_parameters(
            delay_all_reduce_named_params, param_to_hook_all_reduce, names
        )
        self.device_ids, self.output_device = check_device_ids(names, device_ids, output_device)
        self.device = next(iter(names)).device
        self.device_type = self.device.type
        self.is_multi_device_module = len({p.device for p in names}) > 1
        self.dim = dim
        self.forward_sync_buffers, buffers_at_once = when_to_sync_buffers(
            broadcast_buffers, forward_sync_buffers
        )
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.batched_grad_copy = batched_grad_copy
        self.skip_all_reduce_unused_params = skip_all_reduce_unused_params
        self.mixed_precision = None
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self.bucket_bytes_cap_list = bucket_limits(bucket_cap_mb, bucket_cap_mb_list)
        self.bucket_bytes_cap = self.bucket_bytes_cap_list[-1]
        self._divide_by_initial_world_size = True
        if init_sync:
            arguments = {
                "bucket_cap_mb": self.bucket_bytes_cap_list,
                "find_unused_parameters": find_unused_parameters,
                "static_graph": static_graph,
                "delay_all_reduce_named_params": [names[p] for p in self._delay_all_reduce_params],
            }
            check_same(describe(*self._state(), arguments), self.process_group)
            self._sync_module(root=0, with_buffers=buffers_at_once)
        self._make_reducer()

    def _make_reducer(self) -> None:
        self.reducer = Reducer(
            {p: name for name, p in self._state()[0] if p.requires_grad},
            self.process_group,
            self.bucket_bytes_cap_list,
            self.find_unused_parameters,
            self.gradient_as_bucket_view,
            self._delay_all_reduce_params,
        )
        if self.static_graph:
            self.reducer.expected.set_static_graph()

    # Training

    def forward(self, *inputs, **kwargs):
        """Run the module. In training, first bring rank 0's buffers to the other ranks."""
        if mode.enabled:
            self._before_forward()
        if self.device_ids and (inputs or kwargs):
            (inputs,), (kwargs,) = self.scatter(inputs, kwargs, self.device_ids)
        with tracing.region("forward", "forward"):
            return self.module(*inputs, **kwargs)

    def _before_forward(self) -> None:
        averages = self.require_backward_grad_sync
        syncs_buffers = averages and self.will_sync_module_buffers()
        if self._join_config.enable:  # join_hook.py answers these
            present = Join.notify_join_context(self)
            exchange_plan(self, averages, syncs_buffers)
            if present is not None and not self._divide_by_initial_world_size:
                present.wait()
                self.reducer.divisor = int(present.result()[0].item())
        self.reducer.timing.forward_begins()
        self.reducer.sync = averages
        if syncs_buffers:
            with in_batch(self.reducer.timing.iterations + 1):
                self._sync_buffers()

    @contextlib.contextmanager
    def no_sync(self):
        """A forward inside, and its backward, only accumulate locally.

        The first backward of a forward outside averages the whole sum.
        """
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def register_comm_hook(self, state: object, hook) -> None:
        """Let `hook(state, bucket: dist.GradBucket) -> Future[Tensor]` reduce the buckets.

        It gets this rank's own gradients, and must divide by the number of ranks itself. To be
        called once, before the first backward. Raises TypeError for what cannot be called,
        ValueError for annotations of other types, RuntimeError for a second hook.
        """
        check_hook(hook)
        if self.reducer.hook is not None:
            raise RuntimeError(
                "register_comm_hook or register_builtin_comm_hook can only be called once."
            )
        self.reducer.hook = state, hook

    def _set_static_graph(self) -> None:
        """The same as static_graph=True at construction."""
        self.static_graph = True
        self.reducer.expected.set_static_graph()

    # Keeping the ranks' copies the same

    def _state(self) -> tuple[list, list]:
        """The (name, tensor) pairs of the parameters and buffers that are not ignored."""
        named = self.module.named_parameters(), self.module.named_buffers()
        parameters, buffers = (
            [(name, t) for name, t in pairs if name not in self.parameters_to_ignore]
            for pairs in named
        )
        return parameters, buffers

    def _sync_module(self, root: int, with_buffers: bool | None = None) -> None:
        """Bring a rank's parameters and buffers to all."""
        parameters, buffers = self._state()
        if not (self.forward_sync_buffers if with_buffers is None else with_buffers):
            buffers = []
        broadcast_coalesced([t for _, t in parameters + buffers], root, self.process_group)

    def will_sync_module_buffers(self) -> bool:
        """Whether a forward now would bring rank 0's buffers to the others."""
        return self.training and self.forward_sync_buffers and bool(self._state()[1])

    def _sync_buffers(self, has_data: bool = True) -> None:
        """Give all ranks the buffers of rank 0; in a Join, of one that still has data."""
        root = one_of_those(self, has_data) if self._join_config.enable else 0
        broadcast_coalesced([b for _, b in self._state()[1]], root, self.process_group)

    # Uneven inputs: see join_hook.py

    def join(
        self,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ) -> Join:
        """A context for training in which some ranks have fewer batches than others.

        The arguments are those of Join and of DDPJoinHook.
        """
        return Join(
            [self],
            enable,
            throw_on_early_termination,
            divide_by_initial_world_size=divide_by_initial_world_size,
        )

    def join_hook(self, **kwargs) -> DDPJoinHook:
        """What a rank that is through does; takes `divide_by_initial_world_size`."""
        return DDPJoinHook(self, kwargs.get("divide_by_initial_world_size", True))

    @property
    def join_device(self):
        return self.device

    @property
    def join_process_group(self):
        return self.process_group

    # What else PyTorch's has

    @property
    def broadcast_buffers(self) -> bool:
        """The old name of `forward_sync_buffers`."""
        return self.forward_sync_buffers

    @broadcast_buffers.setter
    def broadcast_buffers(self, value: bool) -> None:
        self.forward_sync_buffers = value

    @staticmethod
    def _set_params_and_buffers_to_ignore_for_model(module, params_and_buffers_to_ignore) -> None:
        """Before wrapping: names of parameters and buffers that each rank keeps for itself."""
        module._ddp_params_and_buffers_to_ignore = params_and_buffers_to_ignore

    def _get_ddp_logging_data(self) -> dict:
        """Arguments, bucket sizes, and the times of the last step and of all (statistics.py)."""
        return statistics(self)

    def _check_reducer_finalized(self) -> None:
        """Raise RuntimeError if the last backward did not come to its end."""
        self.reducer.check_finalized()

    def _remove_autograd_hooks(self) -> None:
        """Average no more."""
        self.reducer.remove_hooks()

    def scatter(self, inputs, kwargs, device_ids):
        """The inputs cut along `dim`, a part for each device."""
        return scatter_kwargs(inputs, kwargs, device_ids, dim=self.dim)

    def gather(self, outputs, output_device):
        """Outputs of several devices, put together along `dim`."""
        return gather(outputs, output_device, dim=self.dim)

    def to_kwargs(self, inputs, kwargs, device_id):
        """The inputs on a device, as `scatter` to it alone gives them."""
        return self.scatter(inputs, kwargs, [device_id])

    def __getstate__(self) -> dict:
        """A copy or pickle has no connections: it joins the default group, which must be ours."""
        if self.process_group is not dist.group.WORLD:
            raise RuntimeError(
                "DDP Pickling/Unpickling are only supported when using DDP with the default "
                "process group. That is, when you have called init_process_group and have not "
                "passed process_group argument to DDP constructor"
            )
        return {k: v for k, v in self.__dict__.items() if k not in ("process_group", "reducer")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.process_group = group_of(None, None)
        self._make_reducer()
