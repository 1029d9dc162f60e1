"""Running a schedule: one step of training, the batch cut into micro-batches, over all stages.

Each rank goes through its list of actions (actions.py) and does one after the other; what it waits
for are the messages of its neighbours (stage.py). There is no conductor.
Invariant: after `step` each parameter's .grad has been added the gradient of the mean of the
micro-batches' losses, which for a loss that averages over the batch is that of the whole batch.
PyTorch: torch/distributed/pipelining/schedules.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ... import tracing
from ...autograd.grad_mode import mode
from ...tensor import Tensor
from .actions import BACKWARD, FORWARD, Action, Orders, Span, gpipe, one_f_one_b
from .microbatch import merge, split
from .stage import PipelineStage


class PipelineSchedule:
    """What the schedules have in common: `step` and `eval`.

    stages: this rank's. loss_fn(output, target) -> scalar; without one there is no backward.
    scale_grads: the loss is the mean of the micro-batches', not their sum. `pipeline_order[rank]`
    lists the actions of each rank; `spans` has this rank's last step with its times, in seconds.
    Raises ValueError if this rank has not the stages that the order gives it.
    """

    def __init__(
        self,
        stages: list[PipelineStage],
        orders: Orders,
        n_microbatches: int,
        loss_fn: Callable[..., Any] | None,
        scale_grads: bool,
    ):
        rank = stages[0].group_rank
        self.pipeline_order = dict(enumerate(orders))
        self.n_microbatches = n_microbatches
        self.loss_fn = loss_fn
        self.scale_grads = scale_grads
        self.spans: list[Span] = []
        self._stages = {stage.stage_index: stage for stage in stages}
        self._order = orders[rank]
        needed = sorted({action.stage for action in self._order})
        if sorted(self._stages) != needed or stages[0].num_stages != _count(orders):
            raise ValueError(
                f"{type(self).__name__} on {len(orders)} ranks has {_count(orders)} stages, and "
                f"rank {rank} the stages {needed}; got {sorted(self._stages)} of "
                f"{stages[0].num_stages}"
            )

    def step(
        self,
        *args,
        target: Any = None,
        losses: list | None = None,
        return_outputs: bool = True,
        **kwargs,
    ) -> Any:
        """One forward and backward of the whole batch.

        args: the model's, given where the first stage is. target: the loss's, given where the last
        is. kwargs: this rank's own stages' further arguments. All tensors are cut along their first
        dimension. `losses` is filled with the micro-batches' losses, and the output returned, where
        the last stage is. Mirrors torch.distributed.pipelining.ScheduleGPipe.step. Raises
        RuntimeError under no_grad, ValueError for a batch that does not divide, and RuntimeError,
        naming the stage, for what goes wrong in it.
        """
        if self.loss_fn is not None and not mode.enabled:
            raise RuntimeError(
                "step() requires gradients to be enabled for backward computation; it should not "
                "be used under torch.no_grad() context. Please call eval() instead."
            )
        return self._run(args, kwargs, target, losses, return_outputs, self.loss_fn is not None)

    def eval(self, *args, target: Any = None, losses: list | None = None, **kwargs) -> Any:
        """The forward alone, with the loss if there is a target. Otherwise like `step`."""
        return self._run(args, kwargs, target, losses, True, False)

    def _run(self, args, kwargs, target, losses, return_outputs: bool, train: bool) -> Any:
        if losses is not None and not isinstance(losses, list):
            raise TypeError(f"losses must be a list but got a {type(losses)}")
        n = self.n_microbatches
        arguments = split(args, n, "args")
        keywords = split(kwargs, n, "kwargs")
        targets = split(target, n, "target")
        loss_fn = self.loss_fn if train or target is not None else None
        losses_to_do: dict[int, Tensor] = {}  # those whose backward is still to come
        self.spans = []
        shown, outputs = [], []
        for stage in self._stages.values():
            stage.start()
        for action in self._order:
            stage, i = self._stages[action.stage], action.microbatch
            if action.kind == FORWARD:
                output, loss = self._forward(
                    stage, i, arguments[i], keywords[i], loss_fn, targets[i], train
                )
                if stage.is_last and return_outputs:
                    outputs.append(_detached(output))
                if loss is not None:
                    shown.append(loss.detach())
                    losses_to_do[i] = loss
                del output, loss  # which would keep the graph beyond its backward
            elif train:
                self._backward(stage, i, losses_to_do.pop(i, None))
        for stage in self._stages.values():
            stage.finish()
        if losses is not None and shown:
            losses[:] = shown
        return merge(outputs) if outputs else None

    def _forward(self, stage, i: int, args, kwargs, loss_fn, target, keep: bool) -> tuple:
        """The stage's output for micro-batch `i` and, in the last one, its loss."""
        inputs = args if stage.is_first else stage.receive_inputs(i)
        with self._timed(Action(stage.stage_index, FORWARD, i)):
            output = stage.forward(i, inputs, kwargs, keep)
            loss = loss_fn(output, target) if stage.is_last and loss_fn is not None else None
        return output, loss

    def _backward(self, stage, i: int, loss: Tensor | None) -> None:
        outputs, grads = None, []
        if loss is None:
            grads = stage.receive_grads()
        else:
            share = 1 / self.n_microbatches if self.scale_grads else 1.0
            outputs, grads = [loss], [loss.new_full(loss.shape, share)]
        with self._timed(Action(stage.stage_index, BACKWARD, i)):
            stage.backward(i, outputs, grads, last=i == self.n_microbatches - 1)

    @contextlib.contextmanager
    def _timed(self, action: Action):
        """Notes when the block inside, a computation, has begun and ended."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            end = time.perf_counter_ns()
            self.spans.append(Span(action, start / 1e9, end / 1e9))
            if tracing.on:
                kind = "forward" if action.kind == FORWARD else "backward"
                tracing.span(
                    kind, str(action), start, end, stage=action.stage, microbatch=action.microbatch
                )


class ScheduleGPipe(PipelineSchedule):
    """All micro-batches forward, then all backward. Mirrors
    torch.distributed.pipelining.ScheduleGPipe."""

    def __init__(
        self,
        stage: PipelineStage,
        n_microbatches: int,
        loss_fn: Callable[..., Any] | None = None,
        scale_grads: bool = True,
    ):
        orders = gpipe(stage.group_size, n_microbatches)
        super().__init__([stage], orders, n_microbatches, loss_fn, scale_grads)


class Schedule1F1B(PipelineSchedule):
    """One forward, one backward: a stage keeps at most num_stages - stage_index micro-batches.

    Mirrors torch.distributed.pipelining.Schedule1F1B. Raises ValueError for fewer micro-batches
    than stages.
    """

    def __init__(
        self,
        stage: PipelineStage,
        n_microbatches: int,
        loss_fn: Callable[..., Any] | None = None,
        scale_grads: bool = True,
    ):
        if n_microbatches < stage.num_stages:
            raise ValueError(
                f"Number of microbatches ({n_microbatches}) must be greater than or equal to the "
                f"number of stages ({stage.num_stages}): some stages would never work at once"
            )
        orders = one_f_one_b(stage.group_size, n_microbatches)
        super().__init__([stage], orders, n_microbatches, loss_fn, scale_grads)


class ScheduleInterleaved1F1B(PipelineSchedule):
    """1F1B with several stages on each rank, for a smaller bubble.

    Mirrors torch.distributed.pipelining.ScheduleInterleaved1F1B; raises as `one_f_one_b`.
    """

    def __init__(
        self,
        stages: list[PipelineStage],
        n_microbatches: int,
        loss_fn: Callable[..., Any] | None = None,
        scale_grads: bool = True,
    ):
        orders = one_f_one_b(stages[0].group_size, n_microbatches, len(stages))
        super().__init__(stages, orders, n_microbatches, loss_fn, scale_grads)


def _count(orders: Orders) -> int:
    return 1 + max(action.stage for order in orders for action in order)


def _detached(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return type(result)([_detached(part) for part in result])
    return result.detach()
