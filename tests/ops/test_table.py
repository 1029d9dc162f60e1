"""Every op of the table against PyTorch: forward, backward, double backward."""

import importlib
import pkgutil

import pytest
import torch

import minitorch
import minitorch.ops
from minitorch.ops.declare import functions
from minitorch.ops.op import Op

from .harness import assert_all_same, assert_same, inputs_of, run
from .table import ROWS

CASES = [pytest.param(row, form, id=f"{row.label}-{form}") for row in ROWS for form in row.forms()]
each_case = pytest.mark.parametrize(("row", "form"), CASES)
each_row = pytest.mark.parametrize("row", ROWS, ids=repr)

# Not for the table: what makes tensors from nothing or at random, needs a GPU, is not public, or
# has tests of its own (test_promotion.py).
NOT_HERE = {"cuda", "unindex", "result_type"}
MADE_ELSEWHERE = ("minitorch.ops.creation", "minitorch.ops.random", "minitorch.random")


def both(row, form, dtype, **options):
    ours = run(minitorch, row, form, dtype, **options)
    return ours, run(torch, row, form, dtype, **options)


@each_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forward_and_gradients(row, form, dtype):
    ours, theirs = both(row, form, dtype)
    assert_all_same(ours.outputs, theirs.outputs, "output")
    assert [o.requires_grad for o in ours.outputs if hasattr(o, "requires_grad")] == [
        o.requires_grad for o in theirs.outputs if hasattr(o, "requires_grad")
    ]
    assert_all_same(ours.first, theirs.first, "gradient")


@each_case
def test_second_derivatives(row, form):
    if "second" in row.skipped:
        pytest.skip("left out in the table")
    ours, theirs = both(row, form, "float64", order=2)
    assert_all_same(ours.first, theirs.first, "gradient")
    if bool(ours.second) != bool(theirs.second):  # zeros: one records them, the other does not
        assert not any(g.any() for g in (*ours.second, *theirs.second))
        return
    assert_all_same(ours.second, theirs.second, "second derivative")


@each_row
@pytest.mark.parametrize("layout", ["transposed", "gaps"])
def test_memory_layouts(row, layout):
    for form in row.forms()[:1]:
        try:
            theirs = run(torch, row, form, "float64", layout)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                run(minitorch, row, form, "float64", layout)
            continue
        ours = run(minitorch, row, form, "float64", layout)
        assert_all_same(ours.outputs, theirs.outputs, "output")
        assert_all_same(ours.first, theirs.first, "gradient")


OTHER_DTYPES = ["float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]


@each_row
@pytest.mark.parametrize("dtype", OTHER_DTYPES)
def test_other_dtypes(row, dtype):
    """Where PyTorch computes in a dtype, so do we, with the same type and values."""
    if dtype in row.skipped:
        pytest.skip("left out in the table")
    form = row.forms()[0]
    if not any(s.kind == "real" for s in row.specs):
        pytest.skip("no input of that kind")
    try:
        theirs = run(torch, row, form, dtype, order=0)
    except (RuntimeError, TypeError, ValueError):
        pytest.skip("not in PyTorch")
    ours = run(minitorch, row, form, dtype, order=0)
    assert_all_same(ours.outputs, theirs.outputs, f"output for {dtype}")


def every_op() -> dict[Op, str]:
    """Every op with derivatives, by walking over the modules of ops/."""
    found = {}
    for module in pkgutil.iter_modules(minitorch.ops.__path__):
        for name, value in vars(importlib.import_module(f"minitorch.ops.{module.name}")).items():
            op = getattr(value, "op", None)
            if isinstance(op, Op) and op.inputs:
                found[op] = f"{module.name}.{name}"
    return found


def test_every_op_with_derivatives_is_in_the_table(monkeypatch):
    """Whatever has a formula is recorded by some row, the ops without a public name as well."""
    seen = set()
    record = Op.record
    monkeypatch.setattr(Op, "record", lambda self, *args: (seen.add(self), record(self, *args))[1])
    for row in ROWS:
        run(minitorch, row, row.forms()[0], "float64", order=3)
    assert sorted(name for op, name in every_op().items() if op not in seen) == []


def test_every_function_is_in_the_table():
    tested = {row.name.removeprefix("F.") for row in ROWS}
    tested_functions = {functions.get(name) for name in tested}
    missing = [
        name
        for name, function in functions.items()
        if name not in tested | NOT_HERE
        and function not in tested_functions
        and not str(function.__module__).startswith(MADE_ELSEWHERE)
    ]
    assert sorted(missing) == []


def test_every_method_is_in_the_table():
    tested = {row.name for row in ROWS}
    missing = [
        name
        for name, value in vars(minitorch.Tensor).items()
        if str(getattr(value, "__module__", "")).startswith("minitorch.ops")
        and not str(value.__module__).startswith(MADE_ELSEWHERE)
        and not name.startswith("_")
        and not name.endswith("_")
        and name not in tested | NOT_HERE
        and value not in [functions.get(t) for t in tested]
    ]
    assert sorted(missing) == []


def test_a_wrong_derivative_is_noticed(monkeypatch):
    """The suite itself can fail."""
    row = next(r for r in ROWS if r.label == "sin")
    op = functions["sin"].op
    monkeypatch.setattr(op, "formulas", [lambda grad, input: grad])
    monkeypatch.setattr(op, "_plans", {})
    with pytest.raises(AssertionError, match="gradient 0"):
        test_forward_and_gradients(row, "function", "float64")


def test_inputs_are_not_changed():
    """No op writes into its arguments."""
    for row in ROWS:
        before = inputs_of(minitorch, row, "float64")
        after = inputs_of(minitorch, row, "float64")
        row.call(minitorch, row.forms()[0], after)
        for a, b in zip(after, before, strict=True):
            assert_same(a, b, row.label)
