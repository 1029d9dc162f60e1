"""benchmarks/chaos.py: it finds what is planted, and otherwise has nothing to complain of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chaos.py"

# What is planted -> what the run must complain of.
PLANTED = {
    "hang": {"hang", "no end"},
    "orphan": {"orphan"},
    "file": {"file"},
    "segment": {"orphan", "segment"},
    "wrong rank": {"name"},
    "slow": {"late"},
}


def chaos(path, *arguments):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", str(path), *arguments],
        capture_output=True,
        text=True,
    )
    assert path.exists(), done.stderr
    return done, json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED)
def test_what_is_planted_is_found(fault, tmp_path):
    arguments = ("--jobs", "1", "--only", fault, "--patience", "12")
    done, counts = chaos(tmp_path / "counts", *arguments)
    assert done.returncode == 1 and PLANTED[fault] <= counts["complaints"].keys(), done.stdout


@pytest.mark.slow
def test_forty_jobs(tmp_path):
    done, counts = chaos(tmp_path / "counts", "--jobs", "40", "--seed", "100000")
    assert done.returncode == 0 and counts == {"jobs": 40, "complaints": {}}, done.stdout
