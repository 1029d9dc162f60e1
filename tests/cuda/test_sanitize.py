"""What compute-sanitizer prints is understood, and its absence is told in a sentence."""

import os
import subprocess
import sys

import pytest

from minitorch.kernels.cuda import launch

from . import report as page
from . import sanitize

OUTPUT = {
    "memcheck": """\
========= COMPUTE-SANITIZER
..........
========= Invalid __global__ write of size 4 bytes
=========     at softmax_forward+0x90 in softmax.cu:31
=========     by thread (255,0,0) in block (3,0,0)
=========     Address 0x7f8e1c000400 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f8e1c000000 of size 1024 bytes
=========
========= Invalid __shared__ read of size 2 bytes
=========     at 0x160 in scan.cu:12:scan_join
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x401 is misaligned
=========
10 passed in 3.20s
========= ERROR SUMMARY: 2 errors
""",
    "racecheck": """\
========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at softmax_forward+0x1a0 in softmax.cu:20
=========     and Read access at softmax_forward+0x210 in softmax.cu:24 [128 hazards]
=========
========= Warning: Race reported between Read access at cupy_sum+0x570
=========     and Write access at cupy_sum+0x590 [4 hazards]
=========
========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)
""",
    "initcheck": """\
========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 4 bytes
=========     at scan+0xa0 in scan.cu:9
=========     by thread (30,0,0) in block (1,0,0)
=========     Address 0x7f65e5204710
=========
========= ERROR SUMMARY: 1 error
""",
    "synccheck": """\
========= COMPUTE-SANITIZER
========= Barrier error detected. Divergent thread(s) in block
=========     at softmax_forward+0x50
=========     by thread (32,0,0) in block (0,0,0)
=========
========= ERROR SUMMARY: 1 error
""",
}
EXPECTED = {
    "memcheck": {"softmax_forward": 1, "scan_join": 1},
    "racecheck": {"softmax_forward": 1, "": 1},
    "initcheck": {"scan": 1},
    "synccheck": {"softmax_forward": 1},
}


@pytest.mark.parametrize("tool", sanitize.TOOLS)
def test_reports_are_counted_by_kernel(tool):
    assert sanitize.read_reports(OUTPUT[tool]) == EXPECTED[tool]


def test_nothing_found_is_no_report():
    clean = "========= COMPUTE-SANITIZER\n.....\n5 passed\n========= ERROR SUMMARY: 0 errors\n"
    assert not sanitize.read_reports(clean)
    hazards = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
    assert not sanitize.read_reports(hazards)


def test_verdicts_stand_beside_the_emulators(tmp_path, monkeypatch):
    monkeypatch.setattr(sanitize, "VERDICTS", tmp_path / "verdicts.tsv")
    assert sanitize.verdicts() == {}
    rows = ["scan\tmemcheck\t0", "scan\tracecheck\t0", "scan_join\tmemcheck\t0"]
    sanitize.VERDICTS.write_text("\n".join([*rows, "scan_join\tracecheck\t3"]))
    expected = {"scan": "clean (memcheck, racecheck)", "scan_join": "racecheck: 3 reports"}
    assert sanitize.verdicts() == expected
    assert page.second_opinion("scan") == expected["scan"]
    assert page.second_opinion("softmax_forward") == "not run"


def test_what_is_missing_is_said():
    """Here a GPU; CUDA_VISIBLE_DEVICES hides one that is there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.sanitize"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1 and done.stderr.startswith("compute-sanitizer needs a real GPU: ")


def test_names_of_kernels_are_words():
    """One that is part of another one's name must not be found in it."""
    for name, path in launch.files().items():
        report = f"========= Invalid\n=========     at {name}+0x90 in {path.name}:7\n"
        assert set(sanitize.read_reports(report)) == {name}
