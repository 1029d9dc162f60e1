"""Which row of a timeline each event is drawn in, and where overlapping ones go: into lanes."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from .overlap import union
from .recording import Event, Process

# kind -> the row's title. Kinds that are not named here are the program's own, as forward is.
ROWS = {
    "op": "operations",
    "wait": "operations",  # a thread computes or waits
    "bucket": "buckets ready",
    "collective": "collectives",
    "message": "collectives",
    "send": "chunks",
    "receive": "chunks",
    "combine": "chunks",
}
PROGRAM = "program"
ORDER = (PROGRAM, "operations", "buckets ready", "collectives", "chunks")
# More than so many at once share the last lane.
MOST_LANES = 6


class Row(NamedTuple):
    """Events in the order of their beginnings, and the lane of each."""

    title: str
    lanes: int
    events: list[tuple[int, Event]]


def rows_of(process: Process) -> list[Row]:
    """A process's events in rows, top to bottom; rows without events are left out."""
    by_row: dict[str, list[Event]] = {title: [] for title in ORDER}
    for event in process.events:
        by_row[ROWS.get(event.kind, PROGRAM)].append(event)
    rows = []
    for title, events in by_row.items():
        if events:
            events.sort(key=lambda e: (e.start, -e.end))
            lanes = _lanes(events)
            rows.append(Row(title, max(lanes) + 1, list(zip(lanes, events, strict=True))))
    return rows


def _lanes(events: list[Event]) -> list[int]:
    """For each event the first lane that is free when it begins. A mark takes no room."""
    free = list(range(MOST_LANES))
    taken: list[tuple[int, int]] = []  # (when it will be free, lane)
    lanes = []
    for event in events:
        while taken and taken[0][0] <= event.start:
            heapq.heappush(free, heapq.heappop(taken)[1])
        if event.start == event.end:
            lanes.append(0)
        elif free:
            lanes.append(heapq.heappop(free))
            heapq.heappush(taken, (event.end, lanes[-1]))
        else:
            lanes.append(MOST_LANES - 1)
    return lanes


def backward_passes(processes: list[Process]) -> list[tuple[int, int]]:
    """Begin and end of each outermost backward pass, of the first process that has any."""
    for process in processes:
        passes = union([(e.start, e.end) for e in process.events if e.kind == "backward"])
        if passes:
            return passes
    return []
