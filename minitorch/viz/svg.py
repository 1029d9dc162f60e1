"""Boxes and edges as SVG: legible on a light and on a dark page, and without any other file.

Every box has the id "n<number>" and every edge "e<number>", by which steps.py lights them up.
"""

from __future__ import annotations

import itertools
from html import escape

from .layout import LINE, PADDING

STYLE = """
.picture { --ink: #1d2733; --faint: #66758a; --paper: #ffffff; --operation: #eef3fb;
  --leaf: #e7f6ea; --result: #fdf1dc; --line: #9aa8ba; --now: #d9480f; }
@media (prefers-color-scheme: dark) { .picture { --ink: #e6ebf2; --faint: #9fb0c5;
  --paper: #12171f; --operation: #1e2a3c; --leaf: #18321f; --result: #3a2c12; --line: #54657c;
  --now: #ff922b; } }
.picture { background: var(--paper); }
.picture text { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12px;
  fill: var(--ink); }
.picture .title { font-weight: 600; font-size: 13px; }
.picture .line, .picture .shape { fill: var(--faint); }
.picture .shape { font-size: 11px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.picture rect { stroke: var(--line); stroke-width: 1; }
.picture .operation rect { fill: var(--operation); }
.picture .leaf rect { fill: var(--leaf); }
.picture .result rect { fill: var(--result); }
.picture path { fill: none; stroke: var(--line); stroke-width: 1.4; }
.picture marker path { fill: var(--line); stroke: none; }
.picture .now rect { stroke: var(--now); stroke-width: 2.5; }
.picture .now path, .picture path.now { stroke: var(--now); stroke-width: 2.2; }
"""


def draw(boxes, edges, width: float, height: float) -> str:
    """boxes: (kind, title, lines, place) each; edges: (route, text)."""
    drawn = [_edge(i, *edge) for i, edge in enumerate(edges)]
    drawn += [_box(i, *box) for i, box in enumerate(boxes)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">\n<style>{STYLE}</style>\n'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _box(number: int, kind: str, title: str, lines, place) -> str:
    x = place.x + PADDING
    y = place.y + PADDING * 0.6 + LINE - 4
    texts = [f'<text class="title" x="{x:.1f}" y="{y:.1f}">{escape(title)}</text>']
    for n, line in enumerate(lines, 1):
        texts.append(f'<text class="line" x="{x:.1f}" y="{y + n * LINE:.1f}">{escape(line)}</text>')
    return (
        f'<g id="n{number}" class="{kind}"><rect x="{place.x:.1f}" y="{place.y:.1f}" '
        f'width="{place.width:.1f}" height="{place.height:.1f}" rx="7"/>{"".join(texts)}</g>'
    )


def _edge(number: int, route, text: str) -> str:
    """A smooth curve through the points: bent between the rows, straight within them."""
    curve = "M{:.1f},{:.1f}".format(*route[0])
    for n, ((x1, y1), (x2, y2)) in enumerate(itertools.pairwise(route)):
        if n % 2:
            curve += f" L{x2:.1f},{y2:.1f}"
        else:
            bend = max((y2 - y1) / 2, 14)
            curve += f" C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
    (x1, y1), (x2, y2) = route[:2]
    return (
        f'<path id="e{number}" d="{curve}" marker-end="url(#arrow)"/>'
        f'<text class="shape" x="{x1 * 0.7 + x2 * 0.3 + 5:.1f}" '
        f'y="{y1 * 0.7 + y2 * 0.3 + 4:.1f}">{escape(text)}</text>'
    )
