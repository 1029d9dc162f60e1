"""Where real GPUs are asked for, their absence is a failure."""

import os
import subprocess
import sys
from pathlib import Path

from . import conftest, gpus

HERE = Path(__file__).parent


def test_no_gpu_is_a_failure():
    """With every GPU hidden, if there is one."""
    tests = f"{HERE / 'test_launch.py'}::test_how_many", str(HERE / "test_strictness.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", *tests],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {gpus.VARIABLE: "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "device 'cuda' is not available" in done.stdout and "1 error" in done.stdout
    assert "it tests the emulator" in done.stdout and " passed" not in done.stdout


def test_the_lists_name_what_there_is():
    texts = {path.name: path.read_text() for path in HERE.glob("test_*.py")}
    for name in conftest.OF_THE_EMULATOR | conftest.TWO_GPUS:
        assert name in texts or any(f"def {name}(" in text for text in texts.values()), name
