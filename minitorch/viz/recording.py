"""Reads what tracing.py has written: the events of all processes, on one clock.

Within a host all processes read the same clock. Between two hosts the messages tell the difference:
one that left at 5 by the sender's clock and was received at 8 by the receiver's says that the
receiver's clock is at most 3 ahead; one the other way gives the other bound. The quicker the
quickest messages, the narrower the range between the bounds; the middle is taken, and half of the
range is how exact it is. Bounds add up along paths: hosts that never talk are compared through
others.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from .. import tracing

NEEDED = {"kind", "name", "start", "end"}


class TraceError(ValueError):
    """There is no trace here, or one that cannot be used; the text says what to do."""


class Event(NamedTuple):
    """A span, or with `end` equal to `start` a mark. Nanoseconds since the recording began."""

    kind: str
    name: str
    start: int
    end: int
    details: dict[str, Any]


class Process:
    """One file: a process's events, in the order in which they were recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] = {}
        self.events: list[Event] = []
        self.cut_off = False
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        self.cut_off = bool(lines.pop())  # whole lines leave nothing behind the last
        for number, line in enumerate(lines, 1):
            self._take(line, number)

    def _take(self, line: str, number: int) -> None:
        try:
            entry = json.loads(line)
            if not entry.keys() >= NEEDED:
                self.about |= entry
                return
            kind, name, start, end = [entry.pop(key) for key in Event._fields[:4]]
            if end < start:  # or no numbers at all, which is a TypeError
                raise ValueError
        except (ValueError, TypeError, AttributeError):
            raise TraceError(
                f"{self.path}, line {number}: not an event: {line[:60]!r}. "
                "The folder must hold nothing but one recording."
            ) from None
        self.events.append(Event(kind, name, start, end, entry))

    @property
    def rank(self) -> int | None:
        return self.about.get("rank")

    @property
    def title(self) -> str:
        return f"process {self.about['pid']}" if self.rank is None else f"rank {self.rank}"


class Recording:
    """The processes of one run, in rank order. `notes`: what is worth saying about it."""

    def __init__(self, processes: list[Process], notes: list[str]) -> None:
        self.processes = processes
        self.notes = notes
        self.seconds = max(e.end for p in processes for e in p.events) / 1e9

    @property
    def count(self) -> int:
        return sum(len(process.events) for process in self.processes)


def read(folder: str | os.PathLike) -> Recording:
    """The recording in a folder. Raises TraceError, with a sentence, where there is none."""
    folder = Path(folder)
    how = f"record a run with {tracing.VARIABLE}={folder} in its environment"
    if not folder.is_dir():
        raise TraceError(f"{folder} is no folder: {how} first")
    ranks, others = sorted(folder.glob("rank*.jsonl")), sorted(folder.glob("pid*.jsonl"))
    paths = ranks or others
    if not paths:
        raise TraceError(f"{folder} holds no trace (no rank*.jsonl or pid*.jsonl): {how}")
    processes = [Process(path) for path in paths]
    _check_one_run(processes)
    notes = [
        f"{p.title}: its file ends in the middle of a line, as it was killed while it wrote"
        for p in processes
        if p.cut_off
    ]
    if ranks and others:
        notes.append(f"{', '.join(p.name for p in others)} left out: of processes without a rank")
    notes += [f"{p.title} has recorded nothing" for p in processes if not p.events]
    notes += [f"{e.name}: {p.title} then stopped recording" for p in processes for e in p.events
              if e.kind == "full"]  # fmt: skip
    processes = [p for p in processes if p.events]
    if not processes:
        raise TraceError(f"{folder}: nothing was recorded. {how[0].upper()}{how[1:]} again")
    processes.sort(key=lambda p: (p.rank is None, p.rank, p.about.get("pid")))
    if not ranks and _one_after_the_other(processes):
        notes.append("these processes did not run at the same time; an empty folder for each run")
    size = processes[0].about.get("size", 0)
    missing = sorted(set(range(size)) - {p.rank for p in processes})
    if missing:
        names = ", ".join(map(str, missing))
        notes.append(f"no events of rank {names} (of {size}): killed early, or on another machine")
    notes += _align(processes)
    return Recording(processes, notes)


def _check_one_run(processes: list[Process]) -> None:
    runs = defaultdict(list)
    for process in processes:
        if "trace" not in process.about:
            raise TraceError(f"{process.path} is no trace: its first line does not say so")
        runs[process.about.get("run")].append(process)
    if len(runs) > 1 and processes[0].rank is not None:
        parts = [
            f"{', '.join(p.path.name for p in part)} of run {run}" for run, part in runs.items()
        ]
        raise TraceError(
            f"{processes[0].path.parent} holds traces of {len(runs)} runs: {'; '.join(parts)}. "
            "Delete those of the other, or record into an empty folder."
        )


def _one_after_the_other(processes: list[Process]) -> bool:
    times = sorted((p.events[0].start, p.events[-1].end) for p in processes)
    return any(end < begin for (_, end), (begin, _) in pairwise(times))


def messages(processes: list[Process]) -> Iterator[tuple[Process, Event, Process, Event]]:
    """(sender, send event, receiver, receive event) of each message that was received.

    Those from one rank to another within a call are received in the order in which they were sent.
    """
    sent: dict[tuple, deque] = defaultdict(deque)
    for p in processes:
        for e in p.events:
            if e.kind == "send":
                sent[p.rank, e.details["peer"], e.details["group"], e.name].append((p, e))
    for q in processes:
        for f in q.events:
            if f.kind == "receive":
                waiting = sent[f.details["peer"], q.rank, f.details["group"], f.name]
                if waiting:
                    yield *waiting.popleft(), q, f


def _align(processes: list[Process]) -> list[str]:
    """Bring all events to the clock of the first process's host, beginning at 0."""
    home = processes[0].about["host"]
    ahead, notes = {home: 0}, []
    if any(p.about["host"] != home for p in processes):
        bounds = _bounds(processes)
        wall = {p.about["host"]: p.about["perf_ns"] - p.about["time_ns"] for p in processes}
        for host in {p.about["host"] for p in processes} - {home}:
            who = ", ".join(p.title for p in processes if p.about["host"] == host)
            most, least = bounds.get((home, host)), bounds.get((host, home))
            if most is None or least is None:
                ahead[host] = wall[host] - wall[home]
                notes.append(f"the clock of {who} was set by the time of day: no messages to use")
            else:
                ahead[host] = (most - least) // 2
                exact = (most + least) / 2e3
                notes.append(f"the clock of {who} is right to {exact:.0f} microseconds")
    begin = min(e.start - ahead[p.about["host"]] for p in processes for e in p.events)
    for p in processes:
        shift = begin + ahead[p.about["host"]]
        p.events = [e._replace(start=e.start - shift, end=e.end - shift) for e in p.events]
    return notes


def _bounds(processes: list[Process]) -> dict[tuple[str, str], int]:
    """(a, b) -> by how many nanoseconds the clock of host b is ahead of host a's at most."""
    bounds: dict[tuple[str, str], int] = {}
    for p, e, q, f in messages(processes):
        pair = p.about["host"], q.about["host"]
        bounds[pair] = min(f.start - e.start, bounds.get(pair, f.start - e.start))
    hosts = {p.about["host"] for p in processes}
    for middle in hosts:  # Floyd and Warshall's way to all shortest paths
        for a in hosts:
            for b in hosts:
                if (a, middle) in bounds and (middle, b) in bounds:
                    through = bounds[a, middle] + bounds[middle, b]
                    bounds[a, b] = min(through, bounds.get((a, b), through))
    return bounds
