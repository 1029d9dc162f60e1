"""minitorch against the samples of PyTorch's own test suite.

An op is found by its name: whatever minitorch has that PyTorch has an OpInfo for is tested here,
with no further listing. known.tsv says what is known to differ; anything else that differs is an
error. `python -m tests.opinfo NAME` shows more of it; `--write` accepts what there is now.
"""

from __future__ import annotations

import functools

import pytest
import torch

import minitorch

from . import scope
from .check import EVERY_KIND, INFORMATION, Tally, check, every_op
from .report import KNOWN, REAL

OPS = [op for op in every_op() if not scope.is_missing(op)]
COMPARED = EVERY_KIND - set(INFORMATION)
each_op = pytest.mark.parametrize("op", OPS, ids=scope.full_name)


@functools.cache
def known() -> dict[str, dict[tuple[str, str], int]]:
    """{op: {(kind, dtype): how many samples differ}}"""
    found: dict[str, dict[tuple[str, str], int]] = {}
    for line in KNOWN.read_text().splitlines():
        name, kind, dtype, count = line.split("\t")
        found.setdefault(name, {})[kind, dtype] = int(count)
    return found


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads(), minitorch.get_num_threads()
    torch.set_num_threads(1)
    minitorch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    minitorch.set_num_threads(before[1])


def assert_nothing_new(tally: Tally) -> None:
    accepted = known().get(tally.name, {})
    wrong = []
    for (kind, dtype), (good, total) in tally.counts.items():
        if total - good > accepted.get((kind, dtype), 0):
            failures = [f for f in tally.failures if (f.kind, f.dtype) == (kind, dtype)]
            wrong += [f"{tally.name} {failure}" for failure in failures[:3]]
    assert not wrong, "\n".join(wrong)


@each_op
def test_some_samples(op):
    """A few samples, compared in every way."""
    assert_nothing_new(check(op, REAL, 3, COMPARED))


@pytest.mark.slow
@pytest.mark.timeout(600)
@each_op
def test_every_sample(op):
    assert_nothing_new(check(op, kinds=COMPARED))


def test_nothing_has_gone_missing():
    """An op that minitorch had is still there."""
    gone = {scope.full_name(op) for op in every_op() if scope.is_missing(op)}
    expected = {name for name, kinds in known().items() if ("missing", "") in kinds}
    assert sorted(gone - expected) == []


def test_a_wrong_op_is_noticed(monkeypatch):
    """The comparison can fail, in each kind."""
    op = next(op for op in OPS if op.name == "exp")
    assert_nothing_new(check(op, ("float64",)))
    monkeypatch.setattr(minitorch, "exp", minitorch.exp2)
    monkeypatch.setattr(minitorch.Tensor, "exp", minitorch.exp2)
    monkeypatch.setattr(minitorch.Tensor, "exp_", minitorch.Tensor.exp2_)
    tally = check(op, ("float64", "float32"))
    wrong = {kind for (kind, _), (good, total) in tally.counts.items() if good < total}
    assert wrong == {"forward", "grad", "gradgrad", "strided", "method", "inplace", "out"}
