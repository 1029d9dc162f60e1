"""Every kernel compiles for real GPUs, and fits into their registers.

The emulator's g++ accepts what NVRTC refuses (host functions, INFINITY, most of <cmath>), and knows
no registers. Default: each file for one type on all GPUs, and for the others on one; slow: all.
"""

import numpy as np
import pytest

from minitorch.kernels.cuda import launch

from . import nvrtc
from .report import PAGE

missing = nvrtc.why_not()
needs_nvrtc = pytest.mark.skipif(bool(missing), reason=missing)

DTYPES = ["float32", "float16", "bfloat16", "float64"]
FILES = sorted(set(launch.files().values()))


def cases():
    for path in FILES:
        for dtype in DTYPES:
            for architecture in nvrtc.ARCHITECTURES:
                often = dtype == "float32" or (architecture == "sm_90" and dtype == "bfloat16")
                yield pytest.param(
                    path,
                    dtype,
                    architecture,
                    id=f"{path.stem}-{dtype}-{architecture}",
                    marks=[] if often else pytest.mark.slow,
                )


@needs_nvrtc
@pytest.mark.parametrize(("path", "dtype", "architecture"), list(cases()))
def test_compiles_without_spills(path, dtype, architecture):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    needs = nvrtc.compile(launch.source(path, np.dtype(dtype)), architecture)
    assert set(needs) == {name for name, where in launch.files().items() if where == path}
    spilled = {name: n.spills for name, n in needs.items() if n.spills}
    assert not spilled, f"bytes spilled to memory on {architecture}"
    # A block of this many threads must find room in the GPU's 65,536 registers.
    assert max(n.registers for n in needs.values()) * launch.THREADS <= 65536


def test_the_page_has_every_kernel():
    """docs/kernels.md is made by tests/cuda/report.py; its check of registers has to be run again
    when there are new kernels."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    verdicts = {row[0].strip("`"): (row[1], row[5], row[8]) for row in rows if len(row) > 8}
    for heading in ("kernel", "---"):
        del verdicts[heading]
    clean = {name: (path.name, "0", "clean") for name, path in launch.files().items()}
    assert verdicts == clean, "python -m tests.cuda.report --write"


@needs_nvrtc
def test_what_the_emulator_accepts_and_nvrtc_does_not():
    kernel = 'extern "C" __global__ void f(float *x) { x[0] = %s; }'
    assert nvrtc.compile(kernel % "1.0f", "sm_90")["f"].spills == 0
    with pytest.raises(Exception, match="INFINITY"):
        nvrtc.compile(kernel % "INFINITY", "sm_90")


@needs_nvrtc
def test_spills_are_seen():
    """A loop over 128 numbers that are all alive, for threads that may have 32 registers."""
    kernel = """extern "C" __global__ void __launch_bounds__(1024, 2) f(float *x) {
        float a[128];
        for (int r = 0; r < 3; r++) {
            #pragma unroll
            for (int i = 0; i < 128; i++) a[i] = x[(i * 7 + r) * 1024 + threadIdx.x];
            __syncthreads();
            #pragma unroll
            for (int i = 0; i < 128; i++) x[i * 1024 + threadIdx.x] = a[127 - i] * a[i];
        }
    }"""
    assert nvrtc.compile(kernel, "sm_90")["f"].spills > 0
