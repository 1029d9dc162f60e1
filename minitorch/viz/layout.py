"""Places for the boxes of a graph, in rows, so that all edges lead downwards.

The method is Sugiyama's, in its plainest form: (1) a box's row is the longest way to it from above,
and an edge that passes rows gets an empty box in each, so that it has a lane of its own; (2) within
a row, boxes are sorted by the mean position of their neighbours, a few times up and down, so that
few edges cross; (3) each is moved towards its neighbours as far as there is room.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

CHARACTER, LINE, PADDING = 7.2, 17, 12  # sizes in SVG's units, for the fonts of svg.py
GAP, ROW_GAP, MARGIN, LANE = 28, 44, 24, 18


class Place(NamedTuple):
    """The rectangle of a box."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def place(boxes: list[tuple[str, tuple]], edges: list[tuple[int, int]]):
    """The places of `boxes`, (title, lines) each; the route of every edge, a list of points to go
    through; the width and the height of the picture.

    edges: pairs of numbers of boxes, from above to below, where a has a smaller number than b.
    """
    row = _rows(len(boxes), edges)
    widths = [
        max([len(title) * 1.08, *map(len, lines)]) * CHARACTER + 2 * PADDING
        for title, lines in boxes
    ]
    heights = [(1 + len(lines)) * LINE + 1.2 * PADDING for _, lines in boxes]
    chains = []  # of each edge: where it starts, an empty box for each row it passes, where it ends
    for a, b in edges:
        passed = range(len(row), len(row) + row[b] - row[a] - 1)
        row += range(row[a] + 1, row[b])
        chains.append([a, *passed, b])
    widths += [LANE] * (len(row) - len(widths))
    heights += [0.0] * (len(row) - len(heights))
    above: list[list[int]] = [[] for _ in row]
    below: list[list[int]] = [[] for _ in row]
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            above[b].append(a)
            below[a].append(b)
    rows: list[list[int]] = [[] for _ in range(max(row) + 1)]
    for i, r in enumerate(row):
        rows[r].append(i)
    _sort(rows, above, below)
    middles = _spread(rows, widths, above, below)
    left = min(m - w / 2 for m, w in zip(middles, widths, strict=True)) - MARGIN
    places: list = [None] * len(row)
    y: float = MARGIN
    for members in rows:
        tallest = max(heights[i] for i in members)
        for i in members:
            x = middles[i] - widths[i] / 2 - left
            height = heights[i] or tallest  # a passing edge goes straight down through the row
            places[i] = Place(x, y + (tallest - height) / 2, widths[i], height)
        y += tallest + ROW_GAP
    width = max(p.x + p.width for p in places) + MARGIN
    routes = [_route([places[i] for i in chain]) for chain in chains]
    _apart(routes)
    return places[: len(boxes)], routes, width, y - ROW_GAP + MARGIN


def _route(chain: list[Place]) -> list[tuple[float, float]]:
    start, *passed, end = chain
    points = [(start.middle, start.y + start.height)]
    for p in passed:
        points += [(p.middle, p.y), (p.middle, p.y + p.height)]
    return [*points, (end.middle, end.y)]


def _apart(routes) -> None:
    """Move edges between the same two boxes apart."""
    together: dict = {}
    for i, route in enumerate(routes):
        together.setdefault((route[0], route[-1]), []).append(i)
    for same in together.values():
        for n, i in enumerate(same if len(same) > 1 else ()):
            shift = (n - (len(same) - 1) / 2) * LANE
            routes[i] = [(x + shift * (len(routes[i]) == 2), y) for x, y in routes[i]]


def _rows(count: int, edges) -> list[int]:
    """The row of every box: all edges lead downwards."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        above[b].append(a)
        below[a].append(b)
    row = [0] * count
    for i in range(count):
        row[i] = max((row[a] + 1 for a in above[i]), default=0)
    for i in reversed(range(count)):  # a leaf stands just above its first use
        if not above[i] and below[i]:
            row[i] = min(row[b] for b in below[i]) - 1
    return [r - min(row) for r in row]


def _sort(rows, above, below) -> None:
    """Order within the rows, by the mean place of the neighbours above, then below, in turn."""
    position = {i: n for row in rows for n, i in enumerate(row)}

    def mean_of(neighbours, i) -> float:
        found = [position[n] for n in neighbours[i]]
        return sum(found) / len(found) if found else position[i]

    for sweep in range(8):
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            means = {i: mean_of(neighbours, i) for i in row}
            row.sort(key=means.__getitem__)
            position.update({i: n for n, i in enumerate(row)})


def _spread(rows, widths, above, below) -> list[float]:
    """The middles of the boxes: near their neighbours', and without overlaps."""
    middles = [0.0] * len(widths)
    for row in rows:
        _make_room(row, middles, widths)
    for _ in range(24):
        for row in rows:
            for i in row:
                near = [middles[n] for n in (*above[i], *below[i])]
                if near:
                    middles[i] = sum(near) / len(near)
            _make_room(row, middles, widths)
    return middles


def _make_room(row, middles, widths) -> None:
    """Push boxes of a row apart where they overlap, and keep the row's mean where it was."""
    before = sum(middles[i] for i in row) / len(row)
    for left, right in itertools.pairwise(row):
        least = middles[left] + (widths[left] + widths[right]) / 2 + GAP
        middles[right] = max(middles[right], least)
    shift = before - sum(middles[i] for i in row) / len(row)
    for i in row:
        middles[i] += shift
