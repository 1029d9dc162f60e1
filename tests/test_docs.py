"""The code in the README and in docs/ runs, and prints what its comments say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def blocks():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, code in enumerate(BLOCK.findall(page.read_text())):
            if not code.startswith("@"):  # quoted from the source: see the last test
                yield pytest.param(code, id=f"{page.name} {number}")


@pytest.mark.parametrize("code", list(blocks()))
def test_examples_run(code, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(code)
    launcher = ["-m", "minitorch.distributed.run", "--nproc_per_node", "2"]
    command = [sys.executable, *(launcher if "distributed" in code else []), str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for expected in re.findall(r"^print\(.*\) +# (tensor\(.*\))$", code, re.M):
        assert expected in done.stdout
    if "the same on every rank" in code:
        weights = re.findall(r"tensor\(\[\[.*?\]\]", done.stdout)
        assert len(weights) == 2 and weights[0] == weights[1]


def test_quoted_source_is_the_source():
    source = (ROOT / "minitorch" / "ops" / "elementwise.py").read_text()
    quoted = [c for c in BLOCK.findall((ROOT / "docs/reading.md").read_text()) if c[0] == "@"]
    assert quoted
    for code in quoted:
        for paragraph in code.strip().split("\n\n"):
            assert paragraph in source
