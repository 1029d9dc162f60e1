"""Comparing elements, and choosing between them: ==, where, maximum, relu, clamp.

Comparisons, logic and bits have no derivatives. A choice passes the gradient on to what was chosen.
PyTorch: aten/src/ATen/native/BinaryOps.cpp, TensorCompare.cpp.
"""

import numpy as np

from ..tensor import Tensor
from .declare import composite, elementwise, functions, op

# Comparisons, logic and bits: no derivatives

_PLAIN = {
    "eq": (np.equal, "input == other"),
    "ne": (np.not_equal, "input != other"),
    "lt": (np.less, "input < other"),
    "le": (np.less_equal, "input <= other"),
    "gt": (np.greater, "input > other"),
    "ge": (np.greater_equal, "input >= other"),
    "isnan": (np.isnan, "Whether it is nan"),
    "isinf": (np.isinf, "Whether it is inf or -inf"),
    "isfinite": (np.isfinite, "Whether it is neither inf, -inf nor nan"),
    "logical_and": (np.logical_and, "Whether both are not 0"),
    "logical_or": (np.logical_or, "Whether one at least is not 0"),
    "logical_xor": (np.logical_xor, "Whether exactly one is not 0"),
    "logical_not": (np.logical_not, "Whether it is 0"),
    "bitwise_and": (np.bitwise_and, "input & other, of integers or booleans"),
    "bitwise_or": (np.bitwise_or, "input | other, of integers or booleans"),
    "bitwise_xor": (np.bitwise_xor, "input ^ other, of integers or booleans"),
    "bitwise_not": (np.invert, "~input, of integers or booleans"),
}
_OTHER_NAMES = {"ne": ("not_equal",), "lt": ("less",), "le": ("less_equal",)}
_OTHER_NAMES |= {"gt": ("greater",), "ge": ("greater_equal",)}


def _plain(name: str, ufunc: np.ufunc, meaning: str) -> None:
    """The op `name` that is a ufunc of one or two arguments, and nothing more."""

    def unary(input):
        return ufunc(input)

    def binary(input, other):
        return ufunc(input, other)

    forward = unary if ufunc.nin == 1 else binary
    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"{meaning}{', broadcast' * (ufunc.nin > 1)}. Mirrors torch.{name}."
    elementwise(
        forward,
        numpy=ufunc,
        inplace=None if name[:2] != "is" else False,
        aliases=_OTHER_NAMES.get(name, ()),
    )


for _name, (_ufunc, _meaning) in _PLAIN.items():
    _plain(_name, _ufunc, _meaning)

# Choosing


@elementwise(function=False, method=False, promoted=("input", "other"))
def _where(condition, input, other):
    return np.where(condition, input, other)


_where.derivatives(
    input=lambda grad, condition: np.where(condition, grad, 0),
    other=lambda grad, condition: np.where(condition, 0, grad),
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
    return np.where(mask, np.asarray(value, input.dtype), input)


masked_fill.derivatives(
    input=lambda grad, mask: np.where(mask, 0, grad),
    value=lambda grad, mask: np.sum(np.where(mask, grad, 0)),
)


@elementwise(numpy=np.maximum, inplace=False)
def maximum(input, other):
    """The larger of two, broadcast; nan if one is. Mirrors torch.maximum."""
    return np.maximum(input, other)


@elementwise(numpy=np.minimum, inplace=False)
def minimum(input, other):
    """The smaller of two, broadcast; nan if one is. Mirrors torch.minimum."""
    return np.minimum(input, other)


def _unless_beaten(grad, beaten, ties):
    """The gradient, but none where `beaten` and half of it at `ties`."""
    return np.where(ties, grad / 2, np.where(beaten, 0, grad))


maximum.derivatives(
    input=lambda grad, input, other: _unless_beaten(grad, input < other, input == other),
    other=lambda grad, input, other: _unless_beaten(grad, other < input, input == other),
)
minimum.derivatives(
    input=lambda grad, input, other: _unless_beaten(grad, input > other, input == other),
    other=lambda grad, input, other: _unless_beaten(grad, other > input, input == other),
)


def _between(input, low=None, high=None):
    """`input`, kept from falling below `low` and from rising above `high`."""
    if input.size > 4096 and input.dtype.kind == "f":
        # Four times as quick as maximum and minimum with a number, but slow to call.
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        return np.clip(input, low, high)
    out = input if low is None else np.maximum(input, low)
    return out if high is None else np.minimum(out, high)


@elementwise
def relu(input):
    """max(input, 0). Mirrors torch.relu."""
    return _between(input, 0)


relu.derivatives(input=lambda grad, out: grad * np.not_equal(out, 0))


@elementwise(numpy=np.clip, promoted=("input", "min", "max"), aliases=("clip",))
def clamp(input, min=None, max=None):
    """`input`, but not below `min` nor above `max`, broadcast. Mirrors torch.clamp."""
    if min is None and max is None:
        raise ValueError("clamp: at least one of 'min' or 'max' must not be None")
    return _between(input, min, max)


def _inside(input, min, max):
    above = True if min is None else input >= min
    return np.logical_and(above, True if max is None else input <= max)


clamp.derivatives(
    input=lambda grad, input, min, max: np.where(_inside(input, min, max), grad, 0),
    min=lambda grad, input, min, max: np.where(input < min, grad, 0),
    max=lambda grad, input, min, max: np.where(input > max, grad, 0),
)
