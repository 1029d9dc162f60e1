"""The ring: the fewest bytes, in many rounds. For large data.

The data is cut into N blocks. In N-1 rounds each block travels once round the ring and grows by
every rank's share, and block r ends on rank r: that is reduce-scatter. In N-1 more rounds the
blocks travel round again and are copied: all-gather. Both together are all-reduce. With three
ranks, block b of rank r written `br`:

    round   rank 0 sends    rank 1 sends    rank 2 sends
    0       c0              a1              b2
    1       b2+b0           c0+c1           a1+a2
    -- rank 0 now has a = a1+a2+a0, rank 1 has b, rank 2 has c --
    2       a               b               c
    3       c               a               b

Patarasuk, Yuan: "Bandwidth optimal all-reduce algorithms" (2009). Gloo: gloo/allreduce.cc (`ring`).
"""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.pieces import (
    WINDOW,
    combining,
    fetch,
    segments_in,
    split,
)
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm(
    "all_reduce",
    "ring",
    cost=lambda t, n: (t.N - 1) * (2 * t.near(n / t.N) + n / t.N * t.c),
)
def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """Rounds 0 to 2N-3. Sends 2(N-1)/N S bytes a rank, the least possible."""
    yield from _circulate(link, split(data, link.size), combine, range(2 * link.size - 2))


@algorithm(
    "reduce_scatter",
    "ring",
    cost=lambda t, n: (t.N - 1) * (t.near(n / t.N) + n / t.N * t.c),
)
def reduce_scatter(link: Link, blocks: list[np.ndarray], combine: Callable) -> Steps:
    """Rounds 0 to N-2. Sends (N-1)/N S bytes a rank."""
    yield from _circulate(link, blocks, combine, range(link.size - 1))


@algorithm("all_gather", "ring", cost=lambda t, n: (t.N - 1) * t.near(n / t.N))
def all_gather(link: Link, blocks: list[np.ndarray]) -> Steps:
    """Rounds N-1 to 2N-3. Sends (N-1)/N S bytes a rank."""
    yield from _circulate(link, blocks, None, range(link.size - 1, 2 * link.size - 2))


def _circulate(
    link: Link, blocks: list[np.ndarray], combine: Callable | None, rounds: range
) -> Steps:
    """Play some of the rounds: send a block to the right, and receive one from the left.

    In each round a rank sends the block that it received in the round before. Blocks are cut into
    segments, and the rounds flow into each other: the q-th segment to leave is the one that came
    one round (`segments` messages) earlier, and only WINDOW segments run ahead.
    """
    rank, size = link.rank, link.size
    right, left = (rank + 1) % size, (rank - 1) % size
    segments = max([segments_in(block.nbytes, link.costs) for block in blocks])
    pieces = [split(block, segments) for block in blocks]
    receive_first = combining(combine) if combine is not None else fetch
    window = min(WINDOW, segments)

    messages = len(rounds) * segments
    for q in range(messages + window if messages else 0):
        if q >= window:
            i, segment = divmod(q - window, segments)
            receive = receive_first if rounds[i] < size - 1 else fetch
            yield from receive(link, left, pieces[(rank - 2 - rounds[i]) % size][segment])
        if q < messages:
            i, segment = divmod(q, segments)
            link.send(right, pieces[(rank - 1 - rounds[i]) % size][segment])
