"""The softmax in four steps: each is right, and the emulator finds no fault in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.gpus import environment

SCRIPT = Path(__file__).parents[2] / "examples" / "cuda" / "softmax.py"


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (2, 1000), (1, 4096), (300, 8)])
def test_every_step(rows, columns):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"--rows={rows}", f"--columns={columns}"],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | environment(),
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == [
        f"step {step}" for step in range(1, 5)
    ]
