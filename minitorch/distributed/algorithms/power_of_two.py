"""From any number of ranks to a power of two, for algorithms that pair ranks by the bits of their
numbers.

If N = 2^m + k, the first k pairs of neighbours melt into one first, and the silent neighbour is
told the result at the end. With N = 6, four are left:

    before      0 <-- 1     2 <-- 3     4     5
    numbered      0           1         2     3
    after       0 --> 1     2 --> 3     4     5
"""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.costs import Terms
from minitorch.distributed.algorithms.pieces import combining, give, take
from minitorch.distributed.algorithms.subgroup import among
from minitorch.distributed.link import Link, Steps


def power_below(size: int) -> int:
    """The largest power of two that is no more than `size`."""
    return 1 << (size.bit_length() - 1)


def folded(link: Link, data: np.ndarray, combine: Callable, algorithm: Callable) -> Steps:
    """All-reduce by an `algorithm(link, data, combine)` that needs a power of two."""
    extra = link.size - power_below(link.size)
    if not extra:
        yield from algorithm(link, data, combine)
        return
    rank = link.rank
    if rank < 2 * extra and rank % 2:
        yield from give(link, rank - 1, data)
        yield from take(link, rank - 1, data)
        return
    if rank < 2 * extra:
        yield from take(link, rank + 1, data, combining(combine))
    members = [*range(0, 2 * extra, 2), *range(2 * extra, link.size)]
    yield from among(link, members, lambda part: algorithm(part, data, combine))
    if rank < 2 * extra:
        yield from give(link, rank + 1, data)


def folding_cost(t: Terms, n: float) -> float:
    """What melting and telling cost: nothing if N is a power of two."""
    return 0 if power_below(t.N) == t.N else 2 * t.near(n) + n * t.c
