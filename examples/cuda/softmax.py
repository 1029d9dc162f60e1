"""One kernel, from nothing to fast: the softmax of each row of a matrix, in four steps.

    MINITORCH_CUDA=emulate python examples/cuda/softmax.py --rows 4 --columns 1000
    python examples/cuda/softmax.py                # on a GPU, with times

Read softmax_1.cu to softmax_4.cu beside it; each says what it does better than the one before. The
kernels compute next to nothing: their time is that of the memory traffic. So count the bytes.

            reads of x    writes    sectors of 32 bytes that a warp's load
            and bytes               moves, and the share of them it uses
    step 1  3 x 4         4         32      1/8
    step 2  3 x 4         4          4      all
    step 3  2 x 4         4          4      all
    step 4  1 x 4         4         16      all, in one instruction for 4 numbers

(A second read of a row may be served by a cache, if the row is still in it. Step 1's sectors are
used by later loads of the same lane, if they are still in a cache by then; with thousands of
threads they hardly are.) A copy of x moves 8 bytes for each number, like step 4, and is as fast as
memory can be. The GPU's times beside a copy's have yet to be taken.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import minitorch as torch
from minitorch.cuda import runtime

HERE = Path(__file__).parent
THREADS = 256
STEPS = {  # step: how many rows a block takes
    1: THREADS,
    2: 1,
    3: 1,
    4: 1,
}


def compiled(step):
    """The kernel of a step, as a function of two device arrays."""
    source = (HERE / f"softmax_{step}.cu").read_text()
    module = runtime.library().RawModule(code=source, options=("-std=c++17",))
    kernel = module.get_function("softmax")

    def softmax(x, out):
        rows, n = x.shape
        blocks = -(-rows // STEPS[step])
        # A kernel gets bare numbers: an int of Python would be passed as 64 bits.
        kernel((blocks,), (THREADS,), (x, out, np.int32(rows), np.int32(n)))

    return softmax


def seconds(function, *arguments):
    """The best of some runs. (A launch returns before the kernel has run.)"""
    best = float("inf")
    for _ in range(3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function(*arguments)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--columns", type=int, default=4096, help="up to 4096, a multiple of 4")
    parser.add_argument("--step", type=int, choices=STEPS, help="only this one")
    args = parser.parse_args()
    if args.columns > 4096 or args.columns % 4:
        parser.error("step 4 wants up to 4096 columns, and a multiple of 4")

    torch.manual_seed(0)
    x = torch.randn(args.rows, args.columns)
    expected = torch.softmax(x, 1)
    there = x.cuda()
    print(torch.cuda.get_device_name())
    for step in [args.step] if args.step else STEPS:
        out = torch.empty_like(there)
        softmax = compiled(step)
        softmax(there.array, out.array)
        error = (out.cpu() - expected).abs().max().item()
        assert torch.allclose(out.cpu(), expected, atol=1e-6), f"step {step} is wrong by {error}"
        taken = seconds(softmax, there.array, out.array)
        useful = 2 * x.nbytes / taken / 1e9
        print(
            f"step {step}: error {error:.0e}, {1e3 * taken:.3f} ms, {useful:.1f} GB/s of x and out"
        )


if __name__ == "__main__":
    main()
