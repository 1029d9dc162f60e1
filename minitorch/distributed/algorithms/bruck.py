"""Bruck's all-gather: log2(N) rounds for any N. For small blocks.

Bruck et al.: "Efficient algorithms for all-to-all communications in multiport message-passing
systems" (1997).
"""

import numpy as np

from minitorch.distributed.algorithms.pieces import exchange
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


# 2c, because the blocks are packed and unpacked.
@algorithm(
    "all_gather",
    "bruck",
    cost=lambda t, n: (
        sum([t.far(min(2**k, t.N - 2**k) * n / t.N) for k in range(t.rounds)])
        + (t.N - 1) / t.N * n * 2 * t.c
    ),
)
def all_gather(link: Link, blocks: list[np.ndarray]) -> Steps:
    """In each round, fetch as many blocks as one has, from the rank whose blocks follow on them.

    With five ranks, each number a block:

        round   rank 0 has     gets from    rank 1 has    gets from    ...
        0       0              1            1             2
        1       0 1            2            1 2           3
        2       0 1 2 3        4 (only 4)   1 2 3 4       0 (only 0)
        end     0 1 2 3 4                   1 2 3 4 0
    """
    rank, size = link.rank, link.size
    ahead = [blocks[(rank + i) % size] for i in range(size)]
    held = 1
    while held < size:
        count = min(held, size - held)
        packed, wanted = np.concatenate(ahead[:count]), ahead[held : held + count]
        fetched = np.concatenate(wanted)
        yield from exchange(link, (rank - held) % size, packed, (rank + held) % size, fetched)
        start = 0
        for block in wanted:
            block[...] = fetched[start : start + len(block)]
            start += len(block)
        held += count
