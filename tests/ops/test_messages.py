"""What a newcomer gets wrong: the error is of PyTorch's type, and says what was wrong.

Each case runs on both packages; the words are what both messages, or only ours, have.
"""

import numpy as np
import pytest
import torch

import minitorch

CASES = {
    "cat of one tensor": (lambda T: T.cat(T.ones(2)), r"^cat\(\): argument 'tensors' \(position 1"),
    "stack of one tensor": (lambda T: T.stack(T.ones(2)), r"^stack\(\): argument 'tensors'"),
    "cat of nothing": (lambda T: T.cat([]), r"^torch.cat\(\): expected a non-empty list"),
    "cat with an array": (
        lambda T: T.cat([T.ones(2), np.ones(2)]),
        "expected Tensor as element 1 in argument 0, but got",
    ),
    "stack with a number": (
        lambda T: T.stack([T.ones(()), 2.0]),
        "expected Tensor as element 1 in argument 0, but got float",
    ),
    "embedding of floats": (
        lambda T: T.nn.Embedding(5, 2)(T.ones(2)),
        "argument #1 'indices' to have one of the following scalar types: Long, Int",
    ),
    "embedding out of range": (
        lambda T: T.nn.Embedding(5, 2)(T.tensor([5, 5])),
        "index out of range in self",
    ),
    "Linear of a string": (
        lambda T: T.nn.Linear(2, 2)("a"),
        r"^linear\(\): argument 'input' \(position 1\) must be Tensor, not str",
    ),
    "Linear of an array": (
        lambda T: T.nn.Linear(2, 2)(np.ones(2)),
        r"^linear\(\): argument 'input' \(position 1\) must be Tensor, not",
    ),
    "sum of a string": (
        lambda T: T.sum("a"),
        r"^sum\(\): argument 'input' \(position 1\) must be Tensor, not str",
    ),
    "sum of a list": (
        lambda T: T.sum([1, 2]),
        r"^sum\(\): argument 'input' \(position 1\) must be Tensor, not list",
    ),
    "where": (
        lambda T: T.where(T.ones(2), T.ones(2), T.ones(2)),
        "^where expected condition to be a boolean tensor, but got",
    ),
    "too many indices": (
        lambda T: T.ones(2)[0, 0, 0],
        "^too many indices for tensor of dimension 1",
    ),
    "too many indices to write": (
        lambda T: T.ones(2).__setitem__((0, 0, 0), 1),
        "^too many indices for tensor of dimension 1",
    ),
    "a mask too short": (
        lambda T: T.ones(3)[T.tensor([True, False])],
        "^The shape of the mask .* does not match the shape of the indexed tensor",
    ),
    "a mask too short to write": (
        lambda T: T.ones(2, 3).__setitem__(T.ones(2, 2) > 0, 1),
        "^The shape of the mask .* does not match the shape of the indexed tensor",
    ),
    "indices of two lengths": (
        lambda T: T.ones(3, 3)[T.tensor([0, 1]), T.tensor([0, 1, 2])],
        "shape mismatch: indexing tensors could not be broadcast",
    ),
    "solve of no square": (
        lambda T: T.linalg.solve(T.ones(2, 3), T.ones(2)),
        "linalg.solve: A must be batches of square matrices, but they are 2 by 3 matrices",
    ),
    "eye of rows": (lambda T: T.eye(-1), "^n must be greater or equal to 0, got -1$"),
    "eye of columns": (lambda T: T.eye(2, -3), "^m must be greater or equal to 0, got -3$"),
    "split": (
        lambda T: T.ones(3, 5).split([2, 2], 1),
        r"at dimension 1\), but got split_sizes=\[2, 2\]",
    ),
    "repeat of nothing": (
        lambda T: T.ones(2).repeat(),
        r"^repeat\(\) missing 1 required positional arguments: \"repeats\"",
    ),
    "add a list": (lambda T: T.add(T.ones(2), [1]), r"add\(\): argument 'other' .* not list"),
    "too many arguments": (
        lambda T: T.nn.functional.softplus(T.ones(2), 1, 2, 3, 4),
        r"^softplus\(\) takes from 1 to 3 positional arguments but 5 were given",
    ),
    "an argument nobody knows": (
        lambda T: T.exp(T.ones(2), base=2),
        r"^exp\(\) got an unexpected keyword argument 'base'",
    ),
    "size of no dimension": (
        lambda T: T.ones(2).size(3),
        r"expected to be in range of \[-1, 0\], but got 3",
    ),
    "stride of no dimension": (
        lambda T: T.ones(2, 2).stride(-3),
        r"expected to be in range of \[-2, 1\], but got -3",
    ),
    "tensor of None": (lambda T: T.tensor(None), "^Could not infer dtype of NoneType"),
}


