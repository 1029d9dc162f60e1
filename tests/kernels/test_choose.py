"""kernels.where chooses what np.where chooses, bit for bit."""

import numpy as np
import pytest

from minitorch import kernels
from minitorch.kernels.cpu.choose import FEW


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("n", [10, 4 * FEW])
def test_bit_for_bit(dtype, n):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=n) * 9 for _ in range(2))
    a, b = a.astype(dtype), b.astype(dtype)
    if a.dtype.kind == "f":
        a[:6] = b[3:9] = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0]
    condition = rng.random(n) < 0.5
    pairs = [(a, b), (a, 0), (0, b), (a, 2), (3, b), (a, b[:1]), (a, b[7:8].reshape(()))]
    pairs += [(np.asarray(0, dtype), b), (a, np.asarray(-0.0, dtype))]
    for x, y in pairs:
        got, expected = kernels.where(condition, x, y), np.where(condition, x, y)
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()


def test_broadcast():
    rng = np.random.default_rng(0)
    condition, a, b = rng.random((100, 200)) < 0.5, rng.normal(size=200), rng.normal(size=(100, 1))
    np.testing.assert_array_equal(kernels.where(condition, a, b), np.where(condition, a, b))
    tall = rng.normal(size=(3, 100, 200))
    np.testing.assert_array_equal(kernels.where(condition, a, tall), np.where(condition, a, tall))
    np.testing.assert_array_equal(kernels.where(condition, tall, b), np.where(condition, tall, b))
