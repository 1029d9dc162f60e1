"""Running sums and their like on the emulated GPU: scan.cu against NumPy."""

import ml_dtypes
import numpy as np
import pytest

from minitorch.kernels.cuda import accumulate, scan

from .twins import close, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16, "int64", "int32"]
OPERATIONS = ["add", "multiply", "maximum", "minimum", "logaddexp"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1,), 0), ((0,), 0), ((3, 0), 1), ((0, 3), 1), ((5,), 0), ((2, 33), -1), ((300, 3), 0),
     ((2, 700), 1)],
)  # fmt: skip
def test_like_numpy(shape, axis, operation, dtype):
    x = np.random.default_rng(0).standard_normal(shape)
    x = (1 + x / 50 if operation == "multiply" else x * 4).astype(dtype)
    if operation == "logaddexp" and x.dtype.kind == "i":
        return
    wide = x.astype("f") if x.dtype.itemsize == 2 else x
    expected = getattr(np, operation).accumulate(wide, axis).astype(dtype)
    close(accumulate(to_device(x), operation, axis), expected, scale=20)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n", [16, 17, 300])
def test_rows_of_several_pieces(n, operation, monkeypatch):
    monkeypatch.setattr(scan, "WIDTH", 16)
    x = np.random.default_rng(0).standard_normal((2, n)) * (0.1 if operation == "multiply" else 1)
    x += operation == "multiply"
    expected = getattr(np, operation).accumulate(x, 1)
    close(accumulate(to_device(x), operation, 1), expected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_special_values(operation):
    inf, nan = np.inf, np.nan
    x = np.array([[-inf, -inf, 1, inf, 2], [inf, inf, 1, -3, 2], [1, nan, 2, inf, -inf]], "f")
    with np.errstate(invalid="ignore"):
        expected = getattr(np, operation).accumulate(x, 1)
    close(accumulate(to_device(x), operation, 1), expected)
