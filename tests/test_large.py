"""The benchmark's operations on large tensors against PyTorch: the ways through threads and pieces,
which the small samples of the other tests never take."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import minitorch

pytestmark = pytest.mark.slow

_path = Path(__file__).parents[1] / "benchmarks" / "ops.py"
_spec = importlib.util.spec_from_file_location("benchmarks_ops", _path)
benchmark = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(benchmark)

SIZE = 700_000
# Where a product of so many numbers, or a tiny variance, leaves few digits.
LOOSE = {"group_norm": 1e-2, "cumprod": 1e-2, "chain of 20": 1e-3}


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = minitorch.get_num_threads()
    minitorch.set_num_threads(request.param)
    yield request.param
    minitorch.set_num_threads(before)


def distinct(rng, shape) -> np.ndarray:
    """Numbers from 0.5 to 1.5, no two equal: sorting names one order of them."""
    return rng.permutation(np.linspace(0.5, 1.5, np.prod(shape), dtype=np.float32)).reshape(shape)


@pytest.mark.parametrize("case", benchmark.CASES, ids=lambda case: case.name)
def test_values_and_gradients(case, threads):
    rng = np.random.default_rng(0)
    arrays = [distinct(rng, shape) for shape in case.shapes(SIZE)]
    found = []
    for T in (minitorch, torch):
        inputs = [T.tensor(a, requires_grad=True) for a in arrays]
        out = case.function(T, *inputs)
        weights = np.random.default_rng(1).standard_normal(tuple(out.shape)).astype(np.float32)
        out.backward(T.tensor(weights))
        found.append([out.detach().numpy(), *[x.grad.numpy() for x in inputs]])
    tolerance = LOOSE.get(case.name, 1e-4)
    for ours, theirs in zip(*found, strict=True):
        scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-30)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * min(scale, 100))
