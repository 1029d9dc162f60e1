"""benchmarks/gpu.py runs, at tiny sizes, in the emulator: its times mean nothing here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.parametrize(
    ("words", "rows"),
    [(["launch", "matmul"], 9), pytest.param([], 32, marks=pytest.mark.slow)],
    ids=["some", "all"],
)
def test_it_runs(words, rows):
    environment = {**os.environ, "MINITORCH_CUDA": "emulate", "MINITORCH_CUDA_CHECKS": "0"}
    command = [sys.executable, str(SCRIPT), "--small", *(["--only", *words] if words else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    device, headings, *lines = done.stdout.splitlines()
    assert "emulator" in device and "of a copy" in headings
    assert len(lines) >= rows and not [line for line in lines if "kernel" in line], done.stdout
    assert "ours alone" in device and lines[0].startswith("launch add")
