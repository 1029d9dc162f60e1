"""NVIDIA's compute-sanitizer over the tests of the kernels, on a real GPU: a second opinion.

    python -m tests.cuda.sanitize                       # all four tools; some take very long
    python -m tests.cuda.sanitize racecheck memcheck

What it finds is written to sanitizer.tsv, and `python -m tests.cuda.report --write` sets it beside
the emulator's verdicts in docs/kernels.md. All tests of kernels run under a tool, in one process
whose last test asserts that each kernel was launched: so one that no report names is clean.

The sanitizer knows allocations, and CuPy's pool would make one of many arrays. Hence no pool here,
and a gap behind each array.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from minitorch import cuda
from minitorch.kernels.cuda import launch

from . import gpus

TOOLS = {
    "memcheck": ["--padding", "64", "--report-api-errors", "no"],
    "racecheck": [],
    "initcheck": [],
    "synccheck": [],
}
HERE = Path(__file__).parent
VERDICTS = HERE / "sanitizer.tsv"
FOUND = 86  # the exit code that we ask for where the tests passed, and something was reported

# What begins with "========= " and is no report.
_REMARKS = re.compile(
    r"COMPUTE-SANITIZER|\w+ SUMMARY|Target application|Process|For more|Please|This tool|$", re.I
)


def read_reports(output: str) -> Counter[str]:
    """How many reports name each kernel of ours; under "" those that name none."""
    found: Counter[str] = Counter()
    # The first line of a report has one blank, those that belong to it have more.
    lines = [line.removeprefix("=========") for line in output.splitlines() if line[:9] == "=" * 9]
    for report in re.split(r"\n(?= \S)", "\n".join(lines)):
        if not _REMARKS.match(report.strip()):
            named = [k for k in launch.files() if re.search(rf"\b{k}\b(?!\.cu)", report)]
            found.update(named[:1] or [""])
    return found


def sanitize(tool: str) -> Counter[str]:
    """The reports of one tool. SystemExit if it, or a test under it, fails."""
    tests = [*sorted(HERE.glob("test_kernels_*.py")), HERE / "test_z_every_kernel_ran.py"]
    command = ["compute-sanitizer", "--tool", tool, *TOOLS[tool]]
    command += ["--error-exitcode", str(FOUND), "--print-limit", "10000", "--show-backtrace", "no"]
    command += [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=0"]
    environment = os.environ | {gpus.VARIABLE: "1", gpus.WITHOUT_POOL: "1"}
    done = subprocess.run([*command, *tests], capture_output=True, text=True, env=environment)
    log = Path(tempfile.gettempdir()) / f"sanitizer-{tool}.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode not in (0, FOUND):
        sys.exit(f"{tool}: exit code {done.returncode}; {log} ends with\n{done.stdout[-4000:]}")
    return read_reports(done.stdout)


def verdicts() -> dict[str, str]:
    """{kernel: what the last runs of the tools found}; nothing for kernels that came later."""
    if not VERDICTS.exists():
        return {}
    found: dict[str, list[str]] = {}
    for line in VERDICTS.read_text().splitlines():
        kernel, tool, reports = line.split("\t")
        words = f"{tool}: {reports} reports" if int(reports) else tool
        found.setdefault(kernel, []).append(words)
    return {
        kernel: "; ".join(w for w in words if ":" in w) or f"clean ({', '.join(words)})"
        for kernel, words in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tools", nargs="*", metavar="tool", help=f"of {', '.join(TOOLS)}")
    tools = parser.parse_args().tools or list(TOOLS)
    if wrong := set(tools) - set(TOOLS):
        parser.error(f"no such tool: {', '.join(sorted(wrong))}. There are {', '.join(TOOLS)}")
    if os.environ.pop("MINITORCH_CUDA", None) or not cuda.is_available():
        sys.exit(f"compute-sanitizer needs a real GPU: {cuda.runtime.found()[1] or 'not emulated'}")
    if shutil.which("compute-sanitizer") is None:
        sys.exit(
            "compute-sanitizer is not on the PATH: it is part of the CUDA toolkit "
            "(/usr/local/cuda/bin, or a package named cuda-sanitizer)"
        )
    rows = []
    if VERDICTS.exists():  # what the other tools have found
        rows = [row for row in VERDICTS.read_text().splitlines() if row.split("\t")[1] not in tools]
    for tool in tools:
        found = sanitize(tool)
        print(f"{tool}: {dict(found) or 'nothing'}", flush=True)
        rows += [f"{kernel}\t{tool}\t{found[kernel]}" for kernel in launch.files()]
    VERDICTS.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
