"""How much of the communication was hidden behind computation?

A collective is under way from the call that starts it to its end. While the program computes, that
costs nothing; while a thread waits for it, it does. So of the time in which at least one collective
was under way, the part in which nobody waited is hidden. DDP's overlap is this one number: a
blocking collective hides nothing, one that is over before anybody asks for it hides all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .recording import Process

# Calls that carry no data, or none of the program's.
IDLE = ("barrier", "new_group", "calibration")

Interval = tuple[int, int]  # nanoseconds, begin and end


class Overlap(NamedTuple):
    """Disjoint intervals, ascending: a process communicates unnoticed, or its program waits."""

    hidden: list[Interval]
    exposed: list[Interval]

    @property
    def share(self) -> float | None:
        """The hidden part of the communication, from 0 to 1; None if there was none."""
        hidden, exposed = length(self.hidden), length(self.exposed)
        return hidden / (hidden + exposed) if hidden + exposed else None


def overlap(process: Process) -> Overlap:
    """When a process's communication was hidden, and when not."""
    spans = [e for e in process.events if not e.name.startswith(IDLE)]
    under_way = union([(e.start, e.end) for e in spans if e.kind in ("collective", "message")])
    waits = union([(e.start, e.end) for e in spans if e.kind == "wait"])
    exposed = both(under_way, waits)
    return Overlap(without(under_way, exposed), exposed)


def length(intervals: Iterable[Interval]) -> int:
    """The nanoseconds in disjoint intervals."""
    return sum(end - begin for begin, end in intervals)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same points in time as disjoint intervals, ascending."""
    result: list[Interval] = []
    for begin, end in sorted(intervals):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        elif begin < end:
            result.append((begin, end))
    return result


def both(left: list[Interval], right: list[Interval]) -> list[Interval]:
    """What two lists of disjoint intervals have in common."""
    result, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        begin, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if begin < end:
            result.append((begin, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return result


def without(intervals: list[Interval], parts: list[Interval]) -> list[Interval]:
    """What is left of disjoint intervals when others, which lie inside them, are taken out."""
    edges = sorted([*sum(intervals, ()), *sum(parts, ())])
    # Between them the edges alternate: in, out, in, out.
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(begin, end) for begin, end in pairs if begin < end]
