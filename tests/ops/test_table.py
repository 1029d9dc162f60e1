"""Every op of the table against PyTorch: forward, backward, double backward."""

import importlib
import pkgutil

import pytest
import torch

import minitorch
import minitorch.dispatch
import minitorch.ops
from minitorch.dispatch.declare import functions
from minitorch.dispatch.op import Op
from tests.opinfo.check import every_op as every_opinfo
from tests.opinfo.check import names_of_every_op, run_ours

from .harness import assert_all_same, assert_same, inputs_of, run
from .table import ROWS
from .test_own import is_elementwise

CASES = [pytest.param(row, form, id=f"{row.label}-{form}") for row in ROWS for form in row.forms()]
each_case = pytest.mark.parametrize(("row", "form"), CASES)
each_row = pytest.mark.parametrize("row", ROWS, ids=repr)

# Not for the table: what needs a GPU, is not public, or has tests of its own.
NOT_HERE = {"cuda", "unindex", "is_nonzero", "is_tensor", "result_type", "pin_memory", "is_pinned"}
MADE_ELSEWHERE = ("minitorch.ops.recurrent",)  # tests/nn/test_rnn.py
MADE_ELSEWHERE += ("minitorch.functional.dropout",)  # tests/test_random_tensors.py
MADE_ELSEWHERE += ("minitorch.ops.convert.to_device",)  # tests/cuda/test_device.py
MADE_ELSEWHERE += ("minitorch.ops.nn._dropout",)  # tests/cuda/test_kernels_elementwise.py
MADE_ELSEWHERE += ("minitorch.ops.attention",)  # tests/cuda/test_kernels_attention.py


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
    """Every op with derivatives, by walking over the modules of ops/ and dispatch/."""
    found = {}
    for package in (minitorch.ops, minitorch.dispatch):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(module.name)).items():
                op = value if isinstance(value, Op) else getattr(value, "op", None)
                if isinstance(op, Op) and op.inputs:
                    found[op] = f"{module.name}.{name}"
    return found


def test_every_op_with_derivatives_is_recorded(monkeypatch):
    """Whatever has a formula is run with it: the ops without a public name, as the others, by some
    row here, by a sample of an OpInfo, or by test_own.py."""
    unseen = {op: name for op, name in every_op().items() if not name.startswith(MADE_ELSEWHERE)}
    record = Op.record
    monkeypatch.setattr(
        Op, "record", lambda self, *args: (unseen.pop(self, None), record(self, *args))[1]
    )
    for row in ROWS:
        run(minitorch, row, row.forms()[0], "float64", order=3)
    by_name = names_of_every_op()
    for name, function in functions.items():
        if name in by_name or is_elementwise(function):
            unseen.pop(getattr(function, "op", None), None)
    for info in every_opinfo():
        if not unseen:
            break
        run_ours(info)
    assert sorted(unseen.values()) == []


def untested(names: dict) -> list[str]:
    """Those of `names` that no test finds, with what to do about it."""
    tested = {row.name.removeprefix("F.") for row in ROWS} | names_of_every_op()
    tested_functions = [functions.get(name) for name in tested]
    return [
        f'{name}: PyTorch has no OpInfo of that name; put op("{name}", ...) into tests/ops/table.py'
        for name, function in sorted(names.items())
        if str(getattr(function, "__module__", "")).startswith(
            ("minitorch.ops", "minitorch.functional")
        )
        and not function.__module__.startswith(MADE_ELSEWHERE)
        and not name.startswith("_")
        and not name.endswith("_")
        and name not in tested | NOT_HERE
        and function not in tested_functions
        and not is_elementwise(function)  # then test_own.py checks it
    ]


def test_every_function_is_tested():
    assert untested(functions) == []


def test_every_method_is_tested():
    assert untested(dict(vars(minitorch.Tensor))) == []


def test_an_untested_op_is_noticed():
    def mystery(input):
        return input

    mystery.__module__ = "minitorch.ops.mysteries"
    assert untested({"mystery": mystery, "add": functions["add"]})[0].startswith("mystery:")


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
