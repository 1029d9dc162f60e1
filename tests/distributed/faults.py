"""What the tests of faults share: how an outcome is judged, and the table in docs/faults.md.

    python -m tests.distributed.faults      # runs the tests, and writes the table

Each test hands what its ranks said to `check`, which asserts, and keeps a row of the table.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SECONDS = 6.0  # within which a death is known everywhere
ROWS = "MINITORCH_FAULT_ROWS"  # where `check` keeps its rows, if anybody wants them
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
FILES = Path(__file__).parent.glob("test_faults*.py")
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def check(
    fault: str,
    raised: dict[int, tuple[str, float]],
    *words: str,
    ranks: int = 3,
    within: float = SECONDS,
) -> None:
    """Assert that each rank in `raised` gave an error with all these words, and in time.

    `raised` has the error's text, and the seconds since the fault, of each rank that lives on.
    """
    assert raised, "nobody raised anything"
    for rank, (text, seconds) in raised.items():
        for word in words:
            assert word in text, f"rank {rank} did not say {word!r}: {text}"
        assert seconds < within, f"rank {rank} took {seconds:.1f} s: {text}"
    if ROWS in os.environ:
        row = {
            "fault": fault,
            "words": raised[min(raised)][0],
            "seconds": max(seconds for _, seconds in raised.values()),
            "raised": f"{', '.join(map(str, sorted(raised)))} of {ranks}",
        }
        with open(os.environ[ROWS], "a") as file:
            file.write(json.dumps(row) + "\n")


def _cell(text: str) -> str:
    """An error's text without what differs from run to run."""
    text = re.sub(r"process \d+ on [\w.-]+", "process ... on ...", text)
    text = re.sub(r"process \d+", "process ...", text)
    text = re.sub(r"(127\.0\.0\.1|localhost)(:|', )\d+", r"\1\2...", text)
    text = re.sub(r"/\S*/", ".../", text)
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Run the tests and write their outcomes into the page."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows")
        code = subprocess.call(
            [sys.executable, "-m", "pytest", "-q", *map(str, sorted(FILES))],
            env={**os.environ, ROWS: str(rows)},
        )
        if code:
            return code
        found = [json.loads(line) for line in rows.read_text().splitlines()]
    lines = ["| fault | the error | seconds | ranks that raised |\n", "|---|---|---|---|\n"]
    for row in sorted(found, key=lambda row: row["fault"]):
        seconds = f"{max(row['seconds'], 0):.1f}"
        lines.append(f"| {row['fault']} | {_cell(row['words'])} | {seconds} | {row['raised']} |\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "".join(lines) + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
