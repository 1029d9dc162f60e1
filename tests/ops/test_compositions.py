"""Each fused kernel against the plain composition of ops that defines it.

The calls to try are those that the rows of the table lead to, so a kernel needs no line here.
"""

import pytest

import minitorch
from minitorch.dispatch.op import Op

from .harness import assert_all_same, cotangents_of, run
from .table import ROWS
from .test_table import every_op


def fused_calls() -> list[tuple[Op, list]]:
    """(op, arguments) of each recorded call of an op that has a composition."""
    calls = []
    record = Op.record

    def spy(op, values, result):
        if op.composition is not None:
            calls.append((op, list(values[: len(op.parameters)])))
        record(op, values, result)

    Op.record = spy
    try:
        for row in ROWS:
            run(minitorch, row, row.forms()[0], "float64")
    finally:
        Op.record = record
    return calls


CALLS = fused_calls()


def outcome(function, op: Op, args: list, dtype) -> tuple[list, list, list]:
    """Value, gradients, and their derivatives along the gradient itself."""
    args, leaves = list(args), []
    for i in op.inputs:
        if args[i] is not None:
            args[i] = args[i].detach().to(dtype, copy=True).requires_grad_()
            leaves.append(args[i])
    out = function(*args)
    out = out[0] if isinstance(out, tuple) else out
    (seed,) = cotangents_of(minitorch, [out], op.name)
    first = minitorch.autograd.grad(out, leaves, seed, create_graph=True)
    plain = minitorch.autograd.grad(function_value(function, args), leaves, seed)
    total = sum((g * g).sum() for g in first)
    second = minitorch.autograd.grad(total, leaves, materialize_grads=True)
    return [out], [*first, *plain], list(second)


def function_value(function, args):
    out = function(*args)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("number", range(len(CALLS)), ids=lambda n: f"{CALLS[n][0].name} {n}")
def test_kernel_and_composition(number, dtype):
    op, args = CALLS[number]
    dtype = getattr(minitorch, dtype)
    results = [outcome(f, op, args, dtype) for f in (op, op.composition)]
    for what, ours, defined in zip(("value", "gradient", "second"), *results, strict=True):
        assert_all_same(ours, defined, f"{op.name}: {what}")


def test_every_kernel_is_reached():
    reached = {op for op, _ in CALLS}
    assert [name for op, name in every_op().items() if op.composition and op not in reached] == []
    assert reached
