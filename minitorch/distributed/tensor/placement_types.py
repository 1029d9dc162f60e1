"""The words for how a tensor is spread over the ranks of a group.

| | each rank has | the gradient's layout is |
|---|---|---|
| Replicate | all of it | Replicate |
| Shard(dim) | a part of dimension `dim` | Shard(dim) |
| Partial | a term of a sum, which is still to be made | Replicate |

Invariant: parts are cut as `torch.chunk` does, ceil(length / ranks) each, so the last ranks may
have fewer or none. PyTorch: torch/distributed/tensor/placement_types.py.
"""

from __future__ import annotations

from dataclasses import dataclass


class Placement:
    """One of the three below. Mirrors `torch.distributed.tensor.placement_types.Placement`."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether it is a Shard, of this dimension if one is given."""
        return isinstance(self, Shard) and dim in (None, self.dim)

    def is_replicate(self) -> bool:
        """Whether every rank has all of it."""
        return isinstance(self, Replicate)

    def is_partial(self) -> bool:
        """Whether the sum over the ranks is still to be made."""
        return isinstance(self, Partial)


@dataclass(frozen=True)
class Replicate(Placement):
    """Every rank has the whole tensor. Mirrors `torch.distributed.tensor.Replicate`."""


@dataclass(frozen=True)
class Shard(Placement):
    """Every rank has a part of dimension `dim`. Mirrors `torch.distributed.tensor.Shard`."""

    dim: int


@dataclass(frozen=True)
class Partial(Placement):
    """The tensor is the sum of what the ranks have. Mirrors `torch.distributed.tensor.Partial`."""

    reduce_op: str = "sum"


def part_of(length: int, rank: int, ranks: int) -> slice:
    """Which elements of a dimension of this length belong to a rank."""
    step = -(-length // ranks)  # rounded up
    return slice(min(rank * step, length), min((rank + 1) * step, length))
