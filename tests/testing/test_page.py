"""What docs/property-testing.md shows as output is what its examples print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "property-testing.md"
SHOWN = re.compile(r"```python\n([^`]*)```\n(?:(?!```python).)*?```text\n(.*?)```", re.S)


@pytest.mark.parametrize("number", [0, 1])
def test_output(number, tmp_path):
    code, output = SHOWN.findall(PAGE.read_text())[number]
    (tmp_path / "example.py").write_text(code)
    command = [sys.executable, str(tmp_path / "example.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == output.strip(), done.stderr


def test_all_outputs_are_looked_at():
    assert len(SHOWN.findall(PAGE.read_text())) == PAGE.read_text().count("```text") == 2
