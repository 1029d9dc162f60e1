"""What a parameter knows of the whole that it is a part of.

It stands in the parameter's `_sharding`, for those who meet the parameter alone: clipping of
gradients, which needs the norm over all ranks, and checkpoints, which need the whole.
PyTorch: torch.distributed.tensor.DTensor, whose mesh and placements say the same of any tensor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import distributed as dist
from ...tensor import wrap
from . import layout


class Sharding(NamedTuple):
    """The ranks among which an array of `shape` is divided."""

    group: Any
    shape: tuple[int, ...]

    @property
    def ranks(self) -> int:
        return dist.get_world_size(self.group)

    def part(self, array: np.ndarray) -> np.ndarray:
        """This rank's part of the whole, as a view."""
        return layout.shard(array, dist.get_rank(self.group), self.ranks)

    def whole(self, part: np.ndarray) -> np.ndarray:
        """The whole, from every rank's part; all ranks must ask for it."""
        blocks = layout.empty_blocks([self.shape], self.ranks, part.dtype, part)
        dist.all_gather(list(map(wrap, blocks)), wrap(part).reshape(-1), self.group)
        return layout.joined(blocks, [self.shape])[0]


def sharding_of(parameter: Any) -> Sharding | None:
    """None for a parameter that is not sharded."""
    return getattr(parameter, "_sharding", None)
