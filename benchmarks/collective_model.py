"""What the latency-bandwidth model predicts for each collective algorithm, and how right it is.

    python benchmarks/collective_model.py             draws docs/collectives-*.svg; the crossovers
    python benchmarks/collective_model.py --measure   runs each algorithm on processes of this host

The model is minitorch/distributed/algorithms/costs.py; docs/collectives.md shows the results.
"""

import argparse
import math
import multiprocessing
import socket
import time
from html import escape
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from minitorch.distributed import algorithms, calibration
from minitorch.distributed.algorithms import ALGORITHMS, choice, predict
from minitorch.distributed.algorithms.costs import CLUSTER, DATA_CENTER, LAPTOP, Costs, Terms, Wire

DOCS = Path(__file__).parents[1] / "docs"
BUCKET = 25 << 20  # DistributedDataParallel's


class Place(NamedTuple):
    """Machines on which a job may run: `ranks` in all, so many of them on each host."""

    title: str
    costs: Costs
    ranks: int
    each: int
    most: int  # up to how many ranks are plotted

    def terms(self, ranks: int) -> Terms:
        return Terms(self.costs, tuple([rank // self.each for rank in range(ranks)]))


PLACES = {
    "laptop": Place("laptop, one host", LAPTOP, 8, 64, 64),
    "cluster": Place("10 Gbit/s between hosts of 8", CLUSTER, 64, 8, 1024),
    "data-center": Place("200 Gbit/s between hosts of 8", DATA_CENTER, 1024, 8, 8192),
}
SIZES = [4 * 2**k for k in range(29)]  # 4 B to 1 GiB


# -- what the model predicts ------------------------------------------------------------------


def crossovers(collective: str, terms: Terms) -> str:
    """`doubling, from 70 KiB ring`: what is chosen, from the smallest size to the largest."""
    words, last = [], None
    for size in (int(4 * 2 ** (k / 8)) for k in range(8 * 28 + 1)):
        best = choice(collective, size, terms.costs, terms.hosts)
        if best != last:
            words.append(best if last is None else f"from {in_words(size)} {best}")
            last = best
    return ", ".join(words)


def crossover_table() -> str:
    """The crossovers everywhere, as Markdown."""
    rows = ["| where | N | collective | chosen |", "|---|---|---|---|"]
    for place in PLACES.values():
        for ranks in (2, place.ranks) if place is PLACES["laptop"] else (place.ranks,):
            for collective in ("all_reduce", "all_gather", "broadcast", "reduce"):
                found = crossovers(collective, place.terms(ranks))
                rows.append(f"| {place.title} | {ranks} | {collective} | {found} |")
    return "\n".join(rows)


def in_words(size: float) -> str:
    """Two digits and a unit: 1.5 MiB."""
    power = min(3, int(math.log2(max(size, 1)) // 10))
    number = size / 1024**power
    digits = f"{number:.1f}" if number < 10 and number != int(number) else f"{number:.0f}"
    return f"{digits} {('B', 'KiB', 'MiB', 'GiB')[power]}"


# -- pictures ---------------------------------------------------------------------------------

COLOURS = {
    "direct": "#868e96",
    "doubling": "#1c7ed6",
    "halving_doubling": "#7048e8",
    "ring": "#2f9e44",
    "hierarchical": "#e8590c",
}
WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 44, 44
STYLE = """
svg { --ink: #1d2733; --faint: #9aa8ba; --paper: #ffffff; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e6ebf2; --faint: #54657c; --paper: #12171f; } }
text { font: 12px ui-sans-serif, Helvetica, Arial, sans-serif; fill: var(--ink); }
.title { font-weight: 600; }
line { stroke: var(--faint); stroke-width: 0.5; }
polyline { fill: none; stroke-width: 2; }
"""


def picture(place: Place) -> str:
    """Predicted all_reduce times at a place: over the size, and over the number of ranks."""
    by_size = curves(SIZES, lambda size: predict("all_reduce", place.terms(place.ranks), size))
    ranks = [2**k for k in range(1, place.most.bit_length())]
    by_ranks = curves(ranks, lambda n: predict("all_reduce", place.terms(n), BUCKET))
    panels = [
        panel(0, f"{place.title}: {place.ranks} ranks", by_size, "size of the data", in_words),
        panel(WIDTH, f"a bucket of {in_words(BUCKET)}", by_ranks, "ranks", "{:.0f}".format),
    ]
    width = 2 * WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}">\n<style>{STYLE}</style>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def curves(xs, times_of) -> dict[str, list[tuple[float, float]]]:
    """name -> (x, seconds) for all x where the algorithm serves."""
    found: dict[str, list[tuple[float, float]]] = {}
    for x in xs:
        for name, seconds in times_of(x).items():
            if seconds < math.inf:
                found.setdefault(name, []).append((x, seconds))
    return found


def panel(left: float, title: str, lines: dict, x_title: str, x_label) -> str:
    """One log-log diagram."""
    points = [point for line in lines.values() for point in line]
    x_range = [math.log10(f(x for x, _ in points)) for f in (min, max)]
    y_range = [math.log10(f(y for _, y in points)) for f in (min, max)]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (math.log10(y) - y_range[0]) / (y_range[1] - y_range[0])
        return (
            left + LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<text class="title" x="{left + LEFT}" y="18">{escape(title)}</text>']
    parts.append(f'<text x="{left + WIDTH / 2}" y="{HEIGHT - 6}">{escape(x_title)}</text>')
    for power in range(math.ceil(y_range[0]), math.floor(y_range[1]) + 1):
        (x1, y), (x2, _) = place(10 ** x_range[0], 10**power), place(10 ** x_range[1], 10**power)
        parts.append(f'<line x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}"/>')
        label = f"{10**power * 1e6:.0f} us" if power < -3 else f"{10**power * 1e3:.0f} ms"
        label = label if power < 0 else f"{10**power} s"
        parts.append(f'<text text-anchor="end" x="{x1 - 6:.1f}" y="{y + 4:.1f}">{label}</text>')
    xs = sorted({x for x, _ in points})
    for x in xs[:: max(1, len(xs) // 5)]:
        at, y = place(x, 10 ** y_range[0])
        parts.append(f'<text text-anchor="middle" x="{at:.1f}" y="{y + 16}">{x_label(x)}</text>')
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, "#c2255c")
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline stroke="{colour}" points="{path}"/>')
        parts.append(
            f'<text style="fill: {colour}" x="{left + LEFT + 8}" y="{TOP + 12 + 15 * i}">'
            f"{escape(name)}</text>"
        )
    return "\n".join(parts)


def draw() -> dict[str, str]:
    """File name -> SVG."""
    return {f"collectives-{name}.svg": picture(place) for name, place in PLACES.items()}


# -- what is measured -------------------------------------------------------------------------

MEASURED = ("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce", "all_to_all")
MEASURED_SIZES = (4, 16 << 10, 256 << 10, 4 << 20, 32 << 20)
ROUNDS = 5
ROUND_SECONDS = 0.05  # about how long one algorithm has its turn


def rank_main(rank: int, ranks: int, port: int, pipe) -> None:
    """One rank: calibrate, then time every algorithm for every size."""
    import minitorch.distributed as dist

    dist.init_process_group("zmq", f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    costs = []

    def steps(link):
        for _ in range(5):
            costs.append((yield from calibration.measure(link)))

    dist.group.WORLD._launch("barrier", np.empty(0, np.uint8), steps, False)
    results = []
    for collective in MEASURED:
        for size in MEASURED_SIZES:
            call = call_of(dist, collective, max(ranks, size // 4), ranks)
            seconds: dict[str, list[float]] = {name: [] for name in ALGORITHMS[collective]}
            for _ in range(ROUNDS):  # in turn, so that a disturbance meets all
                for name in seconds:
                    algorithms.use(**{collective: name})
                    seconds[name] += seconds_of(dist, call)
            algorithms.use(**{collective: None})
            results += [(collective, name, size, median(of)) for name, of in seconds.items()]
    dist.destroy_process_group()
    pipe.send((np.median(costs, axis=0).tolist(), results))


def call_of(dist, collective: str, elements: int, ranks: int):
    """A function that runs the collective once; `elements` are those of all blocks together."""
    data = np.zeros(elements, np.float32)
    blocks = list(np.zeros((ranks, elements // ranks), np.float32))
    others = [np.zeros_like(block) for block in blocks]
    return {
        "all_reduce": lambda: dist.all_reduce(data),
        "reduce_scatter": lambda: dist.reduce_scatter(others[0], blocks),
        "all_gather": lambda: dist.all_gather(blocks, others[0]),
        "broadcast": lambda: dist.broadcast(data, 0),
        "reduce": lambda: dist.reduce(data, 0),
        "all_to_all": lambda: dist.all_to_all(others, blocks),
    }[collective]


def seconds_of(dist, call) -> list[float]:
    """The seconds of several calls; all ranks make the same number."""
    seconds = np.zeros(1)
    for _ in range(2):
        start = time.perf_counter()
        call()
        seconds[0] = time.perf_counter() - start
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    found = []
    for _ in range(max(2, min(100, int(ROUND_SECONDS / seconds[0])))):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def measure(ranks: int) -> str:
    """Measured beside predicted seconds on `ranks` processes of this machine, as Markdown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    pipes = []
    for rank in range(ranks):
        ours, theirs = context.Pipe()
        context.Process(target=rank_main, args=(rank, ranks, port, theirs), daemon=True).start()
        pipes.append(ours)
    answers = [pipe.recv() for pipe in pipes]
    latency, per_byte, _, _, reduce = np.median([costs for costs, _ in answers], axis=0)
    terms = Terms(Costs(Wire(latency, per_byte), CLUSTER.between, reduce), (0,) * ranks)
    lines = [
        f"{ranks} ranks: a = {latency * 1e6:.0f} us, b = {per_byte * 1e9:.2f} ns, "
        f"c = {reduce * 1e9:.3f} ns",
        "",
        "| | " + " | ".join(in_words(size) for size in MEASURED_SIZES) + " |",
        "|---" * (1 + len(MEASURED_SIZES)) + "|",
    ]
    rows: dict[tuple[str, str], list[str]] = {}
    for collective, name, size, seconds in answers[0][1]:
        predicted = predict(collective, terms, size)[name]
        if predicted < math.inf:
            cell = f"{seconds * 1e6:.0f} / {predicted * 1e6:.0f}"
            rows.setdefault((collective, name), []).append(cell)
    lines += [f"| {c} {name} | {' | '.join(cells)} |" for (c, name), cells in rows.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measure", action="store_true", help="run each algorithm here")
    parser.add_argument("--ranks", default="2,4", help="with --measure: how many processes (2,4)")
    options = parser.parse_args()
    if options.measure:
        for ranks in options.ranks.split(","):
            print("measured / predicted microseconds,", measure(int(ranks)), flush=True)
        return
    for name, svg in draw().items():
        (DOCS / name).write_text(svg)
    print(crossover_table())


if __name__ == "__main__":
    main()
