"""The quick conversion to float16 is NumPy's, bit for bit."""

import importlib

import numpy as np
import pytest

import minitorch as torch
from minitorch.kernels.cpu.half import FEW, astype


def assert_same(x):
    with np.errstate(all="ignore"):
        expected, got = x.astype(np.float16), astype(x, np.float16)
    assert got.dtype == np.float16 and got.shape == x.shape
    wrong = expected.view(np.uint16) != got.view(np.uint16)
    assert not wrong.any(), (x[wrong][:5], expected[wrong][:5], got[wrong][:5])


def neighbours() -> np.ndarray:
    """Each float16, the tie above it, and the float32 numbers next to both."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves + np.append(halves[1:], np.float32(65536))) / 2
    near = np.concatenate([halves, ties]).view(np.uint32)
    near = np.concatenate([near, near + 1, np.maximum(near, 1) - 1]).view(np.float32)
    return np.concatenate([near, -near])


def test_every_float16_and_every_tie(monkeypatch):
    # Blocks so small that most have nothing which rounds to infinity.
    monkeypatch.setattr(importlib.import_module("minitorch.kernels.cpu.half"), "BLOCK", 1 << 10)
    assert_same(neighbours())


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e-8, 1e-30, 1e4])
def test_random_numbers(scale):
    x = np.random.default_rng(0).standard_normal((300, 1001)).astype(np.float32)
    assert_same(x * np.float32(scale))


@pytest.mark.parametrize("special", [np.nan, -np.inf, 65519.996, -65520.0, 1e30])
def test_blocks_that_leave_the_range(special):
    x = np.linspace(-1, 1, 3 * FEW, dtype=np.float32)
    x[7] = special
    assert_same(x)


@pytest.mark.slow
def test_all_float32_in_reach():
    """From 2^-26, which rounds to 0, to 2^17, which is infinite; others have no bits to lose."""
    for exponent in range(127 - 26, 127 + 17):
        bits = np.arange(exponent << 23, (exponent + 1) << 23, dtype=np.uint32)
        assert_same(bits.view(np.float32))


def test_half_of_a_tensor_is_quick_and_differentiable(monkeypatch):
    narrowed = []
    module = importlib.import_module("minitorch.kernels.cpu.half")
    narrow = module._narrow
    monkeypatch.setattr(module, "_narrow", lambda *a: (narrowed.append(1), narrow(*a)))
    x = torch.randn(100, 100, requires_grad=True)
    x.half().sum().backward()
    assert narrowed and (x.grad == 1).all()
    assert x.detach().t().half().stride() == (1, 100), "the order in memory is kept"
