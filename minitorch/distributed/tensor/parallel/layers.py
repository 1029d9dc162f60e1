"""Linear and Embedding layers of which each rank holds a part of the weight.

A linear layer's weight (out, in) can be cut in two ways.

- *By columns* of x @ weight.T, that is along `out`: each rank computes some of the output's
  features from the whole input. Going in, nothing is sent; the results are parts.
- *By rows*, along `in`: each rank computes, with some of the input's features, a term of the
  output. Coming out, the terms are summed.

One after the other, with an elementwise function between them, they need one all_reduce in forward
(coming out of the second) and one in backward (coming out of the first). An embedding is a linear
layer whose input has one 1: cut along its vectors it is of the first kind, along its rows, the
vocabulary, of the second.

Invariants:
- The parameters are ordinary tensors, this rank's part, where PyTorch's are DTensors, which act as
  the whole. They are the same objects as before, so that what was shared stays shared; `_sharding`
  says how they are cut, and between whom.
- What all ranks hold (a bias behind the sum) has the same gradient on all, so it stays the same.

PyTorch: torch/distributed/tensor/parallel/style.py.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from minitorch import devices
from minitorch import distributed as dist
from minitorch.autograd.grad_mode import no_grad
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.device_mesh import DeviceMesh
from minitorch.distributed.tensor.parallel import regions
from minitorch.distributed.tensor.placement_types import (
    Partial,
    Placement,
    Replicate,
    Shard,
    part_of,
)
from minitorch.nn import functional as F
from minitorch.nn.modules.linear import Linear
from minitorch.nn.modules.sparse import Embedding
from minitorch.tensor import Tensor, wrap


class Cut(NamedTuple):
    """What a parameter knows, in `_sharding`, of the whole that it is a part of.

    Clipping asks it for the ranks that have the rest of the gradient, torch.distributed.checkpoint
    for whole tensors (fsdp/sharding.py says the same of parameters that are spread for storage).
    """

    group: ProcessGroup
    shape: tuple[int, ...]  # of the whole
    dim: int

    def part(self, array: np.ndarray) -> np.ndarray:
        """This rank's part of a whole array, as a view."""
        cut = part_of(self.shape[self.dim], self.group.rank(), self.group.size())
        return array[(slice(None),) * self.dim + (cut,)]

    def whole(self, array: np.ndarray) -> np.ndarray:
        """The whole, from every rank's part; all ranks must ask for it."""
        length = self.shape[self.dim]
        return regions.all_gather(wrap(array), self.dim, self.group, length).array


@no_grad()
def shard(parameter: Any, dim: int, mesh: DeviceMesh, source: int | None) -> None:
    """Leave in a parameter this rank's part of group rank `source`'s values; None: of its own.

    A parameter that two layers share comes twice. ValueError if they cut it in different ways.
    """
    cut = Cut(mesh.get_group(), tuple(parameter.shape), dim)
    before = getattr(parameter, "_sharding", None)
    if isinstance(before, Cut) and (before.group, before.dim) == (cut.group, dim):
        return
    if before is not None:
        raise ValueError(
            f"a parameter of shape {tuple(before.shape)} is spread over ranks already; layers that "
            f"share a parameter must cut it alike, and this one cuts dimension {dim}"
        )
    replicate(parameter, mesh, source)
    with devices.guard(parameter.array):
        parameter.data = wrap(cut.part(parameter.array).copy())
    parameter.grad = None
    parameter._sharding = cut


@no_grad()
def replicate(parameter: Any, mesh: DeviceMesh, source: int | None) -> None:
    """Bring group rank `source`'s values to all ranks; None: leave each its own."""
    if source is not None:
        dist.broadcast(parameter.detach(), group_src=source, group=mesh.get_group())


def full_tensor(tensor: Tensor, parameter: Any = None) -> Tensor:
    """A parameter with all ranks' parts joined; one that is not cut, itself. All ranks call it.

    With `parameter`, what belongs to that one: full_tensor(p.grad, p). In PyTorch a method of
    DTensor.
    """
    cut = getattr(tensor if parameter is None else parameter, "_sharding", None)
    return tensor.detach() if cut is None else wrap(cut.whole(tensor.array))


