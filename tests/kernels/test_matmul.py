"""The matrix product that is cut up among threads gives what NumPy gives in one piece."""

import importlib

import ml_dtypes
import numpy as np
import pytest

from minitorch import kernels

module = importlib.import_module("minitorch.kernels.cpu.matmul")  # not the function

SHAPES = [
    ((40, 30), (30, 20)),
    ((20, 30), (30, 40)),
    ((1, 30), (30, 64)),
    ((5, 8, 6), (5, 6, 7)),
    ((3, 4, 8, 6), (3, 4, 6, 7)),
    ((5, 8, 6), (6, 7)),
    ((4, 1, 8, 6), (3, 6, 7)),
    ((0, 30), (30, 20)),
    ((30,), (30, 20)),
    ((5, 8, 30), (30,)),
]


@pytest.fixture(params=["whole", "cut up"])
def threads(request, monkeypatch):
    before = kernels.get_num_threads()
    if request.param == "cut up":
        monkeypatch.setattr(module, "GRAIN", 16)
        kernels.set_num_threads(3)
    yield
    kernels.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bfloat16"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_matmul(shapes, dtype, transposed, threads):
    rng = np.random.default_rng(0)
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    a, b = [rng.integers(-4, 5, s).astype(kind) for s in shapes]
    if transposed and b.ndim > 1:
        b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    got = kernels.matmul(a, b)
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.astype(np.float64), expected.astype(got.dtype))


def test_large_products_are_cut_up(monkeypatch):
    pieces = []
    original = module.parallel_for
    monkeypatch.setattr(
        module, "parallel_for", lambda n, *rest: pieces.append(n) or original(n, *rest)
    )
    kernels.matmul(np.ones((256, 256)), np.ones((256, 256)))
    kernels.matmul(np.ones((8, 8)), np.ones((8, 8)))
    assert pieces == [256]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("size", [7, 2**26, 2**62])
def test_integers_are_exact_and_wrap_around(dtype, size):
    rng = np.random.default_rng(0)
    a = rng.integers(-size, size, (3, 40, 50)).astype(dtype)
    b = rng.integers(-size, size, (3, 50, 30)).astype(dtype)
    for x, y in [(a, b), (a[0], b[0]), (a[0], b[0, :, 0]), (a, b[1])]:
        got = kernels.matmul(x, y)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, np.matmul(x, y))


@pytest.mark.parametrize("columns, folded", [(3, False), (64, True)])
def test_rows_of_a_batch_times_a_matrix(columns, folded, monkeypatch):
    """One product of all rows, if they follow each other or may be copied to."""
    linalg = importlib.import_module("minitorch.ops.linalg")
    dims = []
    plain = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda a, b: (dims.append(a.ndim), plain(a, b))[1])
    random = np.random.default_rng(0)
    b = random.standard_normal((6, columns))
    in_order = random.standard_normal((4, 5, 6))
    for a in (in_order, in_order[:, ::-1], in_order.transpose(1, 0, 2), in_order[:0]):
        np.testing.assert_allclose(linalg.product(a, b), np.matmul(a, b), rtol=1e-12)
    assert dims == [2, 2 if folded else 3, 2 if folded else 3, 3]
