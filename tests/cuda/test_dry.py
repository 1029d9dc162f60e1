"""CuPy itself, where it is installed, accepts what is asked of it, without a GPU (dry.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str) -> subprocess.CompletedProcess:
    pytest.importorskip("cupy")
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=280
    )


FEW = ["add", "clamp*", "median", "softmax"]


@pytest.mark.parametrize(
    "names", [FEW, pytest.param([], marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_nothing_is_refused(names):
    done = run("-m", "tests.cuda.dry", *names)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_kernels_compile_as_cupy_compiles_them():
    done = run("-m", "tests.cuda.dry", "--compile")
    assert done.returncode == 0, done.stdout + done.stderr


WRONG = """
from tests.cuda import dry
dry.install()
import minitorch as torch
from minitorch.ops.choose import select
x = torch.ones(3, device="cuda").array
for line in dry._named("", lambda: select(x > 0, [1, 2, 3], x)):
    print(line, flush=True)
dry.os._exit(0)
"""


def test_a_refusal_is_seen():
    (line,) = run("-c", WRONG).stdout.splitlines()
    assert "Unsupported type <class 'list'>" in line and "ops/choose.py" in line
