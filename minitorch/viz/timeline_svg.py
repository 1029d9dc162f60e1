"""A step's timeline, and the rounds of a collective, as pictures for documents: without scripts.

Legible on a light and on a dark page. The page's own drawing is in page/, on a canvas, because it
has to cope with 100,000 events; these have a few hundred, and what is too narrow is left out.
"""

from __future__ import annotations

from html import escape

from .overlap import IDLE, length, overlap
from .recording import Event, Process, Recording, TraceError
from .rounds import REDUCING, Collective, Shares
from .rows import backward_passes, rows_of

STYLE = """
.p { --ink: #1d2733; --faint: #5b6b80; --paper: #ffffff; --panel: #eef2f7; --line: #c9d2de;
  --forward: #4c8fe0; --backward: #7a6fd0; --op: #b9b2ef; --wait: #e8590c; --bucket: #b8860b;
  --collective: #2b9a66; --program: #6b8fd6; background: var(--paper); }
@media (prefers-color-scheme: dark) { .p { --ink: #e6ebf2; --faint: #9fb0c5; --paper: #12171f;
  --panel: #1a212c; --line: #38465a; --op: #4a437f; --wait: #f0813a; --bucket: #f2c14e; } }
.p text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.p .faint { fill: var(--faint); font-size: 11px; }
.p .strong { font-weight: 600; }
.p .paper { fill: var(--paper); }
.p .panel { fill: var(--panel); }
.p .cells .strong { font-weight: 600; }
.p .in { fill: #fff; font-size: 10.5px; }
.p .op { font-size: 10.5px; }
.p .cell { stroke: var(--line); }
.p .cells text { text-anchor: middle; font: 11px ui-monospace, Menlo, Consolas, monospace; }
.p .new { fill: none; stroke: var(--wait); stroke-width: 2; }
"""
WIDTH, LABELS, LANE = 960, 110, 17
GAP = 20  # between tables
NARROWEST = 0.4  # of a bar that is drawn, in pixels
NEXT = 5_000_000  # nanoseconds; a wait that begins so soon belongs to what was before
LETTER = 6.6  # pixels across, at most

KEY = {
    "op": "operation of backward",
    "wait": "waits for a collective",
    "collective": "collective",
    "bucket": "bucket ready",
}

# These rows make up the picture; chunks are too many.
SHOWN = ("program", "operations", "buckets ready", "collectives")


