"""lgamma and digamma, which climb and reflect: to the last digits, over the whole range."""

import math

import numpy as np
import pytest
import torch

from minitorch import kernels


def arguments() -> np.ndarray:
    rng = np.random.default_rng(0)
    around = [1 + rng.normal(size=2000) * 1e-5, 2 + rng.normal(size=2000) * 1e-5]
    far = 10.0 ** rng.uniform(-38, 36, 2000)
    return np.concatenate([rng.normal(size=9000) * 5, rng.uniform(0, 20, 9000), *around, far])


def test_lgamma():
    x = arguments().astype(np.float32)
    exact = np.array([math.lgamma(v) for v in x])
    np.testing.assert_allclose(kernels.lgamma(x), exact, rtol=6.1e-8, atol=4e-15)
    np.testing.assert_allclose(kernels.lgamma(x.astype(np.float64)), exact, rtol=1e-13, atol=1e-14)


def test_digamma():
    x = arguments().astype(np.float32).astype(np.float64)
    exact = torch.from_numpy(x).digamma().numpy()
    np.testing.assert_allclose(kernels.digamma(x), exact, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_and_the_poles(name, dtype):
    x = np.array([0, -0.0, -1, -2, -30, 1, 2, 100, np.inf, np.nan, 1e-40, -1e-40, 3e38], dtype)
    if name == "lgamma":
        x = np.append(x, np.asarray(-np.inf, dtype))
    expected = getattr(torch, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(getattr(kernels, name)(x), expected, rtol=1e-6, atol=1e-14)
