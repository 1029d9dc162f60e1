"""Direct exchange: everybody tells everybody. The simplest all-reduce, and the best one for two."""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.pieces import pieces_of
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm("all_reduce", "direct", cost=lambda t, n: (t.N - 1) * (t.far(n) + n * t.c))
def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """Send one's data to all others and combine all that comes, in the order of the ranks.

        rank 0 sends x0 to 1     rank 1 sends x1 to 0
        rank 0: x0 + x1          rank 1: x0 + x1

    Everybody computes the same sum in the same order. Sends (N-1) S bytes a rank.
    """
    for piece in pieces_of(data, link):
        for k in range(1, link.size):
            link.send((link.rank + k) % link.size, piece)
        own = piece.copy()
        for rank in range(link.size):
            term = own if rank == link.rank else (yield rank)
            if rank == 0:
                np.copyto(piece, term)
            else:
                combine(piece, term, out=piece)
