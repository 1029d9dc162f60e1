"""kernels.inverse of many small matrices, against LAPACK."""

import importlib

import numpy as np
import pytest

from minitorch import kernels

inverse = importlib.import_module("minitorch.kernels.cpu.inverse")  # not the function


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", range(1, inverse.SMALL + 2))
def test_like_lapack(n, dtype):
    A = np.random.default_rng(n).standard_normal((2, 3 * inverse.MANY, n, n)).astype(dtype)
    A[0, 0] = np.eye(n)[::-1]  # with zeros for its first pivots
    got, exact = kernels.inverse(A), np.linalg.inv(A.astype(np.float64))
    assert got.dtype == dtype and got.shape == A.shape
    error = np.abs(got - exact).max((-2, -1)) / np.abs(exact).max((-2, -1))
    assert (error / np.linalg.cond(A.astype(np.float64))).max() < 4 * np.finfo(dtype).eps
    np.testing.assert_array_equal(kernels.inverse(A.mT), kernels.inverse(A.mT.copy()))


def test_several_blocks_and_threads(monkeypatch):
    A = np.random.default_rng(0).standard_normal((1000, 3, 3))
    expected = kernels.inverse(A)
    monkeypatch.setattr(inverse, "_BLOCK", 9 * 64)
    np.testing.assert_array_equal(kernels.inverse(A), expected)


def test_a_singular_matrix_is_an_error():
    A = np.random.default_rng(0).standard_normal((inverse.MANY, 3, 3))
    A[7, 2] = A[7, 1] = 0
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        kernels.inverse(A)