@pytest.mark.parametrize("T", [minitorch, torch], ids=["minitorch", "torch"])
@pytest.mark.parametrize("case", CASES)
def test_messages(T, case):
    call, words = CASES[case]
    kinds = []
    for package in (torch, T):
        with pytest.raises(Exception, match=words) as caught:
            call(package)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


@pytest.mark.parametrize("T", [minitorch, torch], ids=["minitorch", "torch"])
def test_operators_with_what_is_no_number(T):
    for other in ([1, 2], "a", None, {}):
        for call in (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: y - x):
            with pytest.raises(TypeError) as caught:
                call(T.ones(2), other)
            if T is minitorch and other is not None:
                assert f"must be Tensor, not {type(other).__name__}" in str(caught.value)


def test_the_wrong_index_is_named():
    with pytest.raises(IndexError, match=r"there is an index 7, but the table has 5 rows"):
        minitorch.nn.Embedding(5, 2)(minitorch.tensor([[1, 7], [2, 9]]))


@pytest.mark.parametrize("T", [minitorch, torch], ids=["minitorch", "torch"])
def test_a_change_of_saved_values_hints_at_anomaly_detection(T):
    x = T.ones(2, requires_grad=True)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"torch.autograd.set_detect_anomaly\(True"):
        y.sum().backward()


NUMBERS = [-1, -128, -129, -255, -256, 127, 128, 255, 256, 300, 2**31, 2**63 - 1, -(2**63)]
NUMBERS += [1.5, 127.7, -0.5, 1e6, 3e9, 1e19, 1e39, float("inf"), float("nan"), True]
NUMBERS += [1 + 0j, 1j]


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
def test_numbers_too_large_for_a_type(dtype):
    """Filling with a number that the type does not hold is an error, where PyTorch says so."""

    def fill(T, value):
        return T.zeros(2, dtype=getattr(T, dtype)).fill_(value)

    def full(T, value):
        return T.full((2,), value, dtype=getattr(T, dtype))

    def full_like(T, value):
        return T.full_like(T.zeros(2, dtype=getattr(T, dtype)), value)

    def tensor(T, value):
        return T.tensor([value], dtype=getattr(T, dtype))

    def write(T, value):
        x = T.zeros(2, dtype=getattr(T, dtype))
        x[0] = value
        return x

    for value in NUMBERS:
        calls = [fill]
        to_infinity = dtype == "float16" or (isinstance(value, int) and dtype == "float32")
        if not to_infinity:  # PyTorch's assignment does not look there
            calls.append(write)
        if not isinstance(value, complex):
            calls += [full, full_like]
            if abs(value) < 2**63 and not (dtype.startswith("float") or dtype == "bool"):
                calls.append(tensor)
        for call in calls:
            results = []
            for T in (torch, minitorch):
                try:
                    results.append(str(call(T, value).tolist()))
                except RuntimeError as error:
                    assert "without overflow" in str(error) or T is torch
                    results.append("RuntimeError")
            assert results[0] == results[1], (call.__name__, value, results)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 3), (2, 0), (0, 0), (1, 0, 1), (1, 2, 1)])
def test_strides_of_nothing(shape):
    assert minitorch.empty(shape).stride() == torch.empty(shape).stride()
    assert minitorch.empty(shape).stride(0) == torch.empty(shape).stride(0)
