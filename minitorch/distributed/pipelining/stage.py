"""One stage of a pipeline: its part of the network, and the messages to its two neighbours.

The graph is cut between two stages. Forward receives the activations as leaves that require a
gradient; backward of the next stage leaves its gradient in such a leaf's .grad, which is sent back
and is what this stage's backward starts from: together that is backward through the whole network.
Invariants:
- `alive` has exactly the micro-batches that have been through forward and not yet through backward.
- Only the shape of the first micro-batch of a step travels (before the tensors themselves); all
  others of that step must have the same, and the sender is where a different one is reported.
- A send does not wait for its receiver, so no order of sends and receives can deadlock.
PyTorch: torch/distributed/pipelining/stage.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import devices
from ... import distributed as dist
from ...autograd.differentiate import backward
from ...dispatch.declare import functions
from ...dtypes import of as dtype_of
from ...nn.parallel import DistributedDataParallel
from ...tensor import Tensor
from ..fsdp import FSDPModule


class Spec(NamedTuple):
    """What there is to know of a tensor before it comes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    requires_grad: bool

    @classmethod
    def of(cls, tensor: Tensor) -> Spec:
        return cls(tensor.array.shape, tensor.array.dtype, tensor.requires_grad)

    def __str__(self) -> str:
        name = str(dtype_of(self)).removeprefix("torch.")
        return f"{name}{list(self.shape)}"


