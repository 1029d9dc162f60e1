"""The table of algorithms, and the choice among them.

Each algorithm enters itself, with its predicted cost beside it:

    @algorithm("all_reduce", "ring", cost=lambda t, n: 2 * (t.N - 1) * t.a + ...)
    def all_reduce(link, data, combine): ...

`t` are the terms of the group (costs.py) and n the bytes of the data; a cost of infinity means
"cannot serve this group". A call takes the cheapest for its group and size.

The choice must be the same on every rank, or they would wait for each other for ever; and the same
from run to run, since a float sum depends on its order. So it is computed from nothing but what all
ranks share: the group, the size, and the costs that rank 0 has measured and rounded for all
(calibration.py).

It can be overridden: `MINITORCH_ALGORITHM=ring` takes the ring wherever there is one,
`MINITORCH_ALGORITHM=all_reduce=ring,broadcast=chain` names it for each collective; or in the
program, `use(all_reduce="ring")`. A group that the named one cannot serve keeps its own choice.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from minitorch.distributed.algorithms.costs import Costs, Terms
from minitorch.distributed.link import Link, Steps
from minitorch.distributed.message import checksum

VARIABLE = "MINITORCH_ALGORITHM"
# Costs that differ by less are the same.
SAME = 1.02

Cost = Callable[[Terms, float], float]


class Algorithm(NamedTuple):
    """One way to perform a collective: the function, and the seconds that it should take."""

    run: Callable[..., Steps]
    cost: Cost


COLLECTIVES = (
    *("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce"),
    *("all_to_all", "gather", "scatter", "barrier"),
)
ALGORITHMS: dict[str, dict[str, Algorithm]] = {collective: {} for collective in COLLECTIVES}

_forced: dict[str, str] = {}  # collective -> name
_fingerprint = 0  # of those, for every message: who has named others would wait for ever


def algorithm(collective: str, name: str, *, cost: Cost) -> Callable:
    """Enter the decorated function in the table, as the way called `name` to do `collective`."""

    def enter(run: Callable[..., Steps]) -> Callable[..., Steps]:
        ALGORITHMS[collective][name] = Algorithm(run, cost)
        return run

    return enter


def choose(collective: str, link: Link, nbytes: int) -> Callable[..., Steps]:
    """The function that performs `collective` on `nbytes` of data in the group of `link`."""
    return ALGORITHMS[collective][choice(collective, nbytes, link.costs, link.hosts)].run


@lru_cache(4096)
def choice(collective: str, nbytes: int, costs: Costs, hosts: tuple[int, ...]) -> str:
    """The name of the algorithm for a size, prices, and a group (its ranks' hosts).

    The first in the table of those that cost the least, or the same.
    """
    predicted = predict(collective, Terms(costs, hosts), nbytes)
    forced = _forced.get(collective, "")
    if predicted.get(forced, math.inf) < math.inf:
        return forced
    enough = SAME * min(predicted.values())
    return next(name for name, cost in predicted.items() if cost <= enough)


def predict(collective: str, terms: Terms, nbytes: float) -> dict[str, float]:
    """The seconds that each algorithm for `collective` should take."""
    return {name: entry.cost(terms, nbytes) for name, entry in ALGORITHMS[collective].items()}


def use(**names: str | None) -> None:
    """Name the algorithms to take from now on: `use(all_reduce="ring")`; None lets it choose again.

    Every rank must call it, at the same place in its program, with no call under way.
    """
    global _fingerprint
    for collective, name in names.items():
        _check(collective, name)
    for collective, name in names.items():
        if name is None:
            _forced.pop(collective, None)
        else:
            _forced[collective] = name
    _fingerprint = checksum(sorted(_forced.items())) if _forced else 0
    choice.cache_clear()


def named() -> str:
    """The algorithms that are named, in words."""
    return ", ".join([f"{c}={name}" for c, name in sorted(_forced.items())]) or "none"


def fingerprint() -> int:
    """A checksum of the names, the same on all ranks that have named the same; 0 without any."""
    return _fingerprint


def names_in(text: str) -> dict[str, str]:
    """What MINITORCH_ALGORITHM asks for, by collective. Raises ValueError for unknown names."""
    names: dict[str, str] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        collective, _, name = part.rpartition("=")
        if collective:
            _check(collective, name)
            names[collective] = name
            continue
        serving = [c for c in COLLECTIVES if name in ALGORITHMS[c]]
        if not serving:
            raise ValueError(f"no collective has an algorithm {name!r}: {_known(COLLECTIVES)}")
        names |= dict.fromkeys(serving, name)
    return names


def _check(collective: str, name: str | None) -> None:
    if collective not in ALGORITHMS:
        raise ValueError(f"no collective is called {collective!r}: {', '.join(COLLECTIVES)}")
    if name is not None and name not in ALGORITHMS[collective]:
        raise ValueError(f"{collective} has no algorithm {name!r}: {_known([collective])}")


def _known(collectives: Iterable[str]) -> str:
    return "; ".join(f"{c}: {', '.join(ALGORITHMS[c])}" for c in collectives)
