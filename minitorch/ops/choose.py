"""Comparing elements, and choosing between them: ==, where, maximum, relu, clamp.

Comparisons, logic and bits have no derivatives. A choice passes the gradient on to what was chosen.
PyTorch: aten/src/ATen/native/BinaryOps.cpp, TensorCompare.cpp.
"""

import functools

import numpy as np

from .. import dtypes, kernels
from ..autograd.grad_mode import no_grad
from ..dispatch.declare import composite, elementwise, functions, of_function, op
from ..tensor import Tensor
from .elementwise import over

# Comparisons, logic and bits: no derivatives. A second name is an alias.
# fmt: off

compare = functools.partial(of_function, kinds="bif", widened=False, numbers=("other",))
of_function("eq", np.equal, "input == other", widened=False, numbers=("other",))
of_function("ne not_equal", np.not_equal, "input != other", widened=False, numbers=("other",))
compare("lt less", np.less, "input < other")
compare("le less_equal", np.less_equal, "input <= other")
compare("gt greater", np.greater, "input > other")
compare("ge greater_equal", np.greater_equal, "input >= other")

test = functools.partial(of_function, widened=False, inplace=False)
test("isnan", np.isnan, "Whether it is nan")
test("isinf", np.isinf, "Whether it is inf or -inf")
test("isfinite", np.isfinite, "Whether it is neither inf, -inf nor nan")
test("isreal", np.isreal, "Whether its imaginary part is 0")
test("isposinf", np.isposinf, "Whether it is inf", kinds="bif")
test("isneginf", np.isneginf, "Whether it is -inf", kinds="bif")
test("signbit", np.signbit, "Whether its sign is minus", kinds="bif")

logic = functools.partial(of_function, widened=False, numbers=())
logic("logical_and", np.logical_and, "Whether both are not 0")
logic("logical_or", np.logical_or, "Whether one at least is not 0")
logic("logical_xor", np.logical_xor, "Whether exactly one is not 0")
logic("logical_not", np.logical_not, "Whether it is 0")

bits = functools.partial(of_function, kinds="bi")
bits("bitwise_and", np.bitwise_and, "input & other")
bits("bitwise_or", np.bitwise_or, "input | other")
bits("bitwise_xor", np.bitwise_xor, "input ^ other")
bits("bitwise_not", np.invert, "~input")
of_function("bitwise_left_shift", np.left_shift, "input * 2 ** other", kinds="i")
of_function("bitwise_right_shift", np.right_shift, "input // 2 ** other", kinds="i")
# fmt: on


def _of_truths(function):
    """`function` of whether each number is not 0 where they are complex: CuPy's takes none."""

    def forward(*inputs):
        return function(*[np.not_equal(a, 0) if np.iscomplexobj(a) else a for a in inputs])

    return forward


for _name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
    # The short cuts, which meet NumPy's arrays alone, keep the plain function.
    functions[_name].op.forward = _of_truths(getattr(np, _name))
    # PyTorch does not tell autograd when truth values are written over a tensor; nor do we.
    setattr(Tensor, _name + "_", no_grad()(getattr(Tensor, _name + "_")))


def _same_dtype(name: str):
    """The check of an op that PyTorch does not let promote."""

    def check(input, other, *_):
        kinds = [getattr(v, "dtype", type(v)) for v in (input, other)]
        if kinds[0] != kinds[1]:
            raise RuntimeError(f"{name}: {kinds[0]} did not match {kinds[1]}")

    return check


# Choosing


def select(condition, input, other):
    """np.where, for formulas and forwards: large arrays are chosen from without a branch."""
    if type(condition) is np.ndarray and condition.size > 4096:
        return kernels.where(condition, input, other)
    return np.where(condition, input, other)


def kept(grad, condition):
    """grad * condition. NumPy is slow to multiply by truth values, quick to turn them to floats."""
    if type(condition) is np.ndarray and condition.size > 4096:
        return over(np.multiply, condition.astype(grad.dtype), grad)
    return grad * condition


def _check_condition(condition, *_):
    if getattr(condition, "dtype", None) not in (dtypes.bool_, dtypes.uint8):
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got "
            f"{getattr(condition, 'dtype', condition)!r}"
        )


@elementwise(function=False, method=False, promoted=("input", "other"), check=_check_condition)
def _where(condition, input, other):
    return select(condition, input, other)


_where.derivatives(
    input=lambda grad, condition: select(condition, grad, 0),
    other=lambda grad, condition: select(condition, 0, grad),
)


@composite(method=False, numpy=np.where, out=True)
def where(condition, input=None, other=None):
    """`input` where `condition` is True, else `other`, broadcast. Mirrors torch.where.

    With `condition` alone: where that is, as nonzero(condition, as_tuple=True).
    """
    if input is None and other is None:
        return functions["nonzero"](condition, as_tuple=True)
    return _where(condition, input, other)


def _where_method(self, condition, other):
    """The tensor where `condition` is True, else `other`. Mirrors torch.Tensor.where."""
    return _where(condition, self, other)


setattr(Tensor, "where", _where_method)  # noqa: B010 (so that a type checker lets it pass)


@op(inplace=True)
def masked_fill(input, mask, value):
    """`input` with `value`, a number or 0-d tensor, where `mask` is True; broadcast.

    Mirrors torch.masked_fill.
    """
    if np.ndim(value) or (np.iscomplexobj(value) and input.dtype.kind != "c"):
        raise RuntimeError(f"masked_fill: value must be one {input.dtype}, but got {value}")
    out = select(mask, np.asarray(value, input.dtype, like=input), input)
    return out.astype(input.dtype, copy=False)  # CuPy's where makes float32 of bfloat16


masked_fill.derivatives(
    input=lambda grad, mask: select(mask, 0, grad),
    value=lambda grad, mask: np.sum(select(mask, grad, 0)),
)


def _unless_beaten(grad, beaten, ties):
    """The gradient, but none where `beaten` and half of it at `ties`."""
    return select(ties, grad / 2, select(beaten, 0, grad))


def _or_nan(first, other):
    """Where the first of two is chosen: at a tie, and beside nan."""
    return np.logical_or(first, np.isnan(other))


# fmt: off
one_of_two = functools.partial(of_function, kinds="bif", numbers=(), inplace=False)
one_of_two("maximum", np.maximum, "The larger of two; nan if one is",
           lambda grad, input, other: _unless_beaten(grad, input < other, input == other),
           lambda grad, input, other: _unless_beaten(grad, other < input, input == other))
one_of_two("minimum", np.minimum, "The smaller of two; nan if one is",
           lambda grad, input, other: _unless_beaten(grad, input > other, input == other),
           lambda grad, input, other: _unless_beaten(grad, other > input, input == other))
one_of_two("fmax", np.fmax, "The larger of two, or the one that is not nan",
           lambda grad, input, other: select(_or_nan(input >= other, other), grad, 0),
           lambda grad, input, other: select(_or_nan(input >= other, other), 0, grad))
one_of_two("fmin", np.fmin, "The smaller of two, or the one that is not nan",
           lambda grad, input, other: select(_or_nan(input <= other, other), grad, 0),
           lambda grad, input, other: select(_or_nan(input <= other, other), 0, grad))
# fmt: on


_NOT_CLIPPED = "bfloat16", "bool"  # types that CuPy's clip does not know


def between(input, low=None, high=None):
    """`input`, kept from falling below `low` and from rising above `high`."""
    if type(input) is not np.ndarray and getattr(input.dtype, "name", "") not in _NOT_CLIPPED:
        return np.clip(input, low, high)
    if input.size > 4096 and input.dtype.kind == "f":
        # Four times as quick as maximum and minimum with a number, but slow to call.
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        return np.clip(input, low, high)
    out = input if low is None else np.maximum(input, low)
    return out if high is None else np.minimum(out, high)


@elementwise(kinds="if")
def relu(input):
    """max(input, 0). Mirrors torch.relu."""
    return between(input, 0)


relu.derivatives(input=lambda grad, out: kept(grad, np.not_equal(out, 0)))


@elementwise(numpy=np.clip, kinds="bif", numbers=("min", "max"), aliases=("clip",))
def clamp(input, min=None, max=None):
    """`input`, but not below `min` nor above `max`, broadcast. Mirrors torch.clamp."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    return between(input, min, max)


def _inside(input, min, max):
    above = True if min is None else input >= min
    return np.logical_and(above, True if max is None else input <= max)


def _below(input, min, max):  # where they cross, `max` wins
    return input < min if max is None else np.logical_and(input < min, min < max)


def _above(input, min, max):
    return input > max if min is None else np.logical_or(input > max, max < min)


clamp.derivatives(
    input=lambda grad, input, min, max: select(_inside(input, min, max), grad, 0),
    min=lambda grad, input, min, max: select(_below(input, min, max), grad, 0),
    max=lambda grad, input, min, max: select(_above(input, min, max), grad, 0),
)


@composite(out=True, inplace=True)
def clamp_min(input, min):
    """`input`, but not below `min`, broadcast. Mirrors torch.clamp_min."""
    return clamp(input, min)


@composite(out=True, inplace=True)
def clamp_max(input, max):
    """`input`, but not above `max`, broadcast. Mirrors torch.clamp_max."""
    return clamp(input, None, max)


@elementwise(promoted=("input",), numpy=np.nan_to_num)
def nan_to_num(input, nan=None, posinf=None, neginf=None):
    """nan, inf and -inf replaced, by default by 0 and the largest numbers there are.

    Mirrors torch.nan_to_num.
    """
    if input.dtype.kind in "bui":
        return input.copy()
    return np.nan_to_num(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)


nan_to_num.derivatives(input=lambda grad, input: select(np.isfinite(input), grad, 0))


@elementwise(kinds="bif", numbers=(), check=_same_dtype("heaviside"))
def heaviside(input, values):
    """0 below 0, 1 above, `values` at 0, broadcast. Mirrors torch.heaviside."""
    return select(np.equal(input, 0), values, input > 0)


@elementwise(inplace=False, numbers=(), check=_same_dtype("isclose"), promoted=("input", "other"))
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Where |input - other| <= atol + rtol * |other|. Mirrors torch.isclose."""
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"rtol and atol must not be below 0, but got {rtol} and {atol}")
    return np.isclose(input, other, rtol, atol, equal_nan)
