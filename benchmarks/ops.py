"""Time per operation beside PyTorch's, forward alone and with backward, on small and large tensors.

    python benchmarks/ops.py                      # 10 and 1,000,000 elements, one thread
    python benchmarks/ops.py --sizes 10 --only add mul --rounds 21
    python benchmarks/ops.py --sizes 1000000 16000000 --threads 2

Both packages run in turn in one process, round by round, so that what else the machine does falls
on both; each number is the median over the rounds. With one thread, the default, what is measured
is the processor's time, in which other programs do not count. With more it is the clock's: leave
the machine alone then.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

SLICE = 0.003  # seconds of one measurement: short, so that few of them are interrupted


class Case(NamedTuple):
    """An operation, and its inputs' shapes for a small and a large number n of elements."""

    name: str
    function: Callable
    shapes: Callable = lambda n: [(n,)]
    signed: bool = False  # inputs around 0, as activations see them, in place of ones around 1


def two(n):
    return [(n,), (n,)]


def matrix(n):
    return [_sides(n)]


def _sides(n: int) -> tuple[int, int]:
    rows = 2 if n < 100 else 1000
    return rows, n // rows


def product(n):
    side = 3 if n < 100 else 512
    return [(side, side), (side, side)]


def layer(n):
    batch, width = (2, 5) if n < 100 else (1000, 1000)
    return [(batch, width), (width, width), (width,)]


def images(n):
    return [(1, 1, 4, 4), (2, 1, 3, 3)] if n < 100 else [(16, 16, 62, 62), (16, 16, 3, 3)]


def attention(n):
    return [(1, 2, 5)] * 3 if n < 100 else [(16, 256, 64)] * 3


def targets(T, x):
    """A class for every row of `x`."""
    return T.arange(x.shape[0]) % x.shape[1]


def chain(T, x, w):
    """Twenty operations in a row, for one backward: what an operation costs inside a model."""
    for _ in range(10):
        x = (x * w).tanh()
    return x


def of_method(name: str, shapes: Callable = lambda n: [(n,)]) -> Case:
    """A method of tensors, called with tensors alone."""
    return Case(name, lambda T, x, *others: getattr(x, name)(*others), shapes)


def activation(name: str) -> Case:
    return Case(name, lambda T, x: getattr(T.nn.functional, name)(x), signed=True)


