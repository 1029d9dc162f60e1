"""Recursive doubling: the fewest rounds, all data in each. For small data."""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.pieces import combining, exchange
from minitorch.distributed.algorithms.power_of_two import folded, folding_cost, power_below
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm(
    "all_reduce",
    "doubling",
    cost=lambda t, n: log2(t.N) * (t.far(n) + n * t.c) + folding_cost(t, n),
)
def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """All-reduce in log2(N) rounds of exchanges with ever farther partners.

    After round k a rank holds the total of its block of 2^(k+1) ranks.

        rank       0     1     2     3     4     5     6     7
        round 0    `--1--'     `--1--'     `--1--'     `--1--'
        round 1    `-----2-----'
                         `-----2-----'     (and 4-6, 5-7)
        round 2    0-4, 1-5, 2-6, 3-7

    The total of the lower block always stands on the left, so both partners compute the same bits.
    Sends S log2(N) bytes a rank. For N that are no power of two see power_of_two.py.
    """
    yield from folded(link, data, combine, _doubling)


def _doubling(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    def combine_from_left(link: Link, source: int, piece: np.ndarray) -> Steps:
        combine((yield source), piece, out=piece)

    distance = 1
    while distance < link.size:
        partner = link.rank ^ distance
        receive = combining(combine) if link.rank < partner else combine_from_left
        yield from exchange(link, partner, data, partner, data, receive)
        distance *= 2


def log2(size: int) -> int:
    """The rounds among the power of two that is left of `size` ranks."""
    return power_below(size).bit_length() - 1
