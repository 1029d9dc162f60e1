"""Broadcast and reduce along a tree: data flows down from the root, or up to it.

It flows in pieces that are passed on as they come, so that all levels work at once. `down` and `up`
do that for a tree of any shape; here is the binomial one, log2(N) deep, for small data.

As some ranks only send, the end is a barrier: nobody leaves before everybody has come.

Gloo: gloo/broadcast.cc (binomial).
"""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.dissemination import barrier
from minitorch.distributed.algorithms.pieces import (
    TOKEN,
    fetch,
    pieces_of,
    reports,
    waits,
)
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm(
    "broadcast",
    "binomial",
    cost=lambda t, n: t.rounds * (t.near(n) + t.near(0)),
)
def binomial_broadcast(link: Link, data: np.ndarray, root: int) -> Steps:
    """Copy the root's `data` to every rank, down a binomial tree.

    The parent of a place is that place without its lowest set bit:

        0 -+- 4 -+- 6 --- 7
           |     +- 5
           +- 2 --- 3
           +- 1
    """
    yield from down(link, pieces_of(data, link), *_binomial(link, root))


@algorithm(
    "reduce",
    "binomial",
    cost=lambda t, n: t.rounds * (t.near(n) + n * t.c + t.near(0)),
)
def binomial_reduce(link: Link, data: np.ndarray, combine: Callable, root: int) -> Steps:
    """Combine every rank's `data` into the root's, up the same tree."""
    yield from up(link, pieces_of(data, link), combine, *_binomial(link, root))


def down(link: Link, pieces: list[np.ndarray], parent: int | None, children: list[int]) -> Steps:
    """Receive the pieces from the parent, if there is one, and pass them on to the children."""
    for q, piece in enumerate(pieces):
        if parent is not None:
            yield from fetch(link, parent, piece)
        for child in children:
            if waits(q):
                yield child
            link.send(child, piece)
        if parent is not None and reports(q, len(pieces)):
            link.send(parent, TOKEN)
    yield from barrier(link)


def up(
    link: Link,
    pieces: list[np.ndarray],
    combine: Callable,
    parent: int | None,
    children: list[int],
) -> Steps:
    """Combine the children's pieces with one's own, and pass them on to the parent.

    Only the root's data changes; the others combine in a scratch array.
    """
    for q, piece in enumerate(pieces):
        total = piece if parent is None or not children else piece.copy()
        for child in reversed(children):
            combine(total, (yield child), out=total)
            if reports(q, len(pieces)):
                link.send(child, TOKEN)
        if parent is not None:
            if waits(q):
                yield parent
            link.send(parent, total)
    yield from barrier(link)


def _binomial(link: Link, root: int) -> tuple[int | None, list[int]]:
    """This rank's parent and children, the largest subtree first."""
    size = link.size
    place = (link.rank - root) % size
    lowest_bit = place & -place if place else 1 << (size - 1).bit_length()
    parent = None if place == 0 else (place - lowest_bit + root) % size
    children = []
    while lowest_bit := lowest_bit >> 1:
        if place + lowest_bit < size:
            children.append((place + lowest_bit + root) % size)
    return parent, children
