"""make_tensor: PyTorch's numbers, layouts and errors."""

import warnings

import numpy as np
import pytest
import torch

import minitorch
from tests.testing.alike import array_of

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"


def make(T, *shape, dtype="float32", **options):
    T.manual_seed(7)
    return T.testing.make_tensor(*shape, dtype=getattr(T, dtype), device="cpu", **options)


@pytest.mark.parametrize("dtype", DTYPES.split())
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"low": 0, "high": 2},
        {"low": 0.5, "high": 2.5},
        {"low": -1e30, "high": 1e30},
        {"noncontiguous": True},
        {"low": 0, "high": 2, "exclude_zero": True},
    ],
    ids=str,
)
def test_same_numbers_as_pytorch(dtype, options):
    if dtype == "int64" and options.get("high") == 1e30:
        pytest.skip("PyTorch's bounds for int64 do not fit into an int64 themselves")
    for shape in ((3, 4), (2, 0), (), (1,), (17,)):
        ours, theirs = (make(T, *shape, dtype=dtype, **options) for T in (minitorch, torch))
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert ours.stride() == theirs.stride() or not ours.numel()
        if dtype == "bfloat16":
            ours, theirs = ours.float(), theirs.float()
        np.testing.assert_array_equal(array_of(ours), array_of(theirs))


def test_shapes_and_flags(T):
    assert tuple(make(T, (2, 3)).shape) == tuple(make(T, [2, 3]).shape) == (2, 3)
    assert make(T, 2, requires_grad=True).requires_grad and not make(T, 2).requires_grad
    assert make(T, 2, 3, noncontiguous=True).stride() == (6, 2)


WRONG = {
    "empty interval": {"low": 2, "high": 1},
    "nan": {"low": float("nan")},
    "outside": {"dtype": "uint8", "low": 300, "high": 400},
    "gradient of integers": {"dtype": "int64", "requires_grad": True},
    "two layouts": {"noncontiguous": True, "memory_format": "some"},
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(T, name):
    with pytest.raises(ValueError):
        make(T, 3, **WRONG[name])


def test_one_value(T):
    with pytest.warns(FutureWarning, match="torch.full"):
        assert make(T, 3, low=2.0, high=2.0).tolist() == [2, 2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(T, 3, low=2.0, high=2.5)
