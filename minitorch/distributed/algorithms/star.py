"""Gather and scatter as a star: the root deals with one rank after the other.

The root's wire must carry every block anyway, so no shape is faster once blocks are large. As some
ranks only send, the end is a barrier: nobody leaves before everybody has come.
"""

import numpy as np

from minitorch.distributed.algorithms.dissemination import barrier
from minitorch.distributed.algorithms.pieces import copy, give, take
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm(
    "gather",
    "star",
    cost=lambda t, n: (t.N - 1) * t.near(n / t.N) + t.rounds * t.near(0),
)
def gather(link: Link, blocks: list[np.ndarray] | None, array: np.ndarray, root: int) -> Steps:
    """Copy rank r's `array` into the root's `blocks[r]`.

    1 --.
    2 ---> 0
    3 --'
    """
    if blocks is None:
        yield from give(link, root, array)
    else:
        for rank, block in enumerate(blocks):
            if rank == root:
                copy(block, array)
            else:
                yield from take(link, rank, block)
    yield from barrier(link)


@algorithm(
    "scatter",
    "star",
    cost=lambda t, n: (t.N - 1) * t.near(n / t.N) + t.rounds * t.near(0),
)
def scatter(link: Link, array: np.ndarray, blocks: list[np.ndarray] | None, root: int) -> Steps:
    """Copy the root's `blocks[r]` into rank r's `array`: gather with the arrows turned round."""
    if blocks is None:
        yield from take(link, root, array)
    else:
        for rank, block in enumerate(blocks):
            if rank == root:
                copy(array, block)
            else:
                yield from give(link, rank, block)
    yield from barrier(link)
