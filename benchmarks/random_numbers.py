"""Time to draw random numbers beside PyTorch's, of small and large tensors, one thread.

    python benchmarks/random_numbers.py                       # 10, 1,000,000 and 16,000,000 numbers
    python benchmarks/random_numbers.py --sizes 10 --only rand randn --rounds 21

Both packages run in turn in one process; each number is the median over the rounds. PyTorch draws
in one thread, whatever the number of threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

SLICE = 0.001  # seconds of one measurement

# Each takes the package, a number n and a tensor x of n probabilities.
CASES = {
    "rand": lambda T, n, x: T.rand(n),
    "rand float64": lambda T, n, x: T.rand(n, dtype=T.float64),
    "randn": lambda T, n, x: T.randn(n),
    "randint": lambda T, n, x: T.randint(10, (n,)),
    "randperm": lambda T, n, x: T.randperm(n),
    "uniform_": lambda T, n, x: x.uniform_(-1, 1),
    "normal_": lambda T, n, x: x.normal_(0.5, 2.0),
    "exponential_": lambda T, n, x: x.exponential_(),
    "bernoulli_": lambda T, n, x: x.bernoulli_(0.3),
    "bernoulli": lambda T, n, x: T.bernoulli(x),
    "dropout": lambda T, n, x: T.nn.functional.dropout(x, 0.3),
}


def timed(step, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def compare(packages, case, n: int, rounds: int) -> list[float]:
    """The median time of each package, in seconds, taken in turn."""

    def step_of(T):
        T.manual_seed(0)
        x = T.full((n,), 0.5)
        return lambda: case(T, n, x)

    steps = [step_of(T) for T in packages]
    repeats = [max(1, int(SLICE / timed(step, 2))) for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, count, found in zip(steps, repeats, times, strict=True):
            found.append(timed(step, count))
    return [statistics.median(t) for t in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000_000, 16_000_000])
    parser.add_argument("--rounds", type=int, default=0, help="default: by size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(CASES))
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)  # before NumPy is imported

    import torch

    import minitorch

    torch.set_num_threads(options.threads)
    minitorch.set_num_threads(options.threads)
    for size in options.sizes:
        print(f"\n{size:,} numbers, {options.threads} thread(s); microseconds, ours / PyTorch's")
        rounds = options.rounds or (31 if size <= 1000 else 9 if size <= 1_000_000 else 3)
        for name in options.only or CASES:
            ours, theirs = compare((minitorch, torch), CASES[name], size, rounds)
            print(
                f"{name:16}{ours * 1e6:12.2f} / {theirs * 1e6:12.2f} = {ours / theirs:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
