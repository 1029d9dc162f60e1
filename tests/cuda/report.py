"""docs/kernels.md: what is known of each kernel without a GPU.

    python -m tests.cuda.report            # prints the table
    python -m tests.cuda.report --write    # into docs/kernels.md

The kernels are compiled by NVRTC (nvrtc.py), and the tests of tests/cuda are run: every launch goes
through the emulator with all its checks, and every result is held against NumPy's (twins.close).
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from minitorch.kernels.cuda import launch

from . import nvrtc, sanitize, twins

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
DTYPES = ["float32", "float16", "bfloat16", "float64"]
OPENING = """\
# The CUDA kernels

This page is made by `python -m tests.cuda.report --write`. **No number on it was taken on a GPU.**

- *sm_80, sm_90, sm_100*: the registers of a thread on an A100, an H100 or H200, and a B200, as
  NVRTC has compiled the kernel for float32, where its elements have a type to choose. The fewer,
  the more threads a multiprocessor can hold.
- *spills*: bytes of registers that found no place and are kept in memory, the worst of all
  architectures and types (float32, float16, bfloat16, float64); it should be 0.
- *shared*: bytes of static shared memory of a block, for float32.
- *launches* in the emulator, while the tests of `tests/cuda` ran; each runs twice, with the
  threads in two random orders. *verdict*: "clean" if there was no race, no access out of bounds, no
  value read before it was written, no barrier that some threads missed, and the tests passed.
- *sanitizer*: what NVIDIA's compute-sanitizer reported of the kernel on a real GPU
  (`python -m tests.cuda.sanitize`).
- *worst error* of all those tests against NumPy on the CPU, for each type of elements: the
  difference, divided by the expected value where that is above 1. Where a test launches several
  kernels, it counts for each.

"""
HEADINGS = [
    *("kernel", "file", "sm_80", "sm_90", "sm_100", "spills", "shared", "launches", "verdict"),
    "sanitizer",
    *DTYPES,
]


class Observer:
    """A plugin of pytest that takes down launches, errors and failures, kernel by kernel."""

    def __init__(self):
        self.launches: dict = defaultdict(int)
        self.errors: dict = defaultdict(float)  # (kernel, dtype) -> worst
        self.failures: dict = defaultdict(set)  # kernel -> tests
        self._current: set[str] = set()  # launched since the last test, or comparison, began

        check, close, agree = launch.Kernel.check, twins.close, twins.agree

        def watched_check(kernel, args):
            self._current.add(kernel.name)
            self._launched.add(kernel.name)
            self.launches[kernel.name] += 1
            return check(kernel, args)

        def watched_close(got, expected, scale=1.0):
            if isinstance(expected, np.ndarray) and hasattr(got, "get"):
                self._take_down(got.get(), expected)
            close(got, expected, scale)

        def watched_agree(*args, **options):
            self._current.clear()
            return agree(*args, **options)

        launch.Kernel.check, twins.close, twins.agree = watched_check, watched_close, watched_agree

    def _take_down(self, got, expected):
        if got.shape != expected.shape or not got.size:
            return
        a, b = np.asarray(got).astype(np.float64), np.asarray(expected).astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.abs(a - b) / np.maximum(1, np.abs(b))
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, error)
        for kernel in self._current:
            key = kernel, expected.dtype.name
            self.errors[key] = max(self.errors[key], float(error.max()))

    def pytest_runtest_setup(self):
        self._current, self._launched = set(), set()

    def pytest_runtest_logreport(self, report):
        if report.failed:
            for kernel in self._launched:
                self.failures[kernel].add(report.nodeid)


def second_opinion(kernel: str) -> str:
    """compute-sanitizer's verdict."""
    return sanitize.verdicts().get(kernel, "not run")


def table() -> str:
    """The page's table. Runs for a minute or two."""
    files = launch.files()
    needs = {
        (path, dtype, architecture): nvrtc.compile(
            launch.source(path, np.dtype(dtype)), architecture
        )
        for path in sorted(set(files.values()))
        for dtype in DTYPES
        for architecture in nvrtc.ARCHITECTURES
    }
    observer = Observer()
    tests = sorted(map(str, Path(__file__).parent.glob("test_kernels_*.py")))
    pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[observer])
    rows = []
    for kernel, path in files.items():
        of = [needs[path, "float32", a][kernel] for a in nvrtc.ARCHITECTURES]
        failures = len(observer.failures[kernel])
        verdict = f"{failures} failed" if failures else "clean"
        launches = observer.launches[kernel]
        rows.append(
            [
                f"`{kernel}`",
                path.name,
                *[n.registers for n in of],
                max(n[kernel].spills for (p, *_), n in needs.items() if p == path),
                max(n.shared for n in of),
                launches,
                verdict if launches else "not run",
                second_opinion(kernel),
                *[
                    f"{observer.errors[kernel, d]:.0e}" if (kernel, d) in observer.errors else ""
                    for d in DTYPES
                ],
            ]
        )
    rule = ["---"] * len(HEADINGS)
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [HEADINGS, rule, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    args = parser.parse_args()
    if reason := nvrtc.why_not():
        sys.exit(f"cannot compile: {reason}")
    text = table()
    if args.write:
        PAGE.write_text(f"{OPENING}{text}\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
