"""Halving-doubling: the ring's few bytes in doubling's few rounds. For sizes in between.

Rabenseifner's algorithm. Gloo: gloo/allreduce_halving_doubling.h.
"""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.doubling import log2
from minitorch.distributed.algorithms.pieces import combining, exchange, split
from minitorch.distributed.algorithms.power_of_two import folded, folding_cost, power_below
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm(
    "all_reduce",
    "halving_doubling",
    cost=lambda t, n: (
        2 * sum([t.far(n / 2 ** (k + 1)) for k in range(log2(t.N))])
        + (1 - 1 / power_below(t.N)) * n * t.c
        + folding_cost(t, n)
    ),
)
def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """All-reduce in log2(N) rounds that halve the data, and as many that bring it together again.

    In each round a rank gives one half of what it still looks after to its partner, and combines
    the other half. In the end it owns the total of one N-th. With four ranks, a to d the quarters
    of the data:

        round   rank 0          rank 1          rank 2          rank 3
        0       gives c d to 1  gives a b to 0  gives c d to 3  gives a b to 2
        1       gives b to 2    gives d to 3    gives a to 0    gives c to 1
        owns    a               c               b               d
        2       tells 2 its a   tells 3 its c   tells 0 its b   tells 1 its d
        3       tells 1 a b     tells 0 c d     tells 3 a b     tells 2 c d

    Neighbours exchange the most and far ranks the least, so that little leaves a host.
    Sends 2(N-1)/N S bytes a rank, as the ring does, if N is a power of two.
    """
    yield from folded(link, data, combine, _halving_doubling)


def _halving_doubling(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    rounds = []
    distance = 1
    while distance < link.size:
        partner = link.rank ^ distance
        low, high = split(data, 2)
        kept, given = (low, high) if link.rank < partner else (high, low)
        yield from exchange(link, partner, given, partner, kept, combining(combine))
        rounds.append((partner, kept, given))
        data = kept
        distance *= 2
    for partner, kept, given in reversed(rounds):
        yield from exchange(link, partner, kept, partner, given)
