"""All ops, in several processes, none of which can hang: for --write, which takes some minutes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

import minitorch

from . import scope
from .check import INFORMATION, KINDS, OP_SECONDS, Failure, Tally, check, every_op, samples_of


def one_thread() -> None:
    torch.set_num_threads(1)
    minitorch.set_num_threads(1)


def one_op(name: str) -> Tally:
    op = next(op for op in every_op() if scope.full_name(op) == name)
    return missing(op, "minitorch has no such function") if scope.is_missing(op) else check(op)


def missing(op, why: str) -> Tally:
    """As if every sample had failed."""
    tally = Tally(op)
    for dtype in KINDS:
        if getattr(torch, dtype) in op.dtypes:
            count = sum(1 for _ in samples_of(op, dtype, False))
            tally.samples[dtype] = [0, count]
            tally.counts["forward", dtype] = [0, count]
    tally.failures.append(Failure("missing", "", why))
    return tally


def is_missing(tally: Tally) -> bool:
    return [failure.kind for failure in tally.failures] == ["missing"]


def all_ops(names: list[str], jobs: int, progress=print) -> list[Tally]:
    """The tallies of the ops of these names. An op that hangs or crashes counts as failing."""
    done: dict[str, Tally] = {}
    while len(done) < len(names):
        waiting = [name for name in names if name not in done]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, one_thread) as pool:
            futures = {name: pool.submit(one_op, name) for name in waiting}
            for name, future in futures.items():
                try:
                    done[name] = future.result(timeout=OP_SECONDS + 60)
                except (TimeoutError, BrokenProcessPool) as error:
                    op = next(op for op in every_op() if scope.full_name(op) == name)
                    done[name] = missing(op, f"the process died or hung: {error!r}")
                    for process in list(pool._processes.values()):
                        process.kill()
                    break
                if len(done) % 25 == 0:
                    progress(f"{len(done)} of {len(names)}: {name}")
    return [done[name] for name in names]


def known_lines(tallies: list[Tally]) -> list[str]:
    """What disagrees now, for known.tsv: op, kind, dtype, how many samples."""
    lines = []
    for tally in tallies:
        if is_missing(tally):
            lines.append(f"{tally.name}\tmissing\t\t1")
            continue
        for (kind, dtype), (good, total) in sorted(tally.counts.items()):
            if good < total and kind not in INFORMATION:
                lines.append(f"{tally.name}\t{kind}\t{dtype}\t{total - good}")
    return lines
