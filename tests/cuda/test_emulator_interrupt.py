"""Ctrl-C ends a kernel that loops without end, and the next one runs."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from . import gpus

LOOPS = {
    "computes": 'asm volatile("" : "+r"(n));',
    "reads": "n = ((volatile int *)y)[0] - ((volatile int *)y)[1];",
    "reads and writes": "y[threadIdx.x] = 7 - y[threadIdx.x];",
    "waits at a barrier": "__syncthreads();",
    "waits for its warp": "__syncwarp();",
    "shuffles": "n = __shfl_xor_sync(~0u, n, 1);",
    "prints": 'printf("");',
}

PROGRAM = r"""
import signal, sys
import numpy as np
from minitorch.cuda import emulator

signal.signal(signal.SIGINT, signal.default_int_handler)
module = emulator.RawModule(code=sys.argv[1])
one, y = np.int32(1), emulator.zeros(64, "int32")
for name in module.kernels:
    loop = module.get_function(name)
    loop((1,), (64,), (y, one, one))  # it ends after one round
    said = ""
    while not said:  # so if the signal came before the launch
        try:
            print("launch", flush=True)
            loop((1,), (64,), (y, one, np.int32(0)))
        except KeyboardInterrupt as stop:
            said = str(stop)
    print(said, flush=True)
    y[:] = 5
    loop((1,), (64,), (y, one, one))
    assert set(y.get().tolist()) <= {5, 2}, y
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as stop:
    print("Python's own" + str(stop), flush=True)
"""


def source() -> str:
    kernels = [
        f"""
#line 1 "loops.cu"
extern "C" __global__ void loop_{i}(int *y, int n, int step) {{
    for (int k = 0; k < 1; k += step) {{
        {body}
    }}
}}"""
        for i, body in enumerate(LOOPS.values())
    ]
    return "".join(kernels)


@pytest.mark.parametrize("checks", [True, False], ids=["checked", "unchecked"])
def test_a_loop_without_end(checks):
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, source()],
        env={**os.environ, **gpus.environment(1, checks)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit = threading.Timer(120, child.kill)
    limit.start()
    said = []
    for line in child.stdout:
        if line == "launch\n":
            time.sleep(0.2)
            child.send_signal(signal.SIGINT)
        else:
            said.append(line.rstrip())
    limit.cancel()
    assert child.wait() == 0, said
    *loops, last = said
    assert last == "Python's own"
    assert len(loops) == len(LOOPS)
    line = "( after|,) loops.cu:[2-4],"
    for i, message in enumerate(loops):  # it may have come between two threads: of no line
        pattern = rf"loop_{i}: interrupted({line}|,) block \(0,0,0\)( thread \(\d+,0,0\))?$"
        assert re.match(pattern, message), message
    assert any(re.search(line, message) for message in loops)
