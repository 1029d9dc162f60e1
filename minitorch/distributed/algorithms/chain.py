"""A pipelined chain: the tree with one branch, for large data.

In a binomial tree the root sends everything log2(N) times. In a chain everyone sends once, but the
last rank is N-1 steps away; that pays when there are more pieces than ranks.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np

from minitorch.distributed.algorithms.costs import Terms
from minitorch.distributed.algorithms.pieces import segments_in, split
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.algorithms.tree import down, up
from minitorch.distributed.link import Link, Steps


@algorithm(
    "broadcast",
    "chain",
    cost=lambda t, n: chain_cost(t, n, t.b),
)
def chain_broadcast(link: Link, data: np.ndarray, root: int) -> Steps:
    """Copy the root's `data` to every rank, along a chain, piece after piece.

    time    0 sends     1 sends     2 sends     3
    0       a
    1       b           a
    2       c           b           a
    3                   c           b           has a
    4                               c           has a b
    5                                           has a b c
    """
    pieces = split(data, chain_pieces(Terms(link.costs, link.hosts), data.nbytes))
    yield from down(link, pieces, *_chain(link, root))


@algorithm(
    "reduce",
    "chain",
    cost=lambda t, n: chain_cost(t, n, t.b + t.c),
)
def chain_reduce(link: Link, data: np.ndarray, combine: Callable, root: int) -> Steps:
    """Combine every rank's `data` into the root's, up the same chain."""
    pieces = split(data, chain_pieces(Terms(link.costs, link.hosts), data.nbytes))
    yield from up(link, pieces, combine, *_chain(link, root))


def chain_cost(t: Terms, n: float, per_byte: float) -> float:
    """The last of q pieces leaves the root as number q, and is N-2 ranks from its end then."""
    q = chain_pieces(t, n)
    return (t.N - 2 + q) * (t.a + n / q * per_byte) + t.rounds * t.near(0)


def chain_pieces(t: Terms, n: float) -> int:
    """The number of pieces in which n bytes pass a chain soonest.

    (N-2+q)(a + n b/q) is smallest at this q: more pieces fill the chain sooner but cost latencies.
    """
    best = sqrt((t.N - 2) * n * t.b / t.a) if t.N > 2 else 1
    return max(int(best), segments_in(n, t.costs))


def _chain(link: Link, root: int) -> tuple[int | None, list[int]]:
    size = link.size
    parent = None if link.rank == root else (link.rank - 1) % size
    last = (link.rank + 1) % size == root
    return parent, [] if last else [(link.rank + 1) % size]
