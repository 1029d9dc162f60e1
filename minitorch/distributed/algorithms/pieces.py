"""Data in pieces: large arrays travel in segments, and a sender runs only a few of them ahead.

While one segment is combined the next is on its way. And a rank that is early must not fill the
memory of one that is late: where data flows both ways, receiving keeps the pace; where it flows
one way, the receiver tells the sender now and then that it has taken some.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from minitorch.distributed.algorithms.costs import Costs
from minitorch.distributed.link import Link, Steps

# Segments sent ahead of those received, where each rank does both.
WINDOW = 2
# Where data flows one way, the receiver reports each time that it has taken this many segments;
# the sender is never more than two such batches ahead.
BATCH = 4

TOKEN = np.empty(0, np.uint8)

# (link, source, piece): receive a message for a piece of one's own, by `fetch` or `combining`.
Receive = Callable[[Link, int, np.ndarray], Steps]


def split(data: np.ndarray, pieces: int) -> list[np.ndarray]:
    """Cut a flat array into `pieces` views whose lengths differ by at most one."""
    edges = [len(data) * i // pieces for i in range(pieces + 1)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def pieces_of(data: np.ndarray, link: Link) -> list[np.ndarray]:
    """Cut a flat array into segments; at least one, even if that is empty."""
    return split(data, segments_in(data.nbytes, link.costs))


def segments_in(nbytes: float, costs: Costs) -> int:
    """Into how many segments so many bytes are cut."""
    return max(1, -int(-nbytes // costs.segment))


def fetch(link: Link, source: int, piece: np.ndarray) -> Steps:
    """Receive by overwriting; straight into the piece, where the link can."""
    link.into = piece
    message = yield source
    if link.into is not None:
        link.into = None
        copy(piece, message)


def copy(piece: np.ndarray, message: np.ndarray) -> None:
    """Overwrite a piece. Raises ValueError if the message has another size."""
    if len(piece) != len(message):
        raise ValueError(
            f"a message of {len(message)} elements came where {len(piece)} were expected: "
            "the ranks disagree about the sizes of their blocks"
        )
    np.copyto(piece, message)


def combining(combine: Callable) -> Receive:
    """Receive by combining the message into what is there."""

    def receive(link: Link, source: int, piece: np.ndarray) -> Steps:
        combine(piece, (yield source), out=piece)

    return receive


def exchange(
    link: Link,
    destination: int,
    outgoing: np.ndarray,
    source: int,
    incoming: np.ndarray,
    receive: Receive = fetch,
) -> Steps:
    """Send `outgoing` to one rank while receiving `incoming` from another (or the same)."""
    sends, receives = pieces_of(outgoing, link), pieces_of(incoming, link)
    for q in range(max(len(sends), len(receives)) + WINDOW):
        if WINDOW <= q < len(receives) + WINDOW:
            yield from receive(link, source, receives[q - WINDOW])
        if q < len(sends):
            link.send(destination, sends[q])


def give(link: Link, destination: int, data: np.ndarray) -> Steps:
    """Send `data` to a rank that does `take`, keeping its pace."""
    for q, piece in enumerate(pieces_of(data, link)):
        if waits(q):
            yield destination
        link.send(destination, piece)


def take(link: Link, source: int, data: np.ndarray, receive: Receive = fetch) -> Steps:
    """Receive `data` from a rank that does `give`."""
    pieces = pieces_of(data, link)
    for q, piece in enumerate(pieces):
        yield from receive(link, source, piece)
        if reports(q, len(pieces)):
            link.send(source, TOKEN)


def waits(q: int) -> bool:
    """Whether a sender waits for a report before it sends its q-th piece."""
    return q >= 2 * BATCH and q % BATCH == 0


def reports(q: int, total: int) -> bool:
    """Whether the receiver of `total` pieces reports when it has taken the q-th."""
    return q + 1 + BATCH < total and waits(q + 1 + BATCH)
