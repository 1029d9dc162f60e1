"""Hierarchical all-reduce: within each host, then between hosts, then within each host again.

Wires between hosts are the slow ones, and all ranks of a host share one. So each host should send
its *sum* and not its ranks' shares. One leader per host could do that: reduce to it, all-reduce
between the leaders, broadcast. Instead each rank here becomes the leader of a part of the data,
by reduce-scatter. What crosses the wires is the same, but all ranks of a host share the work of
adding and copying, where a leader would do all of it while the others wait.
"""

import math
from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms import chosen
from minitorch.distributed.algorithms.chosen import all_gather, reduce_scatter
from minitorch.distributed.algorithms.costs import Terms, Wire
from minitorch.distributed.algorithms.pieces import split
from minitorch.distributed.algorithms.subgroup import among
from minitorch.distributed.algorithms.table import algorithm, predict
from minitorch.distributed.link import Link, Steps


def cost(t: Terms, n: float) -> float:
    """Within the fullest host, and between the hosts, each by the best way there is."""
    if t.H in (1, t.N):
        return math.inf  # there is but one level
    lanes = min(t.ranks_of.values())
    crowd = Wire(t.costs.between.latency, t.costs.between.per_byte * lanes)
    within = Terms(t.costs, (0,) * max(t.ranks_of.values()))
    across = Terms(t.costs._replace(between=crowd), tuple(range(t.H)))
    return (
        min(predict("reduce_scatter", within, n).values())
        + min(predict("all_reduce", across, n / lanes).values())
        + min(predict("all_gather", within, n).values())
    )


@algorithm("all_reduce", "hierarchical", cost=cost)
def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """With two hosts of three ranks, a to c the thirds of the data:

        host           ranks              ranks
        reduce-scatter 0: a  1: b  2: c   3: a  4: b  5: c    each the sum of its host
        all-reduce     0 with 3 (a), 1 with 4 (b), 2 with 5 (c)
        all-gather     0, 1, 2 exchange   3, 4, 5 exchange

    There are as many parts as the smallest host has ranks; what is left over on larger hosts helps
    to add, and owns none. Between hosts go 2(H-1)/H S bytes from each *host*.
    """
    ranks_of: dict[int, list[int]] = {}
    for rank, host in enumerate(link.hosts):
        ranks_of.setdefault(host, []).append(rank)
    members = ranks_of[link.hosts[link.rank]]
    place = members.index(link.rank)
    lanes = min([len(ranks) for ranks in ranks_of.values()])
    blocks = split(data, lanes) + [data[:0]] * (len(members) - lanes)

    yield from among(link, members, lambda host: reduce_scatter(host, blocks, combine))
    if place < lanes:
        lane = [ranks[place] for ranks in ranks_of.values()]
        mine = blocks[place]
        yield from among(link, lane, lambda across: chosen.all_reduce(across, mine, combine))
    yield from among(link, members, lambda host: all_gather(host, blocks))
