"""Checks for an op that PyTorch does not have: a reader's own.

An op that PyTorch has is found by tests/opinfo through its name, and one with a line in table.py is
tested there. What is left is checked here without any listing, if it is declared `@elementwise`:
- on arrays and on Tensors it gives the same;
- broadcasting, gaps in memory and float32 change nothing;
- its first and second derivatives are those that small differences give.
"""

import numpy as np
import pytest

import minitorch
from minitorch.autograd import gradcheck, gradgradcheck
from minitorch.dispatch import declare as declaring
from minitorch.dispatch.declare import elementwise, functions
from tests.opinfo.check import names_of_every_op

from .table import ROWS

TESTED = {row.name.removeprefix("F.") for row in ROWS} | names_of_every_op()


def tensor_parameters(function) -> list[str]:
    """The parameters of an elementwise op that may be tensors: those without a default."""
    op = function.op
    return [n for n, v in zip(op.parameters, op.fill, strict=True) if n in op.promoted and v == ()]


def own_ops(all_functions: dict) -> list[str]:
    """The elementwise functions among these that neither PyTorch nor the table has."""
    return [
        name
        for name, function in all_functions.items()
        if name not in TESTED
        and is_elementwise(function)
        and function.__name__ == name
        and not function.__module__.endswith(".random")
    ]


def is_elementwise(function) -> bool:
    return hasattr(getattr(function, "op", None), "codes")


def inputs_of(function, *shapes):
    """A float64 array for each tensor parameter, where possible with values of both signs."""
    count = len(tensor_parameters(function))
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-2, 2, shapes[i % len(shapes)]) for i in range(count)]
    with np.errstate(all="ignore"):
        if np.isfinite(function(*arrays)).all():
            return arrays
    return [rng.uniform(0.1, 0.9, a.shape) for a in arrays]


def check(function) -> None:
    """Everything that can be asked of an elementwise op that nobody has described."""
    arrays = inputs_of(function, (3, 4))
    tensors = [minitorch.tensor(a) for a in arrays]
    expected = function(*arrays)
    result = function(*tensors)
    assert isinstance(result, minitorch.Tensor)
    np.testing.assert_array_equal(result.array, expected)

    narrow = function(*[t.float() for t in tensors])
    assert narrow.dtype in (minitorch.float32, result.dtype)
    np.testing.assert_allclose(narrow.array, expected, rtol=1e-3, atol=1e-5)

    with_gaps = [minitorch.tensor(np.repeat(a, 2, axis=-1))[..., ::2] for a in arrays]
    np.testing.assert_array_equal(function(*with_gaps).array, expected)

    mixed = inputs_of(function, (3, 1), (4,))
    spread = np.broadcast_arrays(*mixed)
    broadcast = function(*[minitorch.tensor(a) for a in mixed])
    np.testing.assert_array_equal(broadcast.array, function(*spread))

    if function.op.inputs:
        leaves = [minitorch.tensor(a, requires_grad=True) for a in mixed]
        assert gradcheck(function, leaves)
        assert gradgradcheck(function, leaves)


@pytest.mark.parametrize("name", own_ops(functions))
def test_own_op(name):
    check(functions[name])


def declare(monkeypatch, forward, **formulas):
    """An op, with `formulas` as its derivatives, that is gone when the test is over."""
    monkeypatch.setattr(declaring, "functions", dict(functions))
    made = elementwise(forward, method=False)
    made.derivatives(**formulas)
    return made


def sinusoid(input, other):
    return np.sin(input * other)


RIGHT = {
    "input": lambda grad, input, other: grad * np.cos(input * other) * other,
    "other": lambda grad, input, other: grad * np.cos(input * other) * input,
}


def test_a_right_op_passes(monkeypatch):
    check(declare(monkeypatch, sinusoid, **RIGHT))


def test_a_wrong_derivative_is_noticed(monkeypatch):
    wrong = RIGHT | {"other": lambda grad, input, other: grad * np.cos(input * other)}
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        check(declare(monkeypatch, sinusoid, **wrong))


def test_a_wrong_second_derivative_is_noticed(monkeypatch):
    """`.array` takes the formula out of the graph: its values are right, its derivative is not."""

    def detached(grad, input, other):
        input = getattr(input, "array", input)
        return grad * np.cos(input * other) * other

    with pytest.raises(RuntimeError, match="mismatch|not have been used"):
        check(declare(monkeypatch, sinusoid, input=detached, other=RIGHT["other"]))


def test_own_ops_are_found(monkeypatch):
    made = declare(monkeypatch, sinusoid, **RIGHT)
    assert own_ops({"sinusoid": made, "add": functions["add"]}) == ["sinusoid"]
