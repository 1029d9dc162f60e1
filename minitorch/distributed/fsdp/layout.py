"""Which rank has which part of a parameter: pure functions on arrays.

A parameter is cut along its first dimension as `torch.chunk` cuts: into equal parts, of which the
last may be smaller and some may be empty. Five rows on four ranks are 2, 2, 1, 0. A rank's parts of
several parameters travel as one flat *block*. A 0-d parameter counts as one row.
Invariant: `joined(blocks(arrays, n), shapes)` is equal to `arrays`.
PyTorch: torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ... import devices

Shape = tuple[int, ...]


def shard_shape(shape: Shape, rank: int, ranks: int) -> Shape:
    """The shape of a rank's part."""
    rows = _rows(shape, rank, ranks)
    return (rows.stop - rows.start, *shape[1:])


def shard(array: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """A rank's part, as a view."""
    return (array if array.ndim else array.reshape(1))[_rows(array.shape, rank, ranks)]


def blocks(arrays: Sequence[np.ndarray], ranks: int, dtype) -> list[np.ndarray]:
    """The block of each rank, in memory of its own."""
    with devices.guard(arrays[0]):
        return [
            np.concatenate([shard(a, rank, ranks).reshape(-1) for a in arrays]).astype(dtype)
            for rank in range(ranks)
        ]


def empty_blocks(shapes: Sequence[Shape], ranks: int, dtype, like=None) -> list[np.ndarray]:
    """Room for the block of each rank, on the device of the array `like`."""
    sizes = [sum(math.prod(shard_shape(s, rank, ranks)) for s in shapes) for rank in range(ranks)]
    with devices.guard(like):
        return [np.empty(size, dtype, like=like) for size in sizes]


def joined(blocks: Sequence[np.ndarray], shapes: Sequence[Shape]) -> list[np.ndarray]:
    """The whole arrays, in memory of their own."""
    cut = [cut_block(block, shapes, rank, len(blocks)) for rank, block in enumerate(blocks)]
    with devices.guard(blocks[0]):
        return [
            np.concatenate(parts).reshape(shape)
            for shape, *parts in zip(shapes, *cut, strict=True)  # one part from each rank
        ]


def cut_block(block: np.ndarray, shapes: Sequence[Shape], rank: int, ranks: int) -> list:
    """A rank's part of each array in its block, as views."""
    parts, start = [], 0
    for shape in shapes:
        own = shard_shape(shape, rank, ranks)
        parts.append(block[start : start + math.prod(own)].reshape(own))
        start += math.prod(own)
    return parts


def _rows(shape: Shape, rank: int, ranks: int) -> slice:
    rows = shape[0] if shape else 1
    each = -(-rows // ranks)
    return slice(min(rank * each, rows), min((rank + 1) * each, rows))