def step_svg(recording: Recording, number: int | None = None) -> str:
    """The `number`-th backward pass (None: the one in the middle) and the forward before it, on
    every process. Raises TraceError if there is no such pass."""
    passes = backward_passes(recording.processes)
    if not passes or not -len(passes) <= (number or 0) < len(passes):
        raise TraceError(f"there are {len(passes)} backward passes in this recording")
    begin, end = passes[len(passes) // 2 if number is None else number]
    end = _with_averaging(recording.processes[0], end)
    forwards = [
        e.start
        for e in recording.processes[0].events
        if e.kind == "forward" and begin - (end - begin) * 2 < e.start < begin
    ]
    begin = max(forwards, default=begin)
    margin = (end - begin) // 50
    begin, end = begin - margin, end + margin

    def x(at: int) -> float:
        return LABELS + (WIDTH - LABELS - 10) * (at - begin) / (end - begin)

    drawn: list[str] = []
    y = 8.0
    for process in recording.processes:
        y += 12
        drawn.append(_text(6, y, process.title, "strong"))
        drawn.append(_text(LABELS, y, _share_text(process, begin, end), "faint"))
        y += 6
        for row in rows_of(process):
            if row.title not in SHOWN:
                continue
            seen = [(n, e) for n, e in row.events if e.end > begin and e.start < end]
            if not seen:
                continue
            drawn.append(_text(14, y + 12, row.title, "faint"))
            drawn += [_bar(e, y + lane * LANE, x, begin, end) for lane, e in seen]
            y += LANE * (max(lane for lane, _ in seen) + 1) + 2
        y += 8
    scale = 10 ** (len(str((end - begin) // 4)) - 1)
    drawn.append(f'<path d="M{x(begin):.1f},{y + 4} h{x(begin + scale) - x(begin):.1f}" '
                 'stroke="var(--faint)" stroke-width="2"/>')  # fmt: skip
    drawn.append(_text(x(begin + scale) + 6, y + 8, _scale_text(scale), "faint"))
    at = WIDTH - 500.0
    for kind, words in KEY.items():
        drawn.append(f'<rect x="{at:.0f}" y="{y - 2:.0f}" width="10" height="10" rx="2" '
                     f'fill="var(--{kind})"/>')  # fmt: skip
        drawn.append(_text(at + 14, y + 8, words, "faint"))
        at += 30 + 6 * len(words)
    return _picture(WIDTH, y + 18, drawn)


def _with_averaging(process: Process, end: int) -> int:
    """When the waits are over that follow a backward directly: by hand, one averages after it."""
    for e in sorted(process.events, key=lambda e: e.start):
        if e.start >= end and e.kind in ("forward", "backward"):
            break
        if e.start >= end and e.kind == "wait" and not e.name.startswith(IDLE):
            if e.start > end + NEXT:
                break
            end = e.end
    return end


def _share_text(process: Process, begin: int, end: int) -> str:
    def inside(intervals):
        cut = [(max(b, begin), min(e, end)) for b, e in intervals]
        return length([(b, e) for b, e in cut if b < e])

    parts = overlap(process)
    hidden, exposed = inside(parts.hidden), inside(parts.exposed)
    if not hidden + exposed:
        return "no communication"
    share = 100 * hidden / (hidden + exposed)
    return f"{(hidden + exposed) / 1e6:.1f} ms of communication, {share:.0f}% hidden"


def _scale_text(nanoseconds: int) -> str:
    for unit, name in (10**9, "s"), (10**6, "ms"), (10**3, "µs"):
        if nanoseconds >= unit:
            return f"{nanoseconds // unit} {name}"
    return f"{nanoseconds} ns"


def _bar(event: Event, y: float, x, begin: int, end: int) -> str:
    left, right = x(max(event.start, begin)), x(min(event.end, end))
    known = ("forward", "backward", "op", "wait", "collective", "bucket")
    colour = f"var(--{event.kind if event.kind in known else 'program'})"
    if event.kind == "bucket":
        number = "".join(c for c in event.name if c.isdigit())
        mark = f"M{left - 4:.1f},{y + 3:.1f} h8 l-4,9 z"
        return f'<path d="{mark}" fill="{colour}"/>' + _text(left + 6, y + 12, number, "faint")
    if right - left < NARROWEST:
        return ""
    bar = (
        f'<rect x="{left:.1f}" y="{y + 1:.1f}" width="{right - left:.1f}" height="{LANE - 3}" '
        f'rx="1.5" fill="{colour}"><title>{escape(event.name)}, '
        f"{(event.end - event.start) / 1e6:.3f} ms</title></rect>"
    )
    name = event.name.partition("Backward0")[0]
    for text in name, "#" + name.partition("#")[2]:  # "all_reduce #3", or if there's no room "#3"
        if text != "#" and right - left > LETTER * len(text) + 6:
            bar += _text(left + 4, y + 12, text, "op" if event.kind == "op" else "in")
            break
    return bar


def rounds_svg(collective: Collective) -> str:
    """What every rank of a collective holds before the first round and after each, and who has
    sent what to whom. Blocks have letters; b2 is rank 2's share of block b, b the whole of it."""
    blocks = len(collective.blocks) - 1
    small = len(collective.members) > 4
    longest = 5 if small else 3 * len(collective.members) - 4  # "b0+b1": a share less than all
    cell = max(26.0, LETTER * longest + 8)
    table_width, tall = 62 + cell * blocks, 24 + 21 * len(collective.members)
    per_row = max(1, int((WIDTH + GAP) // (table_width + GAP)))
    drawn = []
    states = collective.states()
    lines: list[list[str]] = [[]] + [_move_text(moves) for moves in collective.rounds]
    rows = -(-len(states) // per_row)
    y = 4.0
    for r in range(rows):
        texts = lines[r * per_row : (r + 1) * per_row]
        for k, state in enumerate(states[r * per_row : (r + 1) * per_row]):
            number = r * per_row + k
            before = states[number - 1] if number else state
            drawn.append(
                f'<g transform="translate({k * (table_width + GAP):.0f},{y:.0f})">'
                + _table(collective, number, state, before, cell, small)
                + "".join(
                    _text(4, tall + 30 + 15 * i, text, "faint") for i, text in enumerate(texts[k])
                )
                + "</g>"
            )
        y += tall + 36 + 15 * max(map(len, texts))
    width = min(per_row, len(states)) * (table_width + GAP) - GAP
    return _picture(width + 8, y, drawn)


def _move_text(moves) -> list[str]:
    return [
        f"{m.source} → {m.target}: {_letters(m.first, m.last)}"
        f" {'added' if m.combined else 'copied'}, {m.nbytes / 1e3:,.0f} kB"
        for m in moves
    ]


def _table(collective: Collective, number: int, state, before, cell: float, small: bool) -> str:
    title = f"after round {number}" if number else f"{collective.name}: at the start"
    parts = [_text(4, 14, title, "strong")]
    everybody = len(collective.members)
    for i, rank in enumerate(collective.members):
        y = 24 + 21 * i
        parts.append(_text(4, y + 14, f"rank {rank}"))
        for block, held in enumerate(state[rank]):
            x = 58 + cell * block
            whole = len(held) == everybody if collective.op in REDUCING else bool(held)
            hue = (205 + 360 * block // (len(collective.blocks) - 1)) % 360
            share = 0.95 if whole else 0.1 + 0.5 * len(held) / everybody if held else 0
            parts.append(
                f'<rect class="cell" x="{x:.1f}" y="{y}" width="{cell - 2:.1f}" height="19" '
                f'rx="3" fill="hsl({hue} 50% 48%)" fill-opacity="{share:.2f}"/>'
            )
            if held != before[rank][block]:
                parts.append(
                    f'<rect class="new" x="{x:.1f}" y="{y}" width="{cell - 2:.1f}" height="19" '
                    'rx="3"/>'
                )
            text = _held_text(block, held, whole, everybody, small)
            style = ' style="fill:#fff;font-weight:700"' if whole else ""
            parts.append(f'<text x="{x + cell / 2 - 1:.1f}" y="{y + 14}"{style}>{text}</text>')
    return f'<g class="cells">{"".join(parts)}</g>'


def _held_text(block: int, held: Shares, whole: bool, everybody: int, small: bool) -> str:
    if not held:
        return "-"
    if whole:
        return _letters(block, block)
    if small and len(held) > 1:
        return f"{len(held)}∑"
    return "+".join(f"{_letters(block, block)}{rank}" for rank in sorted(held))


def _letters(first: int, last: int) -> str:
    names = [("a" * (n // 26)) + chr(97 + n % 26) for n in (first, last)]
    return names[0] if first == last else "-".join(names)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    class_ = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{class_} style="text-anchor:start">{escape(text)}</text>'


def _picture(width: float, height: float, drawn: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="p" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="100%" height="100%"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )
