"""Elementwise ops and reductions on shapes, layouts and sizes that hypothesis thinks of.

Broadcasting (with 0-d and empty tensors among the operands), transposed and strided memory, forward
and gradient, against PyTorch.
"""

import contextlib

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


NAN = float("nan")


@pytest.mark.parametrize(
    "name", "maximum minimum fmax fmin clamp_min clamp_max atan2 copysign heaviside".split()
)
def test_two_arguments_at_ties_and_nan(name):
    """Which of two is chosen, and where the gradient goes."""
    outcomes = []
    for T in (minitorch, torch):
        a, b = [1.0, 2.0, NAN, 3.0, NAN, -0.0, 0.0], [1.0, 1.0, 1.0, NAN, NAN, 0.0, -1.0]
        x, y = (T.tensor(v, dtype=T.float64, requires_grad=True) for v in (a, b))
        out = getattr(T, name)(x, y)
        grads = T.autograd.grad(out.sum(), [x, y]) if name != "heaviside" else []
        outcomes.append([v.detach().tolist() for v in (out, *grads)])
    np.testing.assert_array_equal(*outcomes)


# Complex numbers

ANALYTIC = """exp exp2 expm1 log log1p log2 log10 sqrt rsqrt reciprocal square neg sigmoid sinc
sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh""".split()
COMPLEX = {name: (lambda T, x, y, name=name: getattr(T, name)(x)) for name in ANALYTIC}
COMPLEX |= {
    "abs": lambda T, x, y: abs(x),
    "angle": lambda T, x, y: x.angle(),
    "sgn": lambda T, x, y: T.sgn(x),
    "conj": lambda T, x, y: x.conj() * y,
    "parts": lambda T, x, y: T.complex(x.real * y.imag, y.real),
    "polar": lambda T, x, y: T.polar(x.abs(), y.angle()),
    "arithmetic": lambda T, x, y: (x + 2j * y) / (x - 1) * y - x,
    "with a real one": lambda T, x, y: x * y.real + 2.5**x,
    "pow": lambda T, x, y: x**y + x**2 + y**-1.5 + y ** (1 - 2j),
    "addcmul": lambda T, x, y: T.addcmul(x, y, y, value=1j),
    "addcdiv": lambda T, x, y: T.addcdiv(x, x, y, value=0.5),
    "lerp": lambda T, x, y: T.lerp(x, y, 0.3),
    "views": lambda T, x, y: T.view_as_complex(T.view_as_real(x) * T.view_as_real(y)),
    "view_as_real": lambda T, x, y: T.view_as_real(x)[..., 0] * y.imag,
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_derivatives(name):
    """First and second ones; PyTorch's are those of conjugate Wirtinger calculus."""
    rng = np.random.default_rng(0)
    a, b, start = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    outcomes = []
    for T in (minitorch, torch):
        x, y = (T.tensor(v, requires_grad=True) for v in (a, b))
        out = COMPLEX[name](T, x, y)
        seed = T.tensor(start if out.is_complex() else start.real.copy())
        first = T.autograd.grad(out, [x, y], seed, create_graph=True, materialize_grads=True)
        norm = sum((g.abs() ** 2).sum() for g in first)
        second = [T.zeros_like(x)] * 2
        if norm.requires_grad:
            second = T.autograd.grad(norm, [x, y], materialize_grads=True)
        outcomes.append([np.array(v.detach().tolist()) for v in (out, *first, *second)])
    for ours, theirs in zip(*outcomes, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_parts_of_complex_numbers_are_views(T):
    z = T.tensor([1 + 2j, 3 - 4j])
    z.real.add_(10)
    z.imag = 0.5
    assert z.tolist() == [11 + 0.5j, 13 + 0.5j]
    T.view_as_real(z)[0, 1] = -1
    assert z.tolist() == [11 - 1j, 13 + 0.5j]
    x = T.ones(2)
    assert x.real is x or x.real.data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match="imag"):
        T.imag(x)


# Calls that are not as they should be


@pytest.mark.parametrize("wrong", [2.0, "a", None, [1.0]], ids=str)
def test_what_is_no_tensor(T, wrong):
    for name in ("exp", "floor", "abs", "erf", "relu", "isnan", "logical_not", "sigmoid"):
        with pytest.raises(TypeError):
            getattr(T, name)(wrong)
    x = T.ones(2)
    if not isinstance(wrong, float):
        for operation in (x.__add__, x.__mul__, x.__lt__, x.__pow__, x.__truediv__):
            with contextlib.suppress(TypeError):
                assert operation(wrong) is NotImplemented
        for call in (T.add, T.mul, T.pow, T.maximum):
            with pytest.raises(TypeError):
                call(x, wrong)
    for name in ("maximum", "atan2", "logical_and", "fmax", "hypot"):
        with pytest.raises(TypeError):
            getattr(T, name)(x, wrong)


WRONG = """b - b|b - 1|1 - b|-b|+b|T.positive(b)|b // b|x & x|x << 1|~x|i & 1.5
    T.floor(b)|T.floor(c)|T.sign(c)|c < c|T.atan2(c, c)|T.maximum(c, c)|c % c|T.relu(c)|c.clamp(1)
    T.clamp(x)|i % 0|i // 0|i.fmod(0)|i ** -1|T.gcd(x, x)|T.hypot(i, i)|T.isposinf(c)|T.frexp(i)
    T.complex(x, d)|T.imag(x)|T.view_as_real(x)|T.heaviside(i, x)|T.isclose(x, d)|T.polygamma(-1, x)
    T.add(i, i, alpha=1.5)|T.add(x, x, alpha=1j)|T.addcdiv(i, i, i)|T.where(x, x, x)|divmod(x, 2)
    i.add_(1.5)|i.div_(2)|i.exp_()|i.mul_(x)|b.add_(1)|x.add_(c)|x.mul_(1j)|x.bitwise_and_(x)
    i.__iadd__(x)|T.exp(x, out=i)|T.exp(x, x)|T.exp()|x.special|T.div(x, x, rounding_mode="up")"""


@pytest.mark.parametrize("expression", [e.strip() for e in WRONG.replace("\n", "|").split("|")])
def test_errors(expression):
    """The same type of exception as PyTorch's."""
    errors = []
    for T in (torch, minitorch):
        x, d, i = T.ones(2), T.ones(2, dtype=T.float64), T.ones(2, dtype=T.int64)
        scope = {"T": T, "x": x, "d": d, "i": i, "b": i.bool(), "c": x + 0j}
        with pytest.raises(Exception) as caught:
            eval(expression, scope)
        errors.append(caught.type)
    assert issubclass(errors[1], next(c for c in errors[0].__mro__ if c.__module__ == "builtins"))


def test_functions_that_work_in_place(T):
    x = T.tensor([1.0, 4.0])
    assert T.sqrt_(x) is x and x.tolist() == [1.0, 2.0]
    assert T.clamp_(x, max=1.5) is x and x.tolist() == [1.0, 1.5]
    x += 1
    x //= 2
    assert x.tolist() == [1.0, 1.0]
    i = T.tensor([6, 3])
    i <<= 2
    i |= 1
    i ^= 3
    i >>= 1
    i &= 15
    assert i.tolist() == [13, 7]


def test_logic_written_over_a_tensor_is_hidden_from_autograd(T):
    """As in PyTorch the gradient is that of the values before."""
    x = T.tensor([2.0, 3.0], requires_grad=True)
    y = x * x
    y.logical_and_(T.tensor([1.0, 0.0]))
    assert y.tolist() == [1.0, 0.0]
    assert T.autograd.grad(y.sum(), x)[0].tolist() == [4.0, 6.0]


def test_numpy_functions_take_numbers_where_pytorch_does_not():
    x = minitorch.tensor([-1.0, 1.0], requires_grad=True)
    assert np.maximum(x, 0).tolist() == [0.0, 1.0] and np.maximum(0, x).requires_grad


def test_shapes_that_do_not_broadcast(T):
    with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match .* b \(4\)"):
        T.ones(2, 3) + T.ones(2, 4)