CASES = [
    Case("chain of 20", chain, two),
    Case("add", lambda T, x, y: x + y, two),
    Case("add number", lambda T, x: x + 1.5),
    Case("add row", lambda T, x, y: x + y, lambda n: [_sides(n), _sides(n)[1:]]),
    Case("sub", lambda T, x, y: x - y, two),
    Case("mul", lambda T, x, y: x * y, two),
    Case("mul number", lambda T, x: x * 1.5),
    Case("div", lambda T, x, y: x / y, two),
    Case("pow 2", lambda T, x: x**2),
    Case("pow 3", lambda T, x: x**3),
    Case("neg", lambda T, x: -x),
    *[
        of_method(name)
        for name in "square reciprocal rsqrt sign floor exp2 expm1 log2 log1p".split()
    ],
    *[of_method(name) for name in "cos tan atan sinh cosh asinh erf lgamma frac".split()],
    *[of_method(name, two) for name in "minimum atan2 fmod hypot logaddexp xlogy".split()],
    Case("lerp", lambda T, x, y: T.lerp(x, y, 0.3), two),
    Case("addcmul", lambda T, x, y: T.addcmul(x, x, y, value=0.5), two),
    Case("addcdiv", lambda T, x, y: T.addcdiv(x, x, y, value=0.5), two),
    Case("nan_to_num", lambda T, x: x.nan_to_num()),
    *[activation(name) for name in "elu selu leaky_relu softplus hardtanh mish logsigmoid".split()],
    Case("abs", lambda T, x: x.abs()),
    Case("exp", lambda T, x: x.exp()),
    Case("log", lambda T, x: x.log()),
    Case("sqrt", lambda T, x: x.sqrt()),
    Case("sin", lambda T, x: x.sin()),
    Case("tanh", lambda T, x: x.tanh()),
    Case("sigmoid", lambda T, x: x.sigmoid(), signed=True),
    Case("relu", lambda T, x: x.relu(), signed=True),
    Case("gelu", lambda T, x: T.nn.functional.gelu(x), signed=True),
    Case("silu", lambda T, x: T.nn.functional.silu(x), signed=True),
    Case("maximum", lambda T, x, y: T.maximum(x, y), two),
    Case("clamp", lambda T, x: x.clamp(0.6, 1.2)),
    Case("where", lambda T, x, y: T.where(x > y, x, y), two),
    Case("masked_fill", lambda T, x: x.masked_fill(x > 1, 0.0)),
    Case("sum", lambda T, x: x.sum()),
    Case("sum dim", lambda T, x: x.sum(1), matrix),
    Case("mean", lambda T, x: x.mean()),
    Case("mean dim", lambda T, x: x.mean(0), matrix),
    Case("var", lambda T, x: x.var(1), matrix),
    Case("amax", lambda T, x: x.amax(1), matrix),
    Case("max", lambda T, x: x.max(1)[0], matrix),
    Case("logsumexp", lambda T, x: x.logsumexp(1), matrix),
    Case("cumsum", lambda T, x: x.cumsum(0)),
    Case("norm", lambda T, x: x.norm()),
    Case("prod", lambda T, x: x.prod(1), matrix),
    Case("cumprod", lambda T, x: x.cumprod(0)),
    Case("std", lambda T, x: x.std(0), matrix),
    Case("sort", lambda T, x: x.sort(-1)[0], matrix),
    Case("topk", lambda T, x: x.topk(2, -1)[0], matrix),
    Case("median", lambda T, x: x.median(1)[0], matrix),
    Case("einsum", lambda T, x, y: T.einsum("ij,jk->ik", x, y), product),
    Case("addmm", lambda T, x, y: T.addmm(x, x, y), product),
    Case("bmm", lambda T, x, y: x[None].bmm(y[None]), product),
    Case("outer", lambda T, x, y: T.outer(x[:1000], y[:1000]), two),
    Case("inverse", lambda T, x: (x + 9 * T.eye(3)).inverse(), lambda n: [(max(n // 9, 1), 3, 3)]),
    Case("roll", lambda T, x: x.roll(1, 0)),
    Case("flip", lambda T, x: x.flip(0)),
    Case("repeat", lambda T, x: x.repeat(2, 1), matrix),
    Case("tril", lambda T, x: x.tril(), matrix),
    Case("diagonal", lambda T, x: x.diagonal(), matrix),
    Case("select", lambda T, x: x.select(1, 1), matrix),
    Case("index_select", lambda T, x: x.index_select(0, T.tensor([1, 0])), matrix),
    Case("scatter_add", lambda T, x, y: x.scatter_add(0, T.zeros(y.shape, dtype=T.int64), y), two),
    Case("matmul", lambda T, x, y: x @ y, product),
    Case("linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), layer),
    Case("view", lambda T, x: x.view(-1), matrix),
    Case("transpose", lambda T, x: x.transpose(0, 1), matrix),
    Case("permute", lambda T, x: x.permute(1, 0), matrix),
    Case("expand", lambda T, x: x.expand(4, *x.shape)),
    Case("unsqueeze", lambda T, x: x.unsqueeze(0)),
    Case("getitem int", lambda T, x: x[1], matrix),
    Case("getitem slice", lambda T, x: x[:, 1:], matrix),
    Case("getitem list", lambda T, x: x[[1, 0, 1]], matrix),
    Case("getitem mask", lambda T, x: x[x > 1]),
    Case("cat", lambda T, x, y: T.cat([x, y]), two),
    Case("stack", lambda T, x, y: T.stack([x, y]), two),
    Case("split", lambda T, x: x.split(x.shape[0] // 2)[0]),
    Case("gather", lambda T, x: x.gather(1, T.zeros(x.shape[0], 1, dtype=T.int64)), matrix),
    Case("contiguous", lambda T, x: x.transpose(0, 1).contiguous(), matrix),
    Case("clone", lambda T, x: x.clone()),
    Case("to float64", lambda T, x: x.double()),
    Case("softmax", lambda T, x: x.softmax(-1), matrix),
    Case("log_softmax", lambda T, x: x.log_softmax(-1), matrix),
    Case("cross_entropy", lambda T, x: T.nn.functional.cross_entropy(x, targets(T, x)), matrix),
    Case("mse_loss", lambda T, x, y: T.nn.functional.mse_loss(x, y), two),
    Case(
        "layer_norm",
        lambda T, x, w, b: T.nn.functional.layer_norm(x, w.shape, w, b),
        lambda n: [_sides(n), _sides(n)[1:], _sides(n)[1:]],
    ),
    Case("embedding", lambda T, w: T.nn.functional.embedding(targets(T, w), w), matrix),
    Case(
        "batch_norm", lambda T, x: T.nn.functional.batch_norm(x, None, None, training=True), matrix
    ),
    Case("group_norm", lambda T, x: T.nn.functional.group_norm(x[:, :4], 2), matrix),
    Case("avg_pool2d", lambda T, x: T.nn.functional.avg_pool2d(x, 2), lambda n: images(n)[:1]),
    Case("bce logits", lambda T, x, y: T.nn.functional.binary_cross_entropy_with_logits(x, y), two),
    Case("smooth_l1", lambda T, x, y: T.nn.functional.smooth_l1_loss(x, y), two),
    Case("kl_div", lambda T, x, y: T.nn.functional.kl_div(x, y, reduction="sum"), two),
    Case("conv2d", lambda T, x, w: T.nn.functional.conv2d(x, w), images),
    Case("max_pool2d", lambda T, x: T.nn.functional.max_pool2d(x, 2), lambda n: images(n)[:1]),
    Case(
        "attention",
        lambda T, q, k, v: T.nn.functional.scaled_dot_product_attention(q, k, v),
        attention,
    ),
]


def timed(step: Callable, repeats: int, clock: Callable[[], float]) -> float:
    """Seconds per call."""
    start = clock()
    for _ in range(repeats):
        step()
    return (clock() - start) / repeats


def forward_step(T, case: Case, arrays) -> Callable:
    inputs = [T.tensor(a) for a in arrays]
    return lambda: case.function(T, *inputs)


def training_step(T, case: Case, arrays) -> Callable:
    """Forward and backward, into fresh .grad."""
    inputs = [T.tensor(a, requires_grad=True) for a in arrays]
    out = case.function(T, *inputs)
    gradient = T.ones(out.shape, dtype=out.dtype)

    def step():
        case.function(T, *inputs).backward(gradient)
        for x in inputs:
            x.grad = None

    return step


def compare(packages, make_step, case: Case, arrays, rounds: int, clock) -> list[float]:
    """The median time of each package, in seconds, taken in turn."""
    steps = [make_step(T, case, arrays) for T in packages]
    repeats = [max(1, int(SLICE / min(timed(step, 3, clock) for _ in range(3)))) for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, n, found in zip(steps, repeats, times, strict=True):
            if clock is time.perf_counter:  # several threads: let the other package's stop spinning
                time.sleep(0.02)
                step()
            found.append(timed(step, n, clock))
    return [statistics.median(t) for t in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000_000])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="names of operations, or their beginnings")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)  # before NumPy is imported

    import numpy as np
    import torch

    import minitorch

    torch.set_num_threads(options.threads)
    minitorch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    rng = np.random.default_rng(0)
    for size in options.sizes:
        print(f"\n{size:,} elements, {options.threads} thread(s); microseconds, ours / PyTorch's")
        print(f"{'':16}{'forward':>32}{'forward + backward':>34}")
        ratios: list[list[float]] = [[], []]
        for case in CASES:
            if options.only and not case.name.startswith(tuple(options.only)):
                continue
            draw = rng.standard_normal if case.signed else lambda s: rng.uniform(0.5, 1.5, s)
            arrays = [draw(s).astype(np.float32) for s in case.shapes(size)]
            line = f"{case.name:16}"
            for make_step, found in zip((forward_step, training_step), ratios, strict=True):
                packages = (minitorch, torch)
                ours, theirs = compare(packages, make_step, case, arrays, options.rounds, clock)
                found.append(ours / theirs)
                line += f"{ours * 1e6:12.2f} / {theirs * 1e6:9.2f} = {found[-1]:5.2f}  "
            print(line, flush=True)
        for what, found in zip(("forward", "forward + backward"), ratios, strict=True):
            share = sum(r <= 1 for r in found) / len(found)
            near = sum(r <= 1.2 for r in found) / len(found)
            print(
                f"{what}: at most PyTorch's time in {share:.0%} of {len(found)} operations, at "
                f"most 1.2 times in {near:.0%}; median ratio {statistics.median(found):.2f}"
            )


if __name__ == "__main__":
    main()
