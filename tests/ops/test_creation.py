"""Tensors from values and ranges: PyTorch's types, and its numbers to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch

from .harness import assert_same, dtype_name

VALUES = [
    [np.float64(1)],
    np.float64(1),
    [1.0, np.float64(1)],
    [np.float32(1), np.float64(1)],
    [np.float32(1), 1.0],
    [np.float32(1), 2],
    [[np.float16(1)], [np.float16(2)]],
    [1, np.float64(2)],
    [np.int8(1)],
    [np.int8(1), 2],
    [np.array([1.0, 2.0]), np.array([3.0, 4.0])],
    [np.complex128(1)],
    [np.float64(1), 1j],
    [1.5, 1j],
    [True, 2],
    [True, 2, 3.0],
    [],
    [[], []],
    3,
    2.5,
    True,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_types_of_values(value):
    assert_same(minitorch.tensor(value), torch.tensor(value), repr(value))
    assert_same(
        minitorch.tensor(value, dtype=minitorch.complex128),
        torch.tensor(value, dtype=torch.complex128),
        repr(value),
    )


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "bool"])
def test_types_of_tensors_in_lists(dtype):
    def both(T):
        one = T.tensor(1, dtype=getattr(T, dtype))
        return [T.tensor([one]), T.tensor([one, one]), T.tensor([one, 2]), T.tensor([[one], [2.5]])]

    for ours, theirs in zip(both(minitorch), both(torch), strict=True):
        assert_same(ours, theirs, dtype)


def test_all_digits_are_kept(T):
    assert T.tensor([0.1, 1e-300], dtype=T.float64).tolist() == [0.1, 1e-300]
    assert T.tensor([2**53 + 1]).tolist() == [2**53 + 1]


@pytest.mark.parametrize(
    ("value", "error"),
    [("a", TypeError), (["a"], ValueError), ([[1], [1, 2]], ValueError), ([2**63], ValueError)],
    ids=repr,
)
def test_what_is_no_tensor(T, value, error):
    with pytest.raises(error):
        T.tensor(value)


FLOATS = st.integers(-(10**5), 10**5).map(lambda n: n / 1000)


@given(start=FLOATS, step=st.integers(10, 3000).map(lambda n: n / 1000), count=st.integers(1, 200))
def test_arange(start, step, count):
    end = start + step * (count - 0.5)
    for dtype in ("float32", "float64"):
        ours, theirs = (
            T.arange(start, end, step, dtype=getattr(T, dtype)) for T in (minitorch, torch)
        )
        assert ours.tolist() == theirs.tolist()


ARANGES = [(5,), (0,), (2, 7), (5, 0, -2), (0, 1, 0.1), (0.5, 3.6, 1), (2, 2), (0, 1, 0.5), (2.0,)]


@pytest.mark.parametrize("dtype", [None, "int64", "int32", "float64", "float16", "uint8"])
@pytest.mark.parametrize("arguments", ARANGES, ids=repr)
def test_arange_types(arguments, dtype):
    def outcome(T):
        try:
            return T.arange(*arguments, dtype=dtype and getattr(T, dtype))
        except (RuntimeError, ValueError):
            return None

    ours, theirs = outcome(minitorch), outcome(torch)
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        assert_same(ours, theirs, f"arange{arguments}")


@pytest.mark.parametrize("arguments", [(0, 1, 0), (0, 1, -1), (0, float("inf")), (float("nan"),)])
def test_wrong_aranges(T, arguments):
    with pytest.raises(RuntimeError):
        T.arange(*arguments)


@given(start=FLOATS, end=FLOATS, steps=st.integers(0, 200))
def test_linspace(start, end, steps):
    for dtype in ("float32", "int64", "int8"):
        ours, theirs = (
            T.linspace(start, end, steps, dtype=getattr(T, dtype)) for T in (minitorch, torch)
        )
        assert dtype_name(ours.dtype) == dtype
        assert ours.tolist() == theirs.tolist()


def test_linspace_of_integers(T):
    assert T.linspace(0, 10, 5, dtype=T.int64).tolist() == [0, 2, 5, 7, 10]
    assert T.linspace(-3, 7, 4, dtype=T.int32).tolist() == [-3, 0, 3, 7]