class PipelineStage:
    """`submodule` as stage `stage_index` of `num_stages`, on rank stage_index % size of `group`.

    submodule: takes one or several tensors, returns a tensor or a tuple of them, which the next
    stage's takes; it may be wrapped in DistributedDataParallel or sharded by fully_shard, over
    another group. device: where the micro-batches arrive, by default the submodule's. input_args,
    output_args: examples of one micro-batch's; not needed, but if given, what comes is compared
    with their shapes and types. Mirrors
    torch.distributed.pipelining.PipelineStage. Raises ValueError for an index that is out of range
    or another rank's, RuntimeError for more ranks than stages.
    """

    def __init__(
        self,
        submodule: Any,
        stage_index: int,
        num_stages: int,
        device: Any = None,
        input_args: Tensor | tuple[Tensor, ...] | None = None,
        output_args: Tensor | tuple[Tensor, ...] | None = None,
        *,
        group: Any = None,
    ):
        if not 0 <= stage_index < num_stages:
            raise ValueError(f"Stage index {stage_index} is out of range of {num_stages}")
        self.group_rank, self.group_size = dist.get_rank(group), dist.get_world_size(group)
        if self.group_size > num_stages:
            raise RuntimeError(
                f"Pipeline group size {self.group_size} cannot be larger than number of stages "
                f"{num_stages}: some ranks would have nothing to do. Cut the model into at least "
                f"{self.group_size} stages, or start {num_stages} ranks"
            )
        if stage_index % self.group_size != self.group_rank:
            raise ValueError(
                f"stage {stage_index} belongs to rank {stage_index % self.group_size} of its group "
                f"of {self.group_size}, and was made on rank {self.group_rank}: stage i is on rank "
                "i % size"
            )
        self.submod = submodule
        self.stage_index = stage_index
        self.num_stages = num_stages
        place = next((p.device for p in submodule.parameters()), None)
        self.device = devices.check(place if device is None else device)
        self.group = group
        self.expected = {"inputs": _specs(input_args), "outputs": _specs(output_args)}
        # This step's, from its first micro-batch on.
        self.inputs: list[Spec] = []
        self.outputs: list[Spec] = []
        self.alive: dict[int, tuple[list[Tensor], list[Tensor]]] = {}  # outputs and inputs
        self.sends: list = []

    @property
    def is_first(self) -> bool:
        return self.stage_index == 0

    @property
    def is_last(self) -> bool:
        return self.stage_index == self.num_stages - 1

    def __str__(self) -> str:
        return f"stage {self.stage_index} (rank {dist.get_rank()})"

    def start(self) -> None:
        """Forget what a step that failed may have left."""
        self.alive.clear()
        self.sends.clear()

    def receive_inputs(self, i: int) -> tuple[Tensor, ...]:
        """Wait for micro-batch `i` from the stage before."""
        before = self.stage_index - 1
        if i == 0:
            room: list = [None]
            dist.recv_object_list(room, group=self.group, group_src=self._rank_of(before))
            self.inputs = room[0]
        received = self._receive(before, self.inputs)
        for tensor, spec in zip(received, self.inputs, strict=True):
            tensor.requires_grad = spec.requires_grad
        return tuple(received)

    def forward(self, i: int, inputs: tuple, kwargs: dict, keep: bool) -> Any:
        """Run micro-batch `i` through the stage and send the result on; returns it.

        `keep` it for backward.
        """
        given = [Spec.of(t) for t in inputs if isinstance(t, Tensor)]
        if i == 0:
            self._check("inputs", given)
        try:
            result = self.submod(*inputs, **kwargs)
        except Exception as error:
            raise RuntimeError(
                f"{self} failed in forward of micro-batch {i}, given {_listed(given)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        if not all(isinstance(t, Tensor) for t in outputs):
            raise TypeError(
                f"{self} must return a tensor or a tuple of tensors, which alone can be sent on, "
                f"got {type(result).__name__}"
            )
        specs = [Spec.of(t) for t in outputs]
        if i == 0:
            self._check("outputs", specs)
            self.outputs = specs
        elif specs != self.outputs:
            raise RuntimeError(
                f"{self} returned {_listed(specs)} for micro-batch {i}, expected "
                f"{_listed(self.outputs)} as for micro-batch 0: all of a step must be alike"
            )
        if keep:
            self.alive[i] = outputs, [t for t in inputs if isinstance(t, Tensor)]
        if not self.is_last:
            if i == 0:
                after = self._rank_of(self.stage_index + 1)
                dist.send_object_list([specs], group=self.group, group_dst=after)
            self._send(self.stage_index + 1, outputs)
        return result

    def receive_grads(self) -> list[Tensor]:
        """Wait for the gradients of the next micro-batch's outputs, from the stage behind."""
        specs = [spec for spec in self.outputs if spec.requires_grad]
        return self._receive(self.stage_index + 1, specs)

    def backward(
        self, i: int, outputs: list[Tensor] | None, grads: list[Tensor], last: bool
    ) -> None:
        """Run micro-batch `i`'s backward from `grads`, the gradients of `outputs` (None: of those
        results of forward that have one), and send those of the inputs back."""
        # Where a stage has copies on other ranks, only the last backward of a step averages.
        if isinstance(self.submod, DistributedDataParallel):
            self.submod.reducer.sync = last
        elif isinstance(self.submod, FSDPModule):
            self.submod.set_requires_gradient_sync(last)
        results, inputs = self.alive.pop(i)
        if outputs is None:
            outputs = [t for t in results if t.requires_grad]
        if outputs:
            backward(outputs, grads)
        if not self.is_first:
            taught = [t for t in inputs if t.requires_grad]
            grads = [t.new_zeros(t.shape) if t.grad is None else t.grad for t in taught]
            self._send(self.stage_index - 1, grads)

    def finish(self) -> None:
        """Wait until all that was sent in this step has left."""
        for work, _ in self.sends:
            work.wait()
        self.sends.clear()

    # Shapes

    def _check(self, what: str, got: list[Spec]) -> None:
        """Compare what the first micro-batch has with the examples given to the stage."""
        expected = self.expected[what]
        if expected is not None and [s[:2] for s in expected] != [s[:2] for s in got]:
            raise RuntimeError(
                f"{self} got other {what} than its {what[:-1]}_args say: expected "
                f"{_listed(expected)}, got {_listed(got)}"
            )

    # Messages

    def _rank_of(self, stage: int) -> int:
        return stage % self.group_size

    def _send(self, stage: int, tensors: list[Tensor]) -> None:
        self.sends = [(work, tensor) for work, tensor in self.sends if not work.is_completed()]
        for tensor in tensors:
            work = dist.isend(tensor, group=self.group, group_dst=self._rank_of(stage))
            self.sends.append((work, tensor))

    def _receive(self, stage: int, specs: list[Spec]) -> list[Tensor]:
        tensors = [
            functions["empty"](spec.shape, dtype=dtype_of(spec), device=self.device)
            for spec in specs
        ]
        for tensor in tensors:
            dist.recv(tensor, group=self.group, group_src=self._rank_of(stage))
        return tensors


def _specs(examples: Tensor | tuple | None) -> list[Spec] | None:
    if examples is None:
        return None
    return [Spec.of(t) for t in (examples if isinstance(examples, tuple) else (examples,))]


def _listed(specs: list[Spec]) -> str:
    return ", ".join(map(str, specs)) or "nothing"
