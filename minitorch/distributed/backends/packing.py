"""Several arrays as the one buffer that an engine wants.

The blocks of an all_gather are often views that lie one after the other in a larger tensor, and
then that memory is the buffer. Otherwise a buffer of its own takes their elements, and brings them
back.

Invariant: whoever holds a Packed holds the arrays, so the buffer's memory stays.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np


class Packed:
    """The elements of `blocks`, one after the other, in `flat`.

    With `fill` it begins with their values, else with anything. `counts` and `starts` say which
    part of `flat` is whose.
    """

    def __init__(self, blocks: Sequence[np.ndarray], fill: bool) -> None:
        self.blocks = blocks
        self.counts = [block.size for block in blocks]
        *self.starts, total = accumulate(self.counts, initial=0)
        shared = _shared_memory(blocks, total)
        self.is_copy = shared is None
        self.flat = np.empty(total, blocks[0].dtype) if shared is None else shared
        if fill and self.is_copy:
            for part, block in zip(self.parts(), blocks, strict=True):
                part[:] = block.reshape(-1)

    def parts(self) -> list[np.ndarray]:
        """The part of each block in `flat`."""
        spans = zip(self.starts, self.counts, strict=True)
        return [self.flat[start : start + count] for start, count in spans]

    def bring_back(self) -> None:
        """Copy the buffer into the blocks, if it is not their own memory."""
        if self.is_copy:
            for part, block in zip(self.parts(), self.blocks, strict=True):
                block[...] = part.reshape(block.shape)


def _shared_memory(blocks: Sequence[np.ndarray], total: int) -> np.ndarray | None:
    """The blocks' memory as one array, if they lie one after the other in it."""
    if not all([block.flags.c_contiguous for block in blocks]):
        return None
    filled = [block for block in blocks if block.size]
    if len(filled) == 1:
        return filled[0].reshape(-1)
    end = None
    for block in filled:
        address = block.__array_interface__["data"][0]
        if end is not None and address != end:
            return None
        end = address + block.nbytes
    if not filled:
        return None
    first = filled[0].reshape(-1)
    return np.lib.stride_tricks.as_strided(first, (total,), first.strides)
