"""The collective algorithms: who sends which part of the data to whom, in which order.

Each is a generator over a link (see link.py) and works on one flat array, in place. N is the
number of ranks, S the size of the data in bytes. What they guarantee together:

- A reduction leaves bit-identical results on every rank: each element is combined in one order.
- Nobody leaves a collective before everybody has entered it. all_reduce and all_gather have this
  by nature; broadcast and reduce, where some ranks only send, end in a barrier. It is what lets
  every rank notice that another one called something else.
- A rank runs only a few segments ahead of its neighbours (broadcast and reduce: one part), so those
  that are early do not fill the memory of one that is late.

`combine` is a NumPy ufunc of two arrays. PyTorch: gloo/allreduce.cc and its neighbours.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from minitorch.distributed.link import Link, Steps

# The pieces in which large data travels: while one is reduced, the next is on its way.
SEGMENT_BYTES = 1 << 20
# Pieces sent ahead of those received.
WINDOW = 2
# From this size on, moving fewer bytes (ring) is worth more than taking fewer rounds (doubling).
RING_BYTES = 1 << 21
# A broadcast or reduce runs in parts of this size, each ended by a barrier.
PART_BYTES = 16 << 20


def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """Combine every rank's `data`, leaving the result in `data` on every rank.

    Chooses: small data is sent whole in few rounds, large data goes round the ring in pieces.
    """
    if data.nbytes < RING_BYTES:
        return recursive_doubling_all_reduce(link, data, combine)
    return ring_all_reduce(link, data, combine)


def recursive_doubling_all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """All-reduce small data in log2(N) rounds of exchanges with ever farther partners.

    After round k a rank holds the total of its block of 2^(k+1) ranks. With two ranks this is one
    direct exchange.

        rank       0     1     2     3     4     5     6     7
        round 0    `--1--'     `--1--'     `--1--'     `--1--'
        round 1    `-----2-----'
                         `-----2-----'     (and 4-6, 5-7)
        round 2    0-4, 1-5, 2-6, 3-7

    If N is no power of two, the first N - 2^m pairs of neighbours melt into one first, and the
    silent neighbour is told the result at the end.
    The total of the lower block always stands on the left, so both partners compute the same bits.
    Sends S log2(N) bytes a rank.
    """
    rank, size = link.rank, link.size
    power = 1 << (size.bit_length() - 1)
    extra = size - power

    if rank < 2 * extra:
        if rank % 2:
            link.send(rank - 1, data)
            np.copyto(data, (yield rank - 1))
            return
        combine(data, (yield rank + 1), out=data)

    # Number those that are left 0 .. power-1, in the order of their ranks.
    place = rank // 2 if rank < 2 * extra else rank - extra
    distance = 1
    while distance < power:
        other = place ^ distance
        partner = 2 * other if other < extra else other + extra
        link.send(partner, data)
        incoming = yield partner
        if place < other:
            combine(data, incoming, out=data)
        else:
            combine(incoming, data, out=data)
        distance *= 2

    if rank < 2 * extra:
        link.send(rank + 1, data)


def ring_all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """All-reduce large data round a ring; each rank sends 2(N-1)/N S bytes, the least possible.

    The data is cut into N blocks. In N-1 rounds each block travels once round the ring and grows
    by every rank's share; in N-1 more the finished blocks travel round again and are copied.
    With three ranks, block b of rank r written `br`:

        round   rank 0 sends          rank 1 sends          rank 2 sends
        0       a0                    b1                    c2
        1       c2+c0                 a0+a1                 b1+b2
        2       b1+b2+b0 (total)      c2+c0+c1 (total)      a0+a1+a2 (total)
        3       a total               b total               c total
    """
    yield from _circulate(link, data, combine, link.size - 1, link.size - 1)


def ring_all_gather(link: Link, data: np.ndarray) -> Steps:
    """Give every rank every block of `data`, of whose N equal blocks it holds number `rank`.

    Each block travels once round the ring: N-1 rounds, (N-1)/N S bytes sent by each rank.

        round   rank 0 sends    rank 1 sends    rank 2 sends
        0       a               b               c
        1       c               a               b
    """
    yield from _circulate(link, data, np.add, 0, link.size - 1)


def _circulate(
    link: Link, data: np.ndarray, combine: Callable, combining: int, copying: int
) -> Steps:
    """Send blocks to the right for `combining` rounds that reduce and `copying` that overwrite.

    In round i a rank sends block rank-i, the one that it received and treated in round i-1. Blocks
    are cut into segments, and rounds flow into each other: the q-th segment to leave is the one
    that came in one round (`segments` messages) earlier, and only WINDOW segments run ahead.
    """
    rank, size = link.rank, link.size
    if size == 1:
        return
    right, left = (rank + 1) % size, (rank - 1) % size
    segments = max(1, -(-data.nbytes // (size * SEGMENT_BYTES)))
    pieces = split(data, size * segments)
    window = min(WINDOW, segments)

    messages = (combining + copying) * segments
    for q in range(messages + window):
        if q >= window:
            round_, segment = divmod(q - window, segments)
            piece = pieces[(rank - 1 - round_) % size * segments + segment]
            incoming = yield left
            if round_ < combining:
                combine(piece, incoming, out=piece)
            else:
                np.copyto(piece, incoming)
        if q < messages:
            round_, segment = divmod(q, segments)
            link.send(right, pieces[(rank - round_) % size * segments + segment])


def broadcast(link: Link, data: np.ndarray, root: int) -> Steps:
    """Copy the root's `data` to every rank, down a binomial tree of depth log2(N).

    Counting ranks from the root, v's parent is v without its lowest set bit:

        0 -+- 4 -+- 6 --- 7
           |     +- 5
           +- 2 --- 3
           +- 1

    Segments are passed on as they come, so all levels of the tree work at once.
    """
    parent, children = _tree(link, root)
    for part in _pieces_of(data, PART_BYTES):
        for segment in _pieces_of(part, SEGMENT_BYTES):
            if parent is not None:
                np.copyto(segment, (yield parent))
            for child in children:
                link.send(child, segment)
        yield from barrier(link)


def reduce(link: Link, data: np.ndarray, combine: Callable, root: int) -> Steps:
    """Combine every rank's `data` into the root's, up the tree of `broadcast`.

    Only the root's `data` changes; the others add up in a scratch array.
    """
    parent, children = _tree(link, root)
    for part in _pieces_of(data, PART_BYTES):
        for segment in _pieces_of(part, SEGMENT_BYTES):
            total = segment if parent is None or not children else segment.copy()
            for child in reversed(children):
                combine(total, (yield child), out=total)
            if parent is not None:
                link.send(parent, total)
        yield from barrier(link)


def barrier(link: Link) -> Steps:
    """Return only when every rank has called this, after ceil(log2(N)) rounds (dissemination).

    In round k each rank tells the one 2^k to its right, and waits for the one 2^k to its left; what
    it is told stands for 2^(k+1) ranks by then.

        round   rank 0 tells    rank 1 tells    rank 2 tells    rank 3 tells
        0       1               2               3               0
        1       2               3               0               1
    """
    token = np.empty(0, np.uint8)
    distance = 1
    while distance < link.size:
        link.send((link.rank + distance) % link.size, token)
        yield (link.rank - distance) % link.size
        distance *= 2


def send(link: Link, data: np.ndarray, destination: int) -> Steps:
    """Send `data` to one rank, in segments; complete at once, whether or not it is awaited yet."""
    for segment in _pieces_of(data, SEGMENT_BYTES):
        link.send(destination, segment)
    return
    yield


def recv(link: Link, data: np.ndarray, source: int) -> Steps:
    """Receive `data` from one rank; if `source` is ANY, from the first that sends."""
    for segment in _pieces_of(data, SEGMENT_BYTES):
        np.copyto(segment, (yield source))
        source = link.source


def split(data: np.ndarray, pieces: int) -> list[np.ndarray]:
    """Cut a flat array into `pieces` views whose lengths differ by at most one."""
    edges = [len(data) * i // pieces for i in range(pieces + 1)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def _pieces_of(data: np.ndarray, nbytes: int) -> list[np.ndarray]:
    """Cut a flat array into views of at most `nbytes` (but never less than one element)."""
    return split(data, max(1, -(-data.nbytes // nbytes)))


def _tree(link: Link, root: int) -> tuple[int | None, list[int]]:
    """This rank's parent and children in the binomial tree, the largest subtree first."""
    size = link.size
    place = (link.rank - root) % size
    lowest_bit = place & -place if place else 1 << (size - 1).bit_length()
    parent = None if place == 0 else (place - lowest_bit + root) % size
    children = []
    while lowest_bit := lowest_bit >> 1:
        if place + lowest_bit < size:
            children.append((place + lowest_bit + root) % size)
    return parent, children
