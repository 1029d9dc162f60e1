"""How a module is to be split: what `parallelize_module` is given for each.

Between the layers go ordinary tensors, so PyTorch's `use_local_output=False`, which asks for
DTensors, is refused. Other modules between a ColwiseParallel and a RowwiseParallel layer see a part
of the features: an attention splits its heads, so it must count only those that it has.

Random numbers: ranks that were seeded alike draw alike. Dropout outside the split layers therefore
drops the same elements on every rank, those that one process would drop, and must: the ranks'
copies would part. Inside, on parts, all ranks drop the same places of their own part; and if the
parts have different sizes, they draw differently often, and are out of step from then on. So put
dropout outside, or draw inside from a generator of the rank's own (`torch.rand(...,
generator=mine) > p`). PyTorch has a tracker of random states for this.

PyTorch: torch/distributed/tensor/parallel/style.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from minitorch.distributed.device_mesh import DeviceMesh
from minitorch.distributed.tensor.parallel import layers, regions
from minitorch.distributed.tensor.placement_types import Placement, Replicate, Shard
from minitorch.nn.modules.linear import Linear
from minitorch.nn.modules.module import Module
from minitorch.nn.modules.sparse import Embedding


class ParallelStyle(ABC):
    """How one module is split: `_apply` does it. Mirrors torch's class."""

    src_data_rank: int | None = 0  # the group rank whose parameters are the right ones

    @abstractmethod
    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module: ...


class _Layerwise(ParallelStyle):
    """A Linear or Embedding becomes a layer that holds a part."""

    _layers: ClassVar[dict[type, type]]
    _layouts: ClassVar[tuple[Placement, Placement]]  # of input and output, if none are given

    def __init__(
        self,
        *,
        input_layouts: Placement | None = None,
        output_layouts: Placement | None = None,
        use_local_output: bool = True,
    ) -> None:
        if not use_local_output:
            raise NotImplementedError(
                f"{type(self).__name__}: use_local_output=False asks for DTensors, which are not "
                "here; the output is an ordinary tensor"
            )
        self.input_layouts = input_layouts or self._layouts[0]
        self.output_layouts = output_layouts or self._layouts[1]
        for layout in (self.input_layouts, self.output_layouts):
            if not isinstance(layout, (Shard, Replicate)):
                raise TypeError(f"{type(self).__name__}: expected Shard or Replicate, got {layout}")

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        name = type(self).__name__
        # A class that derives from these may compute something else, which would be lost.
        if type(module) not in self._layers:
            raise NotImplementedError(
                f"{name} splits nn.Linear and nn.Embedding, not {type(module).__name__}"
            )
        if getattr(module, "max_norm", None) or getattr(module, "scale_grad_by_freq", False):
            raise NotImplementedError(f"{name}: max_norm and scale_grad_by_freq need whole rows")
        module.__class__ = self._layers[type(module)]
        layouts = self.input_layouts, self.output_layouts
        module.become_part(device_mesh, layouts, self.src_data_rank)
        return module

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(input_layouts={self.input_layouts}, "
            f"output_layouts={self.output_layouts})"
        )


class ColwiseParallel(_Layerwise):
    """Each rank computes a part of the output's features.

    input_layouts: Replicate() by default. output_layouts: Shard(-1) by default; with Replicate()
    the parts are joined. Mirrors `torch.distributed.tensor.parallel.ColwiseParallel`.
    """

    _layers = {Linear: layers.ColwiseLinear, Embedding: layers.ColwiseEmbedding}
    _layouts = (Replicate(), Shard(-1))


class RowwiseParallel(_Layerwise):
    """Each rank computes with a part of the input's features, or of the vocabulary.

    input_layouts: Shard(-1) by default, Replicate() for an embedding's indices. output_layouts:
    Replicate() by default; with Shard(1), say, each rank gets a part of the sequence.
    Mirrors `torch.distributed.tensor.parallel.RowwiseParallel`.
    """

    _layers = {Linear: layers.RowwiseLinear, Embedding: layers.RowwiseEmbedding}
    _layouts = (Shard(-1), Replicate())

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        if isinstance(module, Embedding) and self.input_layouts == Shard(-1):
            raise ValueError(
                "RowwiseParallel of an nn.Embedding: every rank needs all indices; give "
                "input_layouts=Replicate()"
            )
        return super()._apply(module, device_mesh)


class SequenceParallel(ParallelStyle):
    """A LayerNorm, RMSNorm or Dropout that sees a part of the sequence, as RowwiseParallel(
    output_layouts=Shard(1)) returns it.

    Its parameters are the same on all ranks, and hooks on them sum their gradients over the ranks'
    parts. (Hooks of tensors are not copied: apply it after copy.deepcopy.)
    Mirrors `torch.distributed.tensor.parallel.SequenceParallel`; its input and output are this
    rank's part, as ordinary tensors, along whatever dimension.
    """

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = True) -> None:
        self.sequence_dim = sequence_dim

    def _apply(self, module: Module, device_mesh: DeviceMesh) -> Module:
        group = device_mesh.get_group()
        for parameter in module.parameters():
            layers.replicate(parameter, device_mesh, self.src_data_rank)
            if parameter.requires_grad:
                parameter.register_hook(lambda grad: regions.reduce_from_region(grad, group))
        return module
