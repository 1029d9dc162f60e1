"""Which GPUs these tests run on: two emulated ones, or those of this machine.

    MINITORCH_TEST_GPU=1 python -m pytest tests/cuda tests/examples/test_cuda_softmax.py

takes the machine's, through CuPy. A machine without one then fails every test, and skips none.
"""

import os

import minitorch
from minitorch.cuda import runtime
from minitorch.kernels.cuda import launch

VARIABLE = "MINITORCH_TEST_GPU"
REAL = os.environ.get(VARIABLE, "0") not in ("", "0")

WITHOUT_POOL = "MINITORCH_TEST_WITHOUT_POOL"
"""Each array an allocation of its own, kernels with the lines of their source: for sanitize.py."""

if REAL:
    os.environ.pop("MINITORCH_CUDA", None)
    if os.environ.get(WITHOUT_POOL):
        runtime.library().cuda.set_allocator(None)
        launch.OPTIONS += ("-lineinfo",)

COUNT = min(minitorch.cuda.device_count(), 2) if REAL else 2
OTHER = f"cuda:{max(COUNT - 1, 0)}"
"""Not the current GPU, where there is another one."""


def environment(count: int = 1, checks: bool = True) -> dict[str, str]:
    """The variables that give another process so many GPUs (fewer, where they are real)."""
    if REAL:
        return {"MINITORCH_CUDA": ""}
    return {"MINITORCH_CUDA": f"emulate:{count}", "MINITORCH_CUDA_CHECKS": str(int(checks))}