class _Part:
    """What the layers below share. A layer *becomes* one of these: its class is exchanged, its
    parameters are cut, and it keeps its place, its name and its hooks."""

    mesh: DeviceMesh
    input_layout: Placement  # how the input comes
    output_layout: Placement  # how the output is wanted
    _cut: ClassVar[dict[str, int]]  # parameter -> the dimension that is cut

    def become_part(
        self, mesh: DeviceMesh, layouts: tuple[Placement, Placement], source: int | None
    ) -> None:
        """Cut the parameters. `layouts`: of input and output."""
        self.mesh = mesh
        self.input_layout, self.output_layout = layouts
        for name, parameter in self.named_parameters():  # type: ignore[attr-defined]
            if name in self._cut:
                shard(parameter, self._cut[name], mesh, source)
            else:
                replicate(parameter, mesh, source)

    def to_region(self, input: Tensor) -> Tensor:
        """The whole input, from the layout in which it comes."""
        if isinstance(self.input_layout, Shard):
            return regions.gather_to_region(input, self.input_layout.dim, self.mesh.get_group())
        return regions.copy_to_region(input, self.mesh.get_group())

    def from_region(self, output: Tensor, now: Placement, features: int) -> Tensor:
        """The output in the layout that is wanted. `now`: that of the computation."""
        group, wanted = self.mesh.get_group(), self.output_layout
        dim = wanted.dim % output.ndim if isinstance(wanted, Shard) else None
        if isinstance(now, Partial):
            if dim is None:
                return regions.reduce_from_region(output, group)
            return regions.reduce_scatter_from_region(output, dim, group)
        if dim == output.ndim - 1:  # where it is
            return output
        whole = regions.gather_from_region(output, -1, group, features)
        return whole if dim is None else regions.scatter_to_region(whole, dim, group)


class ColwiseLinear(_Part, Linear):
    """weight: (out_features / ranks, in_features), bias: (out_features / ranks)."""

    _cut = {"weight": 0, "bias": 0}

    def forward(self, input):
        output = F.linear(self.to_region(input), self.weight, self.bias)
        return self.from_region(output, Shard(-1), self.out_features)


class RowwiseLinear(_Part, Linear):
    """weight: (out_features, in_features / ranks), bias: (out_features) on every rank."""

    _cut = {"weight": 1}

    def forward(self, input):
        group = self.mesh.get_group()
        layout = self.input_layout
        if isinstance(layout, Shard) and layout.dim % input.ndim != input.ndim - 1:
            input = regions.gather_from_region(input, layout.dim, group)
            layout = Replicate()
        if isinstance(layout, Replicate):
            input = regions.scatter_to_region(input, -1, group)
        if input.shape[-1] != self.weight.shape[1]:
            raise RuntimeError(
                f"RowwiseParallel: rank {group.rank()} of {group.size()} has "
                f"{self.weight.shape[1]} of this layer's {self.in_features} input features, but "
                f"got an input of {input.shape[-1]}, shape {tuple(input.shape)}. It must be this "
                "rank's part, as a ColwiseParallel layer returns it; if every rank has all of it, "
                "say so: RowwiseParallel(input_layouts=Replicate())"
            )
        output = self.from_region(F.linear(input, self.weight), Partial(), self.out_features)
        if self.bias is None:
            return output
        # Behind the sum, or it would count once for each rank.
        if self.output_layout.is_replicate():
            return output + self.bias
        if output.shape[-1] != self.out_features:  # of which this rank has some
            return output + regions.scatter_to_region(self.bias, 0, group)
        # It has some places of the sequence, so a term of the bias's gradient.
        return output + regions.copy_to_region(self.bias, group)


class ColwiseEmbedding(_Part, Embedding):
    """weight: (num_embeddings, embedding_dim / ranks)."""

    _cut = {"weight": 1}

    def forward(self, input):
        output = F.embedding(self.to_region(input), self.weight, self.padding_idx)
        return self.from_region(output, Shard(-1), self.embedding_dim)


class RowwiseEmbedding(_Part, Embedding):
    """weight: (num_embeddings / ranks, embedding_dim)."""

    _cut = {"weight": 0}

    def become_part(self, mesh, layouts, source):
        last = part_of(self.num_embeddings, mesh.size() - 1, mesh.size())
        if last.start == last.stop:
            raise ValueError(
                f"RowwiseParallel: {self.num_embeddings} embeddings on {mesh.size()} ranks would "
                "leave the last rank none; use ColwiseParallel, or fewer ranks"
            )
        super().become_part(mesh, layouts, source)

    def forward(self, input):
        index = self.to_region(input)
        if (
            index.numel()
            and not 0 <= index.min().item() <= index.max().item() < self.num_embeddings
        ):
            raise IndexError(f"index out of range: there are {self.num_embeddings} embeddings")
        part = part_of(self.num_embeddings, self.mesh.get_local_rank(), self.mesh.size())
        # Whoever has not got a row looks one up that does not count.
        elsewhere = (index < part.start) | (index >= part.stop)
        index = (index - part.start).masked_fill(elsewhere, 0)
        padding = self.padding_idx
        here = padding is not None and part.start <= padding < part.stop
        output = F.embedding(index, self.weight, padding - part.start if here else None)
        output = output.masked_fill(elsewhere.unsqueeze(-1), 0)
        return self.from_region(output, Partial(), self.embedding_dim)
