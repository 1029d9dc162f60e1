"""python -m tests.opinfo add linalg.det: minitorch held against PyTorch's own samples."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase

import torch

import minitorch

from . import report, scope, twins
from .check import EVERY_KIND, INFORMATION, KINDS, check, every_op


def chosen(names: list[str], family: str | None) -> list:
    ops = every_op(in_scope=not names)
    if family:
        return [op for op in every_op() if op.name.startswith(family)]
    if not names:
        return ops
    found = [
        op
        for op in ops
        if any(fnmatchcase(op.name, n) or fnmatchcase(scope.full_name(op), n) for n in names)
        or any(alias.name in names for alias in op.aliases)
    ]
    for name in names:
        if not any(fnmatchcase(o.name, name) or scope.full_name(o) == name for o in found):
            print(f"(PyTorch has no OpInfo named {name!r})")
    return found


def row(tally) -> str:
    """One line: the op, and agreeing/all of each kind."""
    parts = []
    for (kind, dtype), (good, total) in sorted(tally.counts.items()):
        mark = "" if good == total else "!"
        parts.append(f"{kind}{' ' + dtype if dtype else ''} {good}/{total}{mark}")
    good, total = tally.total()
    head = "ok  " if good == total else "FAIL"
    return f"{head} {tally.name} {good}/{total} ({tally.seconds:.1f} s): " + ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.opinfo", description=__doc__)
    parser.add_argument("names", nargs="*", help="ops: add, linalg.det, 'fft.*', max:binary")
    parser.add_argument("--dtype", action="append", choices=list(KINDS), help="only this dtype")
    parser.add_argument("--complex", action="store_true", help="the complex dtypes as well")
    parser.add_argument("--kind", action="append", help="only forward, grad, gradgrad, inplace...")
    parser.add_argument("--fast", action="store_true", help="the first 4 samples of each dtype")
    parser.add_argument("--all", action="store_true", help="every op in scope")
    parser.add_argument("--family", help="the ops whose name begins so: linalg, fft, nn.functional")
    parser.add_argument("--list", choices=["missing", "excluded"])
    parser.add_argument("--write", action="store_true", help="everything, into docs/ and known.tsv")
    parser.add_argument("--jobs", type=int, default=2, help="processes for --write")
    parser.add_argument("--show", type=int, default=5, help="failures to print of each op")
    parser.add_argument("--device", default="cpu", help="where ours computes: cpu, cuda")
    options = parser.parse_args()
    twins.DEVICE = options.device
    if options.list == "missing":
        names = sorted({op.name for op in every_op() if scope.is_missing(op)})
        print("\n".join(names))
        print(f"{len(names)} names in scope are missing")
        return
    if options.list == "excluded":
        for op in every_op(in_scope=False):
            if scope.excluded(op):
                print(f"{scope.full_name(op)}: {scope.excluded(op)}")
        return
    if options.write:
        report.write(options.jobs)
        return
    if not (options.names or options.all or options.family):
        parser.error("name some ops, or --all, or --family linalg")
    torch.set_num_threads(1)
    minitorch.set_num_threads(1)
    dtypes = options.dtype or [d for d in KINDS if options.complex or "complex" not in d]
    kinds = options.kind or EVERY_KIND - set(INFORMATION)
    agreeing = total = 0
    missing = []
    for op in chosen(options.names, options.family):
        if scope.is_missing(op):
            missing.append(scope.full_name(op))
            continue
        tally = check(op, dtypes, 4 if options.fast else None, kinds)
        shown: dict = {}
        for failure in tally.failures:
            shown[failure.kind] = shown.get(failure.kind, 0) + 1
            if shown[failure.kind] <= options.show:
                print(f"  {tally.name} {failure}")
        print(row(tally), flush=True)
        agreeing += tally.total()[0]
        total += tally.total()[1]
    if missing:
        print("not in minitorch:", " ".join(missing))
    print(f"{agreeing} of {total} comparisons agree")


if __name__ == "__main__":
    main()
