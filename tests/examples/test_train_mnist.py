"""The README's first command, shortened, and its promise: PyTorch prints the same losses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "train_mnist.py"


def run(command, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(output):
    return [float(x) for x in re.findall(r"step \d+ loss (\S+)", output)]


def test_two_processes(tmp_path):
    launcher = ["-m", "minitorch.distributed.run", "--nproc_per_node", "2"]
    output = run([*launcher, SCRIPT, "--epochs", "1", "--print-losses", "3", "--out", tmp_path])
    found = losses(output)
    assert len(found) == 3 and found[0] == pytest.approx(2.3, abs=0.3)
    accuracy = float(re.search(r"test accuracy: (\S+)%", output)[1])
    assert accuracy > 80
    import minitorch as torch

    state = torch.load(tmp_path / "mnist.pt")
    assert state["model"]["conv1.weight"].shape == (16, 1, 3, 3)


def test_the_first_losses_are_pytorchs(tmp_path):
    """One process, dropout off: the same file under `import torch`, digit for digit."""
    options = ["--epochs", "1", "--dropout", "0", "--print-losses", "20", "--out"]
    ours = losses(run([SCRIPT, *options, tmp_path]))
    twin = tmp_path / "train_mnist.py"
    twin.write_text(SCRIPT.read_text().replace("import minitorch as torch", "import torch"))
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    theirs = losses(run([twin, *options, tmp_path]))
    assert len(ours) == len(theirs) == 20
    assert ours == pytest.approx(theirs, abs=5e-5)
