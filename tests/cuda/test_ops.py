"""Every operation on device "cuda", against PyTorch on the CPU: tests/opinfo once more.

The tensors are on cuda:1 while cuda:0 is the current one, so that an operation that computes where
it should not is found as well. What differs on the CPU (tests/opinfo/known.tsv) may differ here;
known.tsv beside this file has what differs here alone.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import minitorch
from tests.opinfo import twins
from tests.opinfo.check import EVERY_KIND, INFORMATION, Tally, check
from tests.opinfo.test_opinfo import each_op, known, one_thread  # noqa: F401

from .gpus import OTHER

COMPARED = EVERY_KIND - set(INFORMATION)
HERE = Path(__file__).with_name("known.tsv")


@functools.cache
def known_here() -> dict[tuple[str, str, str], int]:
    """{(op, kind, dtype): how many samples differ on the GPU alone}"""
    lines = [line.split("\t") for line in HERE.read_text().splitlines()]
    return {(name, kind, dtype): int(count) for name, kind, dtype, count in lines}


@pytest.fixture(autouse=True)
def on_the_second_gpu(monkeypatch):
    monkeypatch.setattr(twins, "DEVICE", OTHER)
    monkeypatch.setenv("MINITORCH_CUDA_CHECKS", "0")  # the kernels have tests of their own


def assert_nothing_new(tally: Tally) -> None:
    accepted = known().get(tally.name, {})
    wrong = []
    for (kind, dtype), (good, total) in tally.counts.items():
        allowed = accepted.get((kind, dtype), 0) + known_here().get((tally.name, kind, dtype), 0)
        if total - good > allowed:
            failures = [f for f in tally.failures if (f.kind, f.dtype) == (kind, dtype)]
            wrong += [f"{tally.name} {failure}" for failure in failures[:3]]
    assert not wrong, "\n".join(wrong)


@each_op
def test_some_samples(op):
    """A few samples, values and gradients."""
    assert_nothing_new(check(op, ("float32", "int64"), 2, {"forward", "grad"}))
    assert minitorch.cuda.current_device() == 0


def several(x):
    return x.unsqueeze(1)[:50] * x[:7].unsqueeze(0)


LARGE = {
    "abs": lambda x: x.abs(),
    "all": lambda x: (x > -9).all(1),
    "argmax": lambda x: x.argmax(1),
    "argsort": lambda x: x.argsort(stable=True),
    "broadcast": several,
    "ceil": lambda x: x.ceil(),
    "clamp": lambda x: x.clamp(-1, 0.5),
    "count_nonzero": lambda x: (x > 0).sum(0),
    "cummax": lambda x: x.cummax(1).indices,
    "cumsum": lambda x: x.cumsum(0),
    "fmod": lambda x: x.fmod(0.3),
    "heaviside": lambda x: x.heaviside(x[0]),
    "hypot": lambda x: x.hypot(x + 1),
    "index": lambda x: x[minitorch.arange(0, 300, 2, device=x.device)],
    "isclose": lambda x: x.isclose(x + 1e-6),
    "kthvalue": lambda x: x.kthvalue(200).values,
    "leaky_relu": lambda x: minitorch.nn.functional.leaky_relu(x, 0.1),
    "logaddexp": lambda x: x.logaddexp(x[0]),
    "logsumexp": lambda x: x.logsumexp(1),
    "masked_fill": lambda x: x.masked_fill(x > 0, 3.0),
    "matmul": lambda x: x @ x.t(),
    "max": lambda x: x.max(0).values,
    "maximum": lambda x: x.maximum(x.flip(0)),
    "mean": lambda x: x.mean(),
    "median": lambda x: x.median(),
    "norm": lambda x: x.norm(),
    "norm_1": lambda x: x.norm(1, 0),
    "pow": lambda x: x.abs() ** 2.5,
    "prod": lambda x: x[:, :5].prod(1),
    "relu": lambda x: x.relu(),
    "remainder": lambda x: x.remainder(0.7),
    "round": lambda x: x.round(),
    "scatter_add": lambda x: x.scatter_add(1, (x * 0).long(), x),
    "sigmoid": lambda x: x.sigmoid(),
    "sign": lambda x: x.sign(),
    "softmax": lambda x: x.softmax(1),
    "sort": lambda x: x.sort(0, descending=True).values,
    "sqrt": lambda x: x.abs().sqrt(),
    "std": lambda x: x.std(1),
    "sum": lambda x: x.sum(),
    "tanh": lambda x: x.tanh(),
    "topk": lambda x: x.topk(3).values,
    "tril": lambda x: x.tril(),
    "trunc": lambda x: x.trunc(),
    "unique": lambda x: x.sign().unique(),
    "var": lambda x: x.var(),
    "where": lambda x: minitorch.where(x > 0, x, -x),
}


@pytest.mark.parametrize("function", LARGE.values(), ids=LARGE)
def test_large_tensors(function):
    """Above a few thousand elements the CPU often has a way of its own, that a GPU must not go."""
    minitorch.manual_seed(0)
    x, results = minitorch.randn(300, 256), []
    for device in ("cpu", OTHER):
        leaf = x.to(device).detach().requires_grad_()
        out = function(leaf)
        if out.requires_grad:
            out.sum().backward()
        results.append([t.detach().cpu() for t in (out, leaf.grad) if t is not None])
    for there, here in zip(*results, strict=True):
        assert minitorch.allclose(there.double(), here.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@each_op
def test_more_samples(op):
    """More of them, in each dtype and in every way."""
    assert_nothing_new(check(op, limit=4, kinds=COMPARED))
    assert minitorch.cuda.current_device() == 0
