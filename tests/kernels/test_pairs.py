"""The quick formulas for pairs of numbers: NumPy's results bit for bit, or the nearest float."""

import numpy as np
import pytest
import torch

from minitorch import kernels

N = 70_000  # several blocks, the last one not full


def pairs(kind: str) -> np.ndarray:
    """Two float32 arrays."""
    rng = np.random.default_rng(0)
    if kind == "normal":
        return rng.standard_normal((2, N)).astype(np.float32)
    if kind == "any bits":
        return rng.integers(0, 2**32, (2, N)).astype(np.uint32).view(np.float32)
    if kind == "extremes":
        few = [0, -0.0, 1, -1, 2.5, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38]
        return rng.choice(np.array(few, np.float32), (2, N))
    if kind == "infinite divisors":
        return np.stack([rng.standard_normal(N), np.full(N, np.inf)]).astype(np.float32)
    if kind in ("tiny", "huge"):
        return (rng.standard_normal((2, N)) * {"tiny": 1e-25, "huge": 1e25}[kind]).astype(
            np.float32
        )
    if kind == "large quotients":
        return rng.standard_normal((2, N)).astype(np.float32) * np.float32([[1e12], [1]])
    if kind == "whole":
        return rng.choice(np.delete(np.arange(-50, 51), 50), (2, N)).astype(np.float32)
    y = rng.standard_normal(N).astype(np.float32)  # next to whole multiples
    x = (y.astype(np.float64) * rng.integers(-(2**20), 2**20, N)).astype(np.float32)
    return np.stack([np.nextafter(x, rng.choice([-np.inf, 0, np.inf], N).astype(np.float32)), y])


# What calls for precautions is alone in some of these: otherwise one block's nan hides another's.
KINDS = ["normal", "any bits", "extremes", "infinite divisors", "multiples"]
KINDS += ["tiny", "huge", "large quotients", "whole"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_division_is_exact(name, kind):
    x, y = pairs(kind)
    with np.errstate(all="ignore"):
        got, expected = getattr(kernels, name)(x, y), getattr(np, name)(x, y)
    np.testing.assert_array_equal(got, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(expected[there]))


@pytest.mark.parametrize("kind", KINDS)
def test_hypot(kind):
    x, y = pairs(kind)
    with np.errstate(all="ignore"):
        expected = np.hypot(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_max_ulp(kernels.hypot(x, y), expected, maxulp=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_logaddexp(kind, dtype):
    with np.errstate(all="ignore"):
        x, y = pairs(kind).astype(dtype)
        expected = np.logaddexp(x.astype(np.float64), y.astype(np.float64))
    tolerance = 4 * np.finfo(dtype).eps
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(kernels.logaddexp(x, y), expected, tolerance, tolerance)


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide", "hypot", "logaddexp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_broadcast_and_strided(name, dtype):
    x, y = pairs("normal").astype(dtype).reshape(2, 700, 100)
    for a, b in [(x.T, y.T), (x, y[0]), (x[:, :1], y), (x, np.asarray(0.7, dtype)), (x, 0.7)]:
        got = getattr(kernels, name)(a, b)
        other = b if isinstance(b, float) else torch.from_numpy(np.ascontiguousarray(b))
        first = torch.from_numpy(np.ascontiguousarray(a))
        if isinstance(b, float) and name in ("hypot", "logaddexp"):
            other = torch.tensor(b, dtype=first.dtype)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, getattr(torch, name)(first, other).numpy(), 1e-6, 1e-6)
