"""Elementwise ops and reductions on shapes, layouts and sizes that hypothesis thinks of.

Broadcasting (with 0-d and empty tensors among the operands), transposed and strided memory, forward
and gradient, against PyTorch.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch

from .harness import Outcome, Row, assert_all_same, run
from .table import ROWS

LAYOUTS = st.sampled_from(["contiguous", "transposed", "gaps"])
ELEMENTWISE = [row for row in ROWS if row.elementwise]


def reshaped(row: Row, shapes) -> Row:
    """The same row, with inputs of other shapes."""
    shape = iter(shapes)
    args = [a._replace(shape=next(shape)) if a in row.specs else a for a in row.args]
    return Row(row.label, args, row.kwargs)


def compare(row: Row, layout: str) -> None:
    def outcome(T):
        return run(T, row, row.forms()[0], "float64", layout)

    ours, theirs = outcome(minitorch), outcome(torch)
    assert_all_same(ours.outputs, theirs.outputs, "output")
    assert_all_same(ours.first, theirs.first, "gradient")


@pytest.mark.parametrize("row", ELEMENTWISE, ids=repr)
@given(data=st.data())
def test_broadcasting_and_layouts(row, data):
    count = len(row.specs)
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=4, max_dims=3)
    )
    compare(reshaped(row, shapes.input_shapes), data.draw(LAYOUTS))


REDUCTIONS = ["sum", "mean", "amax", "amin", "prod", "var", "std", "logsumexp", "all", "any"]


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data())
def test_reductions(name, data):
    """Over any dimensions, counted from either end, with and without keepdim."""
    smallest = 0 if name in ("sum", "prod", "all", "any") else 1
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=smallest, max_side=4))
    several = name not in ("prod", "all", "any") and shape != ()
    dims = st.integers(-len(shape), len(shape) - 1) if shape else st.sampled_from([0, -1])
    if several:
        dims |= st.lists(dims, min_size=1, unique_by=lambda d: d % len(shape)).map(tuple)
    keepdim = data.draw(st.booleans())
    spec = next(row for row in ROWS if row.label == "neg").args[0]._replace(shape=shape)
    row = Row(name, (spec, data.draw(dims)), {"keepdim": keepdim})
    compare(row, data.draw(LAYOUTS))


@given(data=st.data())
def test_argmax_and_max_agree_at_ties(data):
    """Where an extreme occurs several times, we name the one that PyTorch names."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    array = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 3)))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    for name in ("max", "min", "argmax", "argmin"):
        ours = getattr(minitorch, name)(minitorch.tensor(array), dim)
        theirs = getattr(torch, name)(torch.tensor(array), dim)
        pairs = [(ours, theirs)] if name.startswith("arg") else zip(ours, theirs, strict=True)
        for a, b in pairs:
            assert a.tolist() == b.tolist()


def test_special_values():
    """inf, nan and signed zeros through every function of one number."""
    special = [0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-30, 80.0, -80.0]
    for row in ELEMENTWISE:
        if len(row.specs) != 1:
            continue
        results = []
        for T in (minitorch, torch):
            x = T.tensor(special, dtype=T.float64, requires_grad=True)
            out = getattr(T, row.name)(x)
            grads = []
            if out.requires_grad:
                grads = list(T.autograd.grad(out.sum(), [x]))
            results.append(Outcome([out], grads, []))
        assert_all_same(results[0].outputs, results[1].outputs, row.label)
        if row.name != "abs":  # at nan our gradient is nan, PyTorch's 0
            assert_all_same(results[0].first, results[1].first, f"gradient of {row.label}")


def test_ties_of_two_arguments():
    """At a tie maximum, minimum and clamp share the gradient as PyTorch does."""
    for name in ("maximum", "minimum"):
        grads = []
        for T in (minitorch, torch):
            x = T.tensor([1.0, 2.0, float("nan")], requires_grad=True)
            y = T.tensor([1.0, 1.0, 1.0], requires_grad=True)
            grads.append(
                [g.tolist() for g in T.autograd.grad(getattr(T, name)(x, y).sum(), [x, y])]
            )
        np.testing.assert_array_equal(*grads)


def test_shapes_that_do_not_broadcast(T):
    with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match .* b \(4\)"):
        T.ones(2, 3) + T.ones(2, 4)
