"""Draws a recorded run: `python -m minitorch.viz.timeline FOLDER`.

FOLDER is where MINITORCH_TRACE has put a run (tracing.py). The result is one page, without any
other file and without the network, with two views: a timeline of all ranks, in which one sees how
much of the communication backward hides; and the chunks of a collective, round by round. Beside it
lies the same recording for https://ui.perfetto.dev and chrome://tracing.

What is on the page is decided here; how it is drawn, in page/. recording.py reads the folder,
overlap.py and rounds.py make sense of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .overlap import length, overlap
from .recording import Recording, TraceError, read
from .rounds import Collective, Shares, collectives
from .rows import backward_passes, rows_of
from .timeline_svg import rounds_svg, step_svg

PAGE = Path(__file__).with_name("page")
# The page leaves out later collectives: they are as those before, and a page has to be loaded.
MOST_MOVES = 30_000

NOT_REPLAYED = (
    "there must be an all_reduce, broadcast, all_gather or reduce_scatter of at least two ranks, "
    "with the records of all of them."
)


def page(recording: Recording) -> str:
    """The page, as HTML."""
    parts = {
        "title": f"minitorch timeline: {_about(recording)}",
        "style": _part("style.css"),
        "script": _part("timeline.js") + _part("rounds.js"),
        "data": json.dumps(page_data(recording), separators=(",", ":")).replace("<", "\\u003c"),
    }
    first, *rest = _part("page.html").split("@")
    for part in rest:  # each begins with the name of what goes there
        name = next(name for name in parts if part.startswith(name))
        first += parts[name] + part[len(name) :]
    return first


def page_data(recording: Recording) -> dict[str, Any]:
    """What the page knows. Names and kinds are numbers, as there may be 100,000 events."""
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    processes = []
    for process in recording.processes:
        rows = []
        for row in rows_of(process):
            events = [
                (
                    *(event.start, event.end - event.start, lane),
                    names.setdefault(event.name, len(names)),
                    kinds.setdefault(event.kind, len(kinds)),
                    {k: v for k, v in event.details.items() if v not in (None, False)},
                )
                for lane, event in row.events
            ]
            rows.append({"title": row.title, "lanes": row.lanes, "events": events})
        parts = overlap(process)._asdict()
        processes.append({"title": process.title, "rows": rows} | parts)
    replayed: list[dict[str, Any]] = []
    shares: dict[Shares, int] = {}
    moves = 0
    for collective in collectives(recording):
        moves += sum(map(len, collective.rounds))
        if moves <= MOST_MOVES:
            replayed.append(_collective_data(collective, shares))
    return {
        "about": _about(recording),
        "notes": recording.notes,
        "length": max(e.end for p in recording.processes for e in p.events) or 1,
        "count": recording.count,
        "names": list(names),
        "kinds": list(kinds),
        "processes": processes,
        "backwards": backward_passes(recording.processes),
        "collectives": replayed,
        "shares": [sorted(held) for held in shares],
        "whyNone": NOT_REPLAYED,
    }


def _collective_data(collective: Collective, shares: dict[Shares, int]) -> dict[str, Any]:
    """`shares` gives each set of ranks a number."""

    def number(held: Shares) -> int:
        return shares.setdefault(held, len(shares))

    return {
        "name": collective.name,
        "group": collective.group,
        "op": collective.op,
        "bytes": collective.nbytes,
        "begin": collective.begin,
        "members": collective.members,
        "blocks": collective.blocks,
        "start": [[number(held) for held in collective.start[r]] for r in collective.members],
        "rounds": [
            [
                move._asdict() | {"bytes": move.nbytes, "after": [number(h) for h in move.after]}
                for move in moves
            ]
            for moves in collective.rounds
        ],
    }


def chrome_trace(recording: Recording) -> dict[str, Any]:
    """The recording in the format of chrome://tracing, which Perfetto reads as well.

    A process for each rank, a thread for each lane of each row; times are in microseconds.
    """
    events: list[dict[str, Any]] = []
    for pid, process in enumerate(recording.processes):
        events.append(_named("process_name", pid, 0, process.title))
        tid = 0
        for row in rows_of(process):
            for lane in range(row.lanes):
                title = row.title if lane == 0 else f"{row.title} ({lane + 1})"
                events.append(_named("thread_name", pid, tid + lane, title))
            for lane, event in row.events:
                entry = {
                    "name": event.name,
                    "cat": event.kind,
                    "pid": pid,
                    "tid": tid + lane,
                    "ts": event.start / 1e3,
                    "args": event.details,
                }
                if event.end > event.start:
                    entry |= {"ph": "X", "dur": (event.end - event.start) / 1e3}
                else:
                    entry |= {"ph": "i", "s": "t"}
                events.append(entry)
            tid += row.lanes
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def summary(recording: Recording) -> str:
    """The numbers, a line for each process."""
    lines = [f"{_about(recording)}"]
    for process in recording.processes:
        parts = overlap(process)
        if parts.share is None:
            lines.append(f"{process.title}: no communication")
            continue
        hidden, exposed = length(parts.hidden), length(parts.exposed)
        lines.append(
            f"{process.title}: {(hidden + exposed) / 1e6:.1f} ms of communication, "
            f"{100 * parts.share:.0f}% hidden, {exposed / 1e6:.1f} ms waited for"
        )
    return "\n".join([*lines, *[f"note: {note}" for note in recording.notes]])


def _about(recording: Recording) -> str:
    count = len(recording.processes)
    command = recording.processes[0].about.get("command") or "a program"
    return (
        f"{command}: {count} process{'es' * (count > 1)}, {recording.seconds:.2f} s, "
        f"{recording.count} events"
    )


def _part(name: str) -> str:
    return PAGE.joinpath(name).read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m minitorch.viz.timeline", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("folder", help="what MINITORCH_TRACE was set to")
    parser.add_argument("-o", "--output", help="the page; default FOLDER/timeline.html")
    parser.add_argument(
        "--svg", metavar="FILE", help="pictures instead of a page: a step, and FILE-rounds.svg"
    )
    parser.add_argument("--backward", type=int, help="of --svg: which backward pass, from 0")
    parser.add_argument("--collective", help='of --svg: which one to step through, "all_reduce #3"')
    chosen = parser.parse_args(arguments)
    try:
        recording = read(chosen.folder)
        if chosen.svg:
            written = _write_pictures(recording, chosen)
        else:
            output = Path(chosen.output or Path(chosen.folder, "timeline.html"))
            written = {
                output: page(recording),
                output.with_suffix(".json"): json.dumps(chrome_trace(recording)),
            }
        for path, text in written.items():
            path.write_text(text, encoding="utf-8")
    except (TraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary(recording))
    print("written:", ", ".join(map(str, written)))
    return 0


def _write_pictures(recording: Recording, chosen: argparse.Namespace) -> dict[Path, str]:
    path = Path(chosen.svg)
    pictures = {}
    found = collectives(recording)
    if backward_passes(recording.processes) or not found:
        pictures[path] = step_svg(recording, chosen.backward)
    if chosen.collective:
        found = [c for c in found if c.name == chosen.collective]
        if not found:
            raise TraceError(f"no collective {chosen.collective!r} that could be replayed")
    if found:
        longest = max(found, key=lambda c: len(c.rounds))
        pictures[path.with_stem(path.stem + "-rounds")] = rounds_svg(longest)
    return pictures


if __name__ == "__main__":
    sys.exit(main())
