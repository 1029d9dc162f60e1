"""The MNIST example on an emulated GPU: its first losses are the CPU's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .gpus import environment

SCRIPT = Path(__file__).parents[2] / "examples" / "train_mnist.py"
STEPS = "--epochs 1 --steps 3 --print-losses 3 --batch-size 8 --dropout 0".split()


def losses(out: Path, *options: str, **environment: str) -> list[float]:
    result = subprocess.run(
        [sys.executable, SCRIPT, *STEPS, "--out", out, *options],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stderr
    return [float(loss) for loss in re.findall(r"step \d loss ([\d.]+)", result.stdout)]


@pytest.mark.timeout(600)
def test_first_losses_are_the_cpus(tmp_path):
    expected = losses(tmp_path)
    assert len(expected) == 3
    assert losses(tmp_path, "--device", "cuda", **environment(checks=False)) == pytest.approx(
        expected, abs=2e-5
    )
