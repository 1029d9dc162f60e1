"""DistributedDataParallel: every process has the whole model and a share of the data.

Why: averaging the gradients of N processes gives the gradient of the N-fold batch. Done naively,
one all-reduce per parameter after backward, the processors wait for the network and the network
for the processors. So gradients are gathered into buckets, and a bucket is reduced as soon as its
last gradient is there, while backward goes on computing those of the layers before it.
Invariants:
- Buckets are launched in the order of their index, the same on every rank, so that the ranks'
  collectives always pair up, in whatever order the gradients arrive.
- Each gradient is divided by N before the sum. When backward returns, every rank's .grad is the
  mean, bit for bit the same everywhere.
PyTorch: torch/nn/parallel/distributed.py, torch/csrc/distributed/c10d/reducer.cpp.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import numpy as np

from ... import distributed as dist
from ...autograd.engine import current_pass, queue_callback
from ...autograd.grad_mode import mode
from ...tensor import wrap
from ..modules.module import Module

FIRST_BUCKET_BYTES = 1 << 20  # small, so that the first all-reduce starts early


class Bucket:
    """Parameters whose gradients travel together, in one flat array."""

    def __init__(self, parameters: list):
        self.parameters = parameters
        self.flat = np.zeros(sum(p.numel() for p in parameters), parameters[0].array.dtype)
        ends = np.cumsum([p.numel() for p in parameters]).tolist()
        self.places = {  # parameter -> its part of `flat`, in its own shape
            p: self.flat[end - p.numel() : end].reshape(p.array.shape)
            for p, end in zip(parameters, ends, strict=True)
        }
        self.work: Any = None
        self.reset()

    def reset(self) -> None:
        """Make it empty for the next backward."""
        if self.work is not None:  # left by a backward that failed: it still writes into `flat`
            with contextlib.suppress(RuntimeError):
                self.work.wait()
        self.missing = set(self.parameters)
        self.work = None


def assign_buckets(parameters: list, first_bytes: int, other_bytes: int) -> list[Bucket]:
    """Fill buckets with parameters in the given order, one kind of dtype to a bucket.

    A bucket is closed when it has reached its size: `first_bytes` for the first of a dtype,
    `other_bytes` for the rest. Buckets are ordered by the first parameter in them.
    PyTorch: compute_bucket_assignment_by_size.
    """
    closed: list = []
    open_: dict = {}
    limits: dict = {}
    for position, p in enumerate(parameters):
        kind = p.array.dtype
        members = open_.setdefault(kind, (position, []))[1]
        members.append(p)
        if sum(m.nbytes for m in members) >= limits.get(kind, first_bytes):
            limits[kind] = other_bytes
            closed.append(open_.pop(kind))
    closed.extend(open_.values())
    return [Bucket(members) for _, members in sorted(closed, key=lambda item: item[0])]


class DistributedDataParallel(Module):
    """Wraps `module` so that backward averages its gradients over the ranks of a process group.

    module: the same on every rank; rank 0's parameters and buffers are broadcast to the others.
    process_group: default the world. bucket_cap_mb: size of all buckets but the first, in MiB.
    broadcast_buffers: bring rank 0's buffers to the others before each training forward.
    Raises RuntimeError if no parameter requires a gradient, and at the end of a backward that left
    a parameter without one, by name. Mirrors torch.nn.parallel.DistributedDataParallel.
    """

    def __init__(
        self,
        module: Module,
        device_ids=None,
        output_device=None,
        dim=0,
        broadcast_buffers=True,
        init_sync=True,
        process_group=None,
        bucket_cap_mb=None,
        find_unused_parameters=False,
        check_reduction=False,
        gradient_as_bucket_view=False,
        static_graph=False,
    ):
        super().__init__()
        if find_unused_parameters or static_graph:
            raise NotImplementedError(
                "DistributedDataParallel: find_unused_parameters and static_graph are not here "
                "yet; let every parameter take part in the loss"
            )
        self.module = module
        self.process_group = process_group
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True
        self.device_ids = device_ids
        self._names = {p: name for name, p in module.named_parameters() if p.requires_grad}
        if not self._names:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter "
                "that requires a gradient."
            )
        if init_sync:
            self._broadcast([*module.parameters(), *module.buffers()])
        cap = 25 if bucket_cap_mb is None else bucket_cap_mb
        # The last layers' gradients are ready first, so they share the first bucket.
        self._buckets = assign_buckets(
            list(self._names)[::-1],
            FIRST_BUCKET_BYTES if bucket_cap_mb is None else int(cap * (1 << 20)),
            int(cap * (1 << 20)),
        )
        self._bucket_of = {p: bucket for bucket in self._buckets for p in bucket.parameters}
        self._scale = 1.0 / dist.get_world_size(process_group)
        self._launched = 0  # buckets already on their way in this backward
        self._sync = True  # whether the next backward averages: decided by the forward before it
        self._backward: Any = None  # weak reference to the engine's pass that is going on
        # The hooks must not keep this object alive, nor outlive it.
        ready = weakref.WeakMethod(self._gradient_ready)
        handles = [
            p.register_post_accumulate_grad_hook(lambda p: ready()(p))  # type: ignore[misc]
            for p in self._names
        ]
        weakref.finalize(self, lambda: [handle.remove() for handle in handles])

    def forward(self, *inputs, **kwargs):
        """Run the module. In training, first bring rank 0's buffers to the other ranks."""
        if mode.enabled:
            self._sync = self.require_backward_grad_sync
            if self._sync and self.training and self.broadcast_buffers:
                self._broadcast(list(self.module.buffers()))
        return self.module(*inputs, **kwargs)

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

    # During backward

    def _gradient_ready(self, parameter) -> None:
        """The hook on every parameter: its .grad is complete."""
        if not self._sync:
            return
        if self._backward is None or self._backward() is not current_pass():
            # The first gradient of a new backward; the last one may have ended in an exception.
            self._start_over()
            self._backward = weakref.ref(current_pass())
            queue_callback(self._finish)
        bucket = self._bucket_of[parameter]
        np.multiply(parameter.grad.array, self._scale, out=bucket.places[parameter])
        bucket.missing.discard(parameter)
        self._launch_full_buckets()

    def _launch_full_buckets(self) -> None:
        while self._launched < len(self._buckets) and not self._buckets[self._launched].missing:
            bucket = self._buckets[self._launched]
            bucket.work = dist.all_reduce(
                wrap(bucket.flat), group=self.process_group, async_op=True
            )
            self._launched += 1

    def _finish(self) -> None:
        """At the end of backward: wait for every bucket, and put the means into .grad."""
        missing = [self._names[p] for b in self._buckets for p in b.missing]
        if missing:
            self._start_over()
            raise RuntimeError(
                f"backward left {len(missing)} parameter(s) without a gradient: "
                f"{', '.join(sorted(missing))}. Every parameter of a DistributedDataParallel "
                "module must take part in the loss: drop those that do not, or switch their "
                "requires_grad off before wrapping the module."
            )
        for bucket in self._buckets:
            bucket.work.wait()
            for p, mean in bucket.places.items():
                if p.grad is None:  # a hook of the user's has taken it away
                    p.grad = wrap(np.empty_like(p.array))
                np.copyto(p.grad.array, mean)
                p.grad._bump_version()
        self._start_over()

    def _start_over(self) -> None:
        for bucket in self._buckets:
            bucket.reset()
        self._launched, self._backward = 0, None

    # Keeping the ranks' copies the same

    def _broadcast(self, tensors: list) -> None:
        """Bring rank 0's values to every rank, all tensors of a dtype in one message."""
        kinds: dict = {}
        for t in tensors:
            kinds.setdefault(t.array.dtype, []).append(t.detach())
        root = dist.get_global_rank(self.process_group, 0) if self.process_group else 0
        for members in kinds.values():
            flat = np.concatenate([t.array.reshape(-1) for t in members])
            dist.broadcast(wrap(flat), src=root, group=self.process_group)
            start = 0
            for t in members:
                end = start + t.numel()
                np.copyto(t.array, flat[start:end].reshape(t.array.shape))
                t._bump_version()
                start = end

    def __getstate__(self):
        raise TypeError("save the module inside, model.module, not its DistributedDataParallel")
