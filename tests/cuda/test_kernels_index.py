"""Adding to where indices say, on the emulated GPU: index.cu against NumPy."""

import ml_dtypes
import numpy as np
import pytest

from minitorch.kernels.cuda import scatter

from .twins import agree, close, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize(
    ("shape", "rows", "dim"),
    [((), 5, 3), ((0,), 5, 3), ((7,), 5, 0), ((7,), 5, 1), ((3, 50), 5, 33), ((40,), 1000, 70)],
)
def test_embedding_backward(shape, rows, dim, padding_idx, dtype):
    rng = np.random.default_rng(0)
    grad = rng.standard_normal((*shape, dim)).astype(dtype)
    indices = np.asarray(rng.integers(0, rows, shape))
    agree("embedding_backward", grad, indices, rows, padding_idx, scale=10)


def test_embedding_backward_with_int32_and_another_order():
    rng = np.random.default_rng(0)
    grad = rng.standard_normal((6, 20, 4)).astype("f").T
    agree("embedding_backward", grad, rng.integers(0, 9, (4, 20), np.int32), 9)


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "int32", "uint8"])
@pytest.mark.parametrize("operation", ["add", "multiply", "maximum", "minimum"])
@pytest.mark.parametrize(("rows", "dim", "n"), [(1, 1, 1), (7, 1, 300), (7, 5, 40), (3, 64, 30)])
def test_scatter(rows, dim, n, operation, dtype):
    rng = np.random.default_rng(0)
    indices = rng.integers(0, rows, n)
    size = (n if operation != "multiply" else min(n, 6), dim)
    values, out = ((rng.standard_normal(s) * 2).astype("f") for s in (size, (rows, dim)))
    values, out = (np.abs(a).astype(dtype) for a in (values, out))
    indices = indices[: len(values)]
    expected = out.astype("f" if out.dtype.itemsize == 2 else dtype)
    getattr(np, operation).at(expected, indices, values.astype(expected.dtype))
    on_device = to_device(out)
    scatter(on_device, to_device(indices), to_device(values), operation)
    close(on_device, expected.astype(dtype), scale=10)


def test_a_nan_is_the_extreme():
    values = to_device(np.array([[1.0], [np.nan], [2.0]], "f"))
    for operation in ("maximum", "minimum"):
        out = to_device(np.zeros((2, 1), "f"))
        scatter(out, to_device(np.array([1, 1, 1])), values, operation)
        close(out, np.array([[0], [np.nan]], "f"))


def test_scatter_of_complex_numbers():
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 4, 30)
    values, out = (rng.standard_normal((n, 5, 2)).view("D")[..., 0] for n in (30, 4))
    got = to_device(out)
    scatter(got, to_device(indices), to_device(values))
    np.add.at(out, indices, values)
    np.testing.assert_allclose(got.get(), out, rtol=1e-12)
