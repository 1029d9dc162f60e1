"""Barrier by dissemination: the news that everybody is there, in ceil(log2(N)) rounds."""

from minitorch.distributed.algorithms.pieces import TOKEN
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm("barrier", "dissemination", cost=lambda t, n: t.rounds * t.far(0))
def barrier(link: Link) -> Steps:
    """Return only when every rank has called this.

    In round k each rank tells the one 2^k to its right, and waits for the one 2^k to its left; what
    it is told stands for 2^(k+1) ranks by then.

        round   rank 0 tells    rank 1 tells    rank 2 tells    rank 3 tells
        0       1               2               3               0
        1       2               3               0               1
    """
    distance = 1
    while distance < link.size:
        link.send((link.rank + distance) % link.size, TOKEN)
        yield (link.rank - distance) % link.size
        distance *= 2
