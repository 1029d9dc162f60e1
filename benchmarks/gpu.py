"""minitorch on a GPU beside PyTorch on the same GPU, in one run.

    python benchmarks/gpu.py                                  # everything, a few minutes
    python benchmarks/gpu.py --only matmul attention
    python benchmarks/gpu.py --markdown                       # as a table for the docs
    MINITORCH_CUDA=emulate python benchmarks/gpu.py --small   # to see that it runs

NO NUMBER OF THIS SCRIPT HAS BEEN TAKEN ON A GPU YET: it was run in the emulator, whose times mean
nothing. The aims: kernels that are bound by memory at 90% of a copy's bandwidth, and whole steps
in at most 1.2 of PyTorch's time.

Each case is written once and given either library, as minitorch has PyTorch's names. The two take
turns, and of each the median of the rounds counts. A round is as many calls as fill a tenth of a
second, from a GPU that is idle to one that is idle again: so it is the GPU's time where that is the
longer one, and the processor's where calls are small. Bytes are those that must be moved at least,
each array read or written once: a kernel that goes twice over its input is at half of a copy's
bandwidth. Both compute float32 products in float32: PyTorch's TF32, which its convolutions use
unless told otherwise, is turned off.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import minitorch
from minitorch.cuda import runtime

ROUNDS, SECONDS, WARM_UP = 7, 0.1, 3  # for each library; of a round; calls before all rounds


class Case(NamedTuple):
    """What is measured. make(torch) -> the function to time; bytes and operations of one call."""

    name: str
    make: Callable[[Any], Callable]
    bytes: int = 0
    flops: int = 0


# The cases


def launches() -> Iterator[Case]:
    """What an op costs where there is nothing to compute: ten elements."""

    def small(op, requires_grad=False):
        def make(torch):
            x = torch.ones(10, device="cuda", requires_grad=requires_grad)
            y = torch.ones(10, device="cuda")
            return lambda: op(torch, x, y)

        return make

    def backward(torch, x, y):
        (x * y).sum().backward()

    yield Case("launch add", small(lambda torch, x, y: x + y))
    yield Case("launch softmax", small(lambda torch, x, y: torch.softmax(x, 0)))
    yield Case("launch gelu", small(lambda torch, x, y: torch.nn.functional.gelu(x)))
    yield Case("launch sum", small(lambda torch, x, y: x.sum()))
    yield Case("launch copy_", small(lambda torch, x, y: y.copy_(x)))
    yield Case("launch add, recorded", small(lambda torch, x, y: x + y, True))
    yield Case("launch mul and sum, and backward", small(backward, True))


def copies(n: int) -> Iterator[Case]:
    def make(torch):
        x, y = torch.zeros(n, device="cuda"), torch.zeros(n, device="cuda")
        return lambda: y.copy_(x)

    yield Case("copy", make, bytes=8 * n)


def both_ways(name, op, shape, dtype, forward=2, backward=3, extra=()) -> Iterator[Case]:
    """An op and its backward, which move so many arrays of `shape`."""
    size = 1
    for n in shape:
        size *= n
    nbytes = size * (4 if dtype == "float32" else 2)

    def prepared(torch):
        torch.manual_seed(0)
        kind = getattr(torch, dtype)
        x = torch.randn(shape).to("cuda", kind).requires_grad_()
        return x, [make(torch, kind) for make in extra]

    def make_forward(torch):
        x, others = prepared(torch)
        x, others = x.detach(), [other.detach() for other in others]
        return lambda: op(torch, x, *others)

    def make_backward(torch):
        x, others = prepared(torch)
        out = op(torch, x, *others)
        grad = torch.ones_like(out)
        inputs = [x, *[other for other in others if other.requires_grad]]
        return lambda: torch.autograd.grad(out, inputs, grad, retain_graph=True)

    name = f"{name} {'x'.join(map(str, shape))} {dtype}"
    yield Case(f"{name} forward", make_forward, forward * nbytes)
    yield Case(f"{name} backward", make_backward, backward * nbytes)


def rows(n: int, width: int) -> Iterator[Case]:
    shape = n, width

    def weight(torch, dtype):
        return torch.ones(width, device="cuda", dtype=dtype, requires_grad=True)

    def target(torch, dtype):
        return torch.arange(n, device="cuda") % width

    def layer_norm(torch, x, w, b):
        return torch.nn.functional.layer_norm(x, (width,), w, b)

    for dtype in ("float32", "bfloat16"):
        yield from both_ways("softmax", lambda torch, x: torch.softmax(x, -1), shape, dtype)
        yield from both_ways("layer_norm", layer_norm, shape, dtype, extra=(weight, weight))
        yield from both_ways("gelu", lambda torch, x: torch.nn.functional.gelu(x), shape, dtype)
        yield from both_ways(
            "cross_entropy",
            lambda torch, x, t: torch.nn.functional.cross_entropy(x, t),
            shape,
            dtype,
            forward=1,
            backward=2,
            extra=(target,),
        )


def adam(n: int) -> Iterator[Case]:
    """AdamW over 32 parameters: each is read and written with both its means, its gradient read."""

    def make(torch):
        parameters = [torch.nn.Parameter(torch.zeros(n // 32, device="cuda")) for _ in range(32)]
        for p in parameters:
            p.grad = torch.ones_like(p)
        options = {"fused": True} if torch is not minitorch else {}
        return torch.optim.AdamW(parameters, lr=1e-3, **options).step

    yield Case("AdamW", make, bytes=7 * 4 * n)


def matmul(n: int, heads: int) -> Iterator[Case]:
    for dtype in ("float32", "bfloat16"):

        def square(torch, dtype=dtype):
            a = torch.randn(n, n, device="cuda").to(getattr(torch, dtype))
            return lambda: a @ a

        def batched(torch, dtype=dtype):
            """Views of attention's heads, (batch, heads, time, 64), which are not contiguous."""
            q = torch.randn(8, n // 8, heads, 64, device="cuda").to(getattr(torch, dtype))
            q = q.transpose(1, 2)
            return lambda: q @ q.transpose(-1, -2)

        yield Case(f"matmul {n} {dtype}", square, flops=2 * n**3)
        operations = 2 * 8 * heads * (n // 8) ** 2 * 64
        yield Case(f"matmul of {heads} heads {dtype}", batched, flops=operations)


def attention(batch: int, heads: int, length: int) -> Iterator[Case]:
    shape = batch, heads, length, 64
    operations = 4 * batch * heads * length**2 * 64 // 2  # causal: half of the scores
    for dtype in ("float32", "bfloat16"):

        def forward(torch, dtype=dtype):
            q, k, v = (
                torch.randn(shape, device="cuda", dtype=getattr(torch, dtype)) for _ in range(3)
            )
            attend = torch.nn.functional.scaled_dot_product_attention
            return lambda: attend(q, k, v, is_causal=True)

        def backward(torch, dtype=dtype):
            qkv = [
                torch.randn(shape, device="cuda", dtype=getattr(torch, dtype), requires_grad=True)
                for _ in range(3)
            ]
            out = torch.nn.functional.scaled_dot_product_attention(*qkv, is_causal=True)
            grad = torch.ones_like(out)
            return lambda: torch.autograd.grad(out, qkv, grad, retain_graph=True)

        name = f"attention {'x'.join(map(str, shape))} {dtype}"
        yield Case(f"{name} forward", forward, flops=operations)
        yield Case(f"{name} backward", backward, flops=operations * 5 // 2)


def mnist_cnn(torch):
    """The network of examples/train_mnist.py."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(32 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10),
    )  # fmt: skip


def gpt(torch, layers, width, context, vocabulary):
    """A GPT: pre-norm blocks, causal attention, weights of input and output shared."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, _ = x.shape
            qkv = self.qkv(self.norm1(x)).view(b, t, 3, width // 64, 64)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (b, heads, t, 64) each
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, tokens):
            places = torch.arange(tokens.shape[1], device=tokens.device)
            return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))

    return GPT()


def steps(small: bool) -> Iterator[Case]:
    batch = 2 if small else 64
    layers, width, context, vocabulary = (1, 64, 8, 50) if small else (12, 768, 1024, 50304)
    sequences = 1 if small else 8

    def training(torch, model, inputs, targets, autocast=False):
        model = model.cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

        def step():
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
                out = model(inputs).flatten(0, -2)
                loss = torch.nn.functional.cross_entropy(out, targets)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def cnn(torch):
        torch.manual_seed(0)
        images = torch.randn(batch, 1, 28, 28).cuda()
        return training(torch, mnist_cnn(torch), images, torch.arange(batch).cuda() % 10)

    def transformer(torch, autocast=False):
        torch.manual_seed(0)
        tokens = torch.randint(vocabulary, (sequences, context + 1)).cuda()
        model = gpt(torch, layers, width, context, vocabulary)
        inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
        return training(torch, model, inputs, targets, autocast)

    what = f"{layers} layers, width {width}, context {context}, batch {sequences}"
    yield Case(f"step of the MNIST CNN, batch {batch}", cnn)
    yield Case(f"step of a GPT: {what}, float32", transformer)
    yield Case(f"step of a GPT: {what}, autocast", lambda torch: transformer(torch, True))


def cases(small: bool) -> list[Case]:
    n = 1 << 12 if small else 1 << 28
    made = [*launches(), *copies(n), *rows(*((4, 64) if small else (16384, 4096)))]
    made += [*adam(n if small else 1 << 27), *matmul(*((64, 2) if small else (8192, 12)))]
    made += [*attention(*((1, 2, 16) if small else (8, 12, 1024)))]
    return [*made, *steps(small)]


# Measuring


def seconds(torch, function: Callable, calls: int) -> float:
    """Of one call, in a round of so many; the GPU is idle before it, and after it."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def measure(case: Case, libraries: list, small: bool) -> list[float]:
    """Seconds for each library, which take turns; if `small`, of one call."""
    functions = [case.make(torch) for torch in libraries]
    for function in functions:
        function()  # compiles
    rounds, calls = 1, [1] * len(libraries)
    if not small:
        rounds = ROUNDS
        for i, torch in enumerate(libraries):
            seconds(torch, functions[i], WARM_UP)  # fills the pools of memory
            calls[i] = max(1, min(1000, int(SECONDS / seconds(torch, functions[i], WARM_UP))))
    taken: list[list[float]] = [[] for _ in libraries]
    for _ in range(rounds):
        for i, torch in enumerate(libraries):
            taken[i].append(seconds(torch, functions[i], calls[i]))
    return [statistics.median(times) for times in taken]


def attempt(case: Case, libraries: list, small: bool) -> list[float] | str:
    """`measure`, or in words why it cannot be. Gives all of the case's memory back."""
    try:
        return measure(case, libraries, small)
    except NotImplementedError as error:
        return f"not there: {error}"
    except (MemoryError, RuntimeError) as error:  # CuPy's, and PyTorch's
        if "memory" not in str(error).lower():
            raise
        return "not enough memory on this GPU"
    finally:
        gc.collect()  # models and optimizers are cycles
        for torch in libraries:
            torch.cuda.empty_cache()


HEADINGS = "", "ours, ms", "PyTorch, ms", "ratio", "achieved", "of a copy"


def describe(case: Case, taken: list[float], copy: float) -> list[str]:
    """A row: milliseconds of ours and PyTorch's, their ratio, and what was achieved by ours."""
    ours, *theirs = taken
    row = [case.name, f"{1e3 * ours:.3f}"]
    row += [f"{1e3 * theirs[0]:.3f}", f"{ours / theirs[0]:.2f}"] if theirs else ["", ""]
    if case.bytes:
        bandwidth = case.bytes / ours
        return [*row, f"{bandwidth / 1e9:.0f} GB/s", f"{bandwidth / copy:.0%}" if copy else ""]
    return [*row, f"{case.flops / ours / 1e12:.2f} TFLOP/s" if case.flops else "", ""]


def line(row: list[str] | tuple, markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(row)} |"
    return f"{row[0]:62}{'  '.join(f'{cell:>12}' for cell in row[1:])}".rstrip()


def pytorch() -> Any:
    """PyTorch, if it is here and sees the GPU that is ours; without TF32."""
    if os.environ.get(runtime.VARIABLE):
        return None
    try:
        import torch
    except ImportError:
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch if torch.cuda.is_available() else None


def what_runs(theirs: Any) -> str:
    """The GPU, and the versions of what uses it."""
    gpu, ours = minitorch.cuda.get_device_name(), runtime.library()
    words = [gpu, f"CuPy {getattr(ours, '__version__', '(emulated)')}"]
    words += [f"PyTorch {theirs.__version__}"] if theirs else ["PyTorch sees no GPU: ours alone"]
    return ", ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes, for the emulator")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases whose names have a word")
    parser.add_argument("--markdown", action="store_true", help="a table for the docs")
    args = parser.parse_args()
    if not minitorch.cuda.is_available():
        sys.exit(
            f"no GPU: {runtime.found()[1]}. "
            "MINITORCH_CUDA=emulate python benchmarks/gpu.py --small shows that it runs"
        )
    theirs = pytorch()
    libraries = [minitorch] if theirs is None else [minitorch, theirs]

    print(what_runs(theirs) + "\n" * args.markdown)
    print(line(HEADINGS, args.markdown))
    if args.markdown:
        print(line(["---"] * len(HEADINGS), True))
    copy = 0.0
    for case in cases(args.small):
        if args.only and case.name != "copy" and not any(w in case.name for w in args.only):
            continue
        taken = attempt(case, libraries, args.small)
        if isinstance(taken, str):
            row = [case.name, taken, "", "", "", ""]
        else:
            if case.name == "copy":
                copy = case.bytes / min(taken)  # the faster of the two is what memory can do
            row = describe(case, taken, copy)
        print(line(row, args.markdown), flush=True)


if __name__ == "__main__":
    main()
