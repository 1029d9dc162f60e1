"""assert_close and assert_allclose: what passes, and PyTorch's own words for what does not."""

import re
import warnings

import numpy as np
import pytest
import torch

import minitorch


def message(T, actual, expected, **options):
    """What assert_close says, or None."""
    values = [v(T) if callable(v) else v for v in (actual, expected)]
    try:
        T.testing.assert_close(*values, **options)
    except (AssertionError, ValueError, TypeError) as error:
        # tensors inside of PyTorch's messages have other class names
        return type(error), re.sub(r"(mini)?torch(\.tensor)?\.Tensor", "Tensor", str(error))
    return None


def tensor(values, dtype=None):
    return lambda T: T.tensor(values, dtype=dtype and getattr(T, dtype))


ROWS = tensor([[1.0, 2.0], [3.0, 4.0]])
CASES = {  # (actual, expected, options)
    "equal": (ROWS, ROWS, {}),
    "within": (tensor([1.0, 2.0]), tensor([1.0, 2.0 + 2e-6]), {}),
    "beyond": (tensor([1.0, 2.0, 3.0]), tensor([1.0, 2.1, 3.5]), {}),
    "matrix": (ROWS, tensor([[1.0, 2.0], [3.5, 4.25]]), {}),
    "exact": (ROWS, tensor([[1.0, 2.0], [3.0, 4.5]]), {"rtol": 0, "atol": 0}),
    "0-d": (tensor(1.0), tensor(2.0), {}),
    "0-d zero": (tensor(1.0), tensor(0.0), {}),
    "integers": (tensor([1, 2]), tensor([1, 3]), {}),
    "uint8": (tensor([1, 200], "uint8"), tensor([3, 1], "uint8"), {}),
    "bools": (tensor([True, False]), tensor([True, True]), {}),
    "nan": (tensor([np.nan]), tensor([np.nan]), {}),
    "equal nan": (tensor([np.nan, 1.0]), tensor([np.nan, 1.0]), {"equal_nan": True}),
    "inf": (tensor([np.inf, -np.inf]), tensor([np.inf, -np.inf]), {}),
    "inf and finite": (tensor([np.inf, 1.0]), tensor([1.0, np.inf]), {}),
    "float64": (tensor([1.0], "float64"), tensor([1.0 + 1e-5], "float64"), {}),
    "float64 within": (tensor([1.0], "float64"), tensor([1.0 + 1e-7], "float64"), {}),
    "float16": (tensor([1.0], "float16"), tensor([1.002], "float16"), {}),
    "bfloat16": (tensor([1.0], "bfloat16"), tensor([1.01], "bfloat16"), {}),
    "complex": (tensor([1 + 1j]), tensor([1 + 2j]), {}),
    "complex within": (tensor([1 + 1j]), tensor([1 + 1j]), {}),
    "dtype": (tensor([1.0]), tensor([1.0], "float64"), {}),
    "dtype unchecked": (tensor([1.0]), tensor([1], "int64"), {"check_dtype": False}),
    "dtype unchecked, wrong": (tensor([1.5]), tensor([1], "int64"), {"check_dtype": False}),
    "shape": (ROWS, tensor([1.0, 2.0]), {}),
    "stride": (ROWS, lambda T: T.tensor([[1.0, 3.0], [2.0, 4.0]]).t(), {"check_stride": True}),
    "stride unchecked": (ROWS, lambda T: T.tensor([[1.0, 3.0], [2.0, 4.0]]).t(), {}),
    "one tolerance": (ROWS, ROWS, {"rtol": 1e-3}),
    "own tolerances": (tensor([1.0]), tensor([1.1]), {"rtol": 0.2, "atol": 0}),
    "equal infinities, another wrong": (tensor([np.inf, 1.0]), tensor([np.inf, 2.0]), {}),
    "equal zeros, another wrong": (tensor([0.0, 1.0]), tensor([0.0, 2.0]), {}),
    "empty": (tensor([]), tensor([]), {}),
    "numbers": (1.0, 1.0 + 1e-6, {}),
    "close numbers": (1.0, 1.0 + 1e-9, {}),
    "integer and float": (1, 1.0, {}),
    "integer and float, within": (1, 1.0, {"check_dtype": False}),
    "complex numbers": (1j, 2j, {}),
    "numpy numbers": (np.float32(1), 2.0, {}),
    "booleans": (True, False, {}),
    "None": (None, None, {}),
    "None and a tensor": (None, 1.0, {}),
    "lists": ([1.0, 2.0], [1.0, 3.0], {}),
    "nested": (
        lambda T: {"a": [T.ones(2), T.zeros(2)]},
        lambda T: {"a": [T.ones(2), T.ones(2)]},
        {},
    ),
    "lengths": ([1.0], [1.0, 2.0], {}),
    "nested lengths": ({"a": [1]}, {"a": [1, 2]}, {}),
    "keys": ({"a": 1, "b": 2}, {"a": 1, "c": 2}, {}),
    "strings": ("a", "a", {}),
    "a list and a tensor": ([1.0], ROWS, {}),
    "arrays": (np.ones(2), np.zeros(2), {}),
    "an array and a tensor": (np.ones(2), tensor([1.0, 1.0]), {}),
    "own message": (1, 2, {"msg": "not the same"}),
    "longer message": (1, 2, {"msg": lambda text: "Look: " + text}),
    "subclass": (lambda T: T.nn.Parameter(T.ones(2)), lambda T: T.ones(2), {}),
    "subclass refused": (
        lambda T: T.nn.Parameter(T.ones(2)),
        lambda T: T.ones(2),
        {"allow_subclasses": False},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_words_as_pytorch(name):
    actual, expected, options = CASES[name]
    ours, theirs = (message(T, actual, expected, **options) for T in (minitorch, torch))
    if theirs is None or ours is None:
        assert ours is theirs
        return
    assert ours[0] is theirs[0]
    words = [re.sub(r"minitorch[\w.]*|torch[\w.]*", "torch", text) for _, text in (ours, theirs)]
    for a, b in zip(*[split_numbers(text) for text in words], strict=True):
        assert a == b or float(a) == pytest.approx(float(b), rel=1e-5)


def split_numbers(text):
    return re.split(r"(?<=[ (\[])(-?[\d.]+(?:e-?\d+)?)(?=[ )\],\n]|$)", text)


def test_assert_allclose(T):
    with pytest.warns(FutureWarning, match="deprecated"):
        T.testing.assert_allclose(T.tensor([1.0, float("nan")]), [1.00005, float("nan")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        T.testing.assert_allclose(T.tensor([1.0]), T.tensor([1.5]), rtol=1, atol=0)
        with pytest.raises(AssertionError, match="not close"):
            T.testing.assert_allclose(T.tensor([1.0]), T.tensor([1.01]))
