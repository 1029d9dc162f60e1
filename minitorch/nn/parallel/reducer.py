"""The reducer: averages gradients over the ranks while backward is still computing them.

Each parameter has a hook that is called when its gradient is complete. The hook copies it, divided
by the number of ranks, to its place in a bucket; when the last place of a bucket is taken, its
all-reduce starts, and backward goes on with the layers before. A callback at the end of backward
waits for all buckets and copies the means back.

Invariants:
- Buckets start in the order of their index, the same on every rank, so that the ranks' collectives
  pair up in whatever order the gradients arrive.
- A backward sends all buckets, with zeros for what has no gradient. So no rank waits in vain, and
  when `backward()` returns, or raises for a missing gradient, it does so on every rank.
- Gradients are divided before they are summed, and every rank's .grad is the mean, bit for bit.

How does a rank know what others have no gradient for? The last bucket has a tail, a number for each
parameter, 1 on a rank that has none. It is summed with the gradients, and costs no message.

Which gradients should come is the subject of expectation.py.

PyTorch: torch/csrc/distributed/c10d/reducer.cpp.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import numpy as np

from ... import devices, tracing
from ... import distributed as dist
from ...autograd.engine import outermost_pass
from ...distributed.algorithms.join import in_batch
from ...tensor import wrap
from .buckets import Bucket, assign_buckets
from .expectation import Expectation
from .statistics import Timing


class Reducer:
    """The buckets of one DistributedDataParallel, and the hooks that fill them.

    `names` are the parameters, in the order in which the module has them, and their names. Those
    that are `delayed` share the last bucket.
    """

    def __init__(self, names: dict, group, limits, find_unused: bool, as_views: bool, delayed=()):
        self.names = names
        self.group = group
        self.limits = limits
        self.delayed = list(delayed)
        self.as_views = as_views
        self.divisor = group.size()
        self.sync = False  # whether the next backward averages: decided by the forward before it
        self.hook: Any = None  # (state, function), see Bucket.hand_to
        self.timing = Timing()
        self.rebuilt = False
        self.ready_order: list = []  # the parameters, as their gradients came in the last backward
        self._position = {p: i for i, p in enumerate(names)}
        self.expected = Expectation(names, group.size(), find_unused)
        self._tail_work: Any = None  # with a hook
        self._touched: set = set()  # have got a gradient since the last averaging
        # The last layers' gradients are ready first, so they share the first bucket.
        self._build(list(names)[::-1])
        self.first_sizes = ", ".join(str(bucket.flat.nbytes) for bucket in self.buckets)
        ready = weakref.WeakMethod(self._gradient_ready)  # hooks must not keep this alive
        handles = [
            p.register_post_accumulate_grad_hook(lambda p: ready()(p))  # type: ignore[misc]
            for p in names
        ]
        self.remove_hooks = weakref.finalize(self, lambda: [handle.remove() for handle in handles])

    def _build(self, parameters: list) -> None:
        """Make new buckets for the parameters in this order."""
        late = set(self.delayed)
        groups = assign_buckets([p for p in parameters if p not in late], self.limits)
        groups += assign_buckets(self.delayed, [sys.maxsize])
        last = len(groups) - 1
        self.buckets = [
            Bucket(i, members, tail=len(parameters) if i == last else 0)
            for i, members in enumerate(groups)
        ]
        self._bucket_of = {p: bucket for bucket in self.buckets for p in bucket.parameters}
        self._start_over()

    def _start_over(self) -> None:
        for bucket in self.buckets:
            bucket.reset()
        self._launched = 0  # buckets already on their way
        self._fired: dict = {}  # parameter -> how often its hook was called
        self._backward: Any = None  # weak reference to the engine's pass that is going on

    # During backward

    def _gradient_ready(self, parameter) -> None:
        """The hook on every parameter: its .grad is complete."""
        self._touched.add(parameter)
        if not self.sync:
            return
        backward: Any = outermost_pass()
        if self._backward is None or self._backward() is not backward:
            self._begin(backward, parameter)
        if parameter not in self._bucket_of[parameter].missing:
            raise RuntimeError(self.expected.once_too_often(parameter))
        self._fired[parameter] = fired = self._fired.pop(parameter, 0) + 1
        if self.expected.is_complete(parameter, fired):
            self._put(parameter)

    def _begin(self, backward, first) -> None:
        """The first gradient of a backward is there."""
        self._start_over()  # the last one may have ended in an exception
        self._backward = weakref.ref(backward)
        backward.callbacks.append(self._finish)
        self.ready_order = []
        self.timing.backward_begins()
        for p in self.expected.unused(backward, first):
            self._put(p)

    def _put(self, parameter) -> None:
        """Bring a gradient into its bucket, and start the buckets that are full."""
        bucket = self._bucket_of[parameter]
        bucket.put(parameter, self.divisor if self.hook is None else 1)
        if self.as_views and parameter.grad is not None:
            parameter.grad = bucket.views[parameter]
        self.ready_order.append(parameter)
        while self._launched < len(self.buckets) and not self.buckets[self._launched].missing:
            bucket = self.buckets[self._launched]
            absent = [p for p in self.names if p not in self._touched] if bucket.tail.size else []
            self._launch(bucket, absent)
            self._launched += 1

    def _launch(self, bucket: Bucket, absent: list) -> None:
        """Start a bucket; in its tail, if it has one, stands who has no gradient here."""
        self.timing.communication_begins()
        bucket.mark([self._position[p] for p in absent] if bucket.tail.size else [])
        if tracing.on:
            tracing.mark("bucket", f"bucket {bucket.index}", bytes=bucket.flat.nbytes)
        if self.hook is None:
            bucket.pending = dist.all_reduce(wrap(bucket.message), group=self.group, async_op=True)
            return
        state, function = self.hook
        bucket.hand_to(function, state, bucket is self.buckets[-1])
        if bucket.tail.size:  # the hook sees gradients alone
            self._tail_work = dist.all_reduce(wrap(bucket.tail), group=self.group, async_op=True)

    # At the end of backward

    def _finish(self) -> None:
        """Wait for every bucket, and put the means into .grad."""
        try:
            # In the first backward of a static graph, all; else those without a gradient.
            for p in [*self._fired, *[p for b in self.buckets for p in b.parameters]]:
                if p in self._bucket_of[p].missing:
                    self._put(p)
            self.timing.backward_ends()
            for bucket in self.buckets:
                with in_batch(self.timing.iterations + 1):
                    bucket.wait()
                for p in bucket.parameters:
                    if p in self._touched:
                        self._take(p)
            absent = self._counted()
            for p, count in zip(self.names, absent, strict=True):
                if p not in self._touched and count < self.group.size():
                    self._take(p)  # other ranks have used it
            self.timing.ends(sum([p.nbytes for p in self.names if p not in self._touched]))
            self.expected.judge(absent, self._fired, self._touched)
            self._rebuild()
        finally:
            self._touched.clear()
            self._start_over()

    def _take(self, parameter) -> None:
        """Copy the mean from its place into .grad."""
        self._bucket_of[parameter].take(parameter, self.as_views)

    def _counted(self) -> list[int]:
        """For each parameter, how many ranks have no gradient for it."""
        if self.hook is not None:
            self._tail_work.wait()
        return [int(count) for count in wrap(self.buckets[-1].tail).real.tolist()]

    def _rebuild(self) -> None:
        """After the first backward: new buckets, in the order in which rank 0's gradients came.

        Registration order was a guess. With unused parameters the order means little; PyTorch, too,
        keeps the first buckets then.
        """
        if self.rebuilt or self.expected.find_unused:
            return
        self.rebuilt = True
        order = np.array([self._position[p] for p in self.ready_order])
        dist.broadcast(wrap(order), group=self.group, group_src=0)
        parameters = list(self.names)
        self._build([parameters[i] for i in order.tolist()])

    def shadow(self) -> None:
        """Play this rank's part in the others' backward, with zeros (join_hook.py)."""
        self._start_over()
        for bucket in self.buckets:
            with devices.guard(bucket.message):
                bucket.message[...] = 0
        absent = list(self.names) if self.expected.find_unused else self.expected.unused(None)
        for bucket in self.buckets:
            self._launch(bucket, absent)
        for bucket in self.buckets:
            bucket.wait()
        for p, count in zip(self.names, self._counted(), strict=True):
            if count < self.group.size():
                self._take(p)  # for an optimizer that goes on here: ZeroRedundancyOptimizer's share
        if not self.ready_order:
            self.ready_order = [p for bucket in self.buckets for p in bucket.parameters]
        self._rebuild()
        self._start_over()

    def check_finalized(self) -> None:
        """Raise RuntimeError if a backward has begun and not come to its end."""
        if self._backward is not None:
            left = sorted(self.names[p] for b in self.buckets for p in b.missing)
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration: the last backward did "
                f"not come to its end; without an averaged gradient are {', '.join(left)}"
            )
