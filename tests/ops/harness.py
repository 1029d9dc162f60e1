"""Runs one row of the table under either package, and compares what comes out.

A row says which function to call on what. `run` makes the same inputs for both packages, calls the
function, the method or the in-place method, and takes first and second derivatives, so that a new
op gets all of these checks from its line in table.py.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any, NamedTuple

import numpy as np
import torch

import minitorch

# dtype -> (relative, absolute) tolerance of values
TOLERANCE = {"float64": (1e-9, 1e-10), "float32": (5e-5, 5e-6)}
TOLERANCE |= {"float16": (4e-3, 2e-3), "bfloat16": (3e-2, 2e-2)}


class Spec(NamedTuple):
    """An input to be made: numbers of `kind` "real", "int" or "bool" from [low, high)."""

    shape: tuple
    kind: str = "real"
    low: float = -2.0
    high: float = 2.0
    grad: bool = True


class Row:
    """A line of the table. `name`: of a function or method, "F." for those of nn.functional."""

    def __init__(self, label, args, kwargs, expression=None, elementwise=False, at_kinks=True):
        self.label = label
        self.name = label.split(":")[0].strip()
        self.args = args
        self.kwargs = kwargs
        self.expression = expression
        self.elementwise = elementwise  # broadcasts: hypothesis tries shapes and layouts
        self.skipped: set[str] = set()

    def without(self, *checks: str) -> Row:
        """Leave checks out: "second" derivatives, a dtype, "method", "inplace"."""
        self.skipped |= set(checks)
        return self

    @property
    def specs(self) -> list[Spec]:
        return [a for a in self.args if isinstance(a, Spec)]

    def forms(self) -> list[str]:
        """The ways of calling it that both packages offer."""
        if self.expression is not None:
            return ["expression"]
        found = []
        if function(torch, self.name) is not None:
            found.append("function")
        if isinstance(self.args[0], Spec) and not self.name.startswith("F."):
            if hasattr(torch.Tensor, self.name):
                found.append("method")
            if hasattr(torch.Tensor, self.name + "_") and hasattr(
                minitorch.Tensor, self.name + "_"
            ):
                found.append("inplace")
        return [form for form in found if form not in self.skipped]

    def call(self, T, form: str, inputs: list) -> Any:
        if form == "expression":
            return self.expression(T, *inputs)
        rest = iter(inputs)
        args = [next(rest) if isinstance(a, Spec) else a for a in self.args]
        # what depends on the package, a dtype, is written as a function of it
        kwargs = {k: v(T) if callable(v) else v for k, v in self.kwargs.items()}
        if form == "function":
            return function(T, self.name)(*args, **kwargs)
        if form == "method":
            return getattr(args[0], self.name)(*args[1:], **kwargs)
        target = args[0].clone()
        returned = getattr(target, self.name + "_")(*args[1:], **kwargs)
        assert returned is target
        return target

    def __repr__(self):
        return self.label


def function(T, name: str):
    """`T`'s function of this name; None if there is none."""
    if not name.startswith("F."):
        found = getattr(T, name, None)
        return found if callable(found) else None  # torch.float is a dtype, torch.cpu a module
    functional = importlib.import_module(T.__name__ + ".nn.functional")
    return getattr(functional, name[2:])


def dtype_name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def numbers(spec: Spec, seed: str) -> np.ndarray:
    """Values for `spec`, the same for the same seed. Real ones are all different, and none is near
    a whole number, where many functions have steps and kinks."""
    rng = np.random.default_rng(zlib.crc32(repr((seed, spec)).encode()))
    if spec.kind == "bool":
        return rng.random(spec.shape) < 0.5
    if spec.kind == "int":
        return rng.integers(int(spec.low), int(spec.high), spec.shape)
    count = int(np.prod(spec.shape))
    values = np.linspace(spec.low, spec.high, 8 * count + 9)[4:-4]
    off_grid = values[
        np.abs(values - np.round(values)) > (spec.high - spec.low) / (16 * count + 99)
    ]
    return rng.choice(off_grid, count, replace=False).reshape(spec.shape)


def make(T, array: np.ndarray, dtype: str, layout: str = "contiguous"):
    """A leaf with these values; its memory in order, transposed, or with gaps."""
    dtype = getattr(T, dtype)
    if layout == "transposed" and array.ndim > 1:
        return T.tensor(np.ascontiguousarray(array.T)).to(dtype).T.detach()
    if layout == "gaps" and array.ndim:
        return T.tensor(np.repeat(array, 2, axis=-1)).to(dtype)[..., ::2].detach()
    return T.tensor(array).to(dtype)


def inputs_of(T, row: Row, dtype: str, layout: str = "contiguous", grad: bool = False) -> list:
    """The row's tensors; those of kind "real" have `dtype`."""
    made = []
    for position, spec in enumerate(row.specs):
        kind = {"real": dtype, "int": "int64", "bool": "bool"}[spec.kind]
        tensor = make(T, numbers(spec, f"{row.label} {position}"), kind, layout)
        if grad and spec.kind == "real" and spec.grad:
            tensor.requires_grad_()
        made.append(tensor)
    return made


def flat(result) -> list:
    """A result as a list: one tensor, several, or a Python value."""
    if isinstance(result, (tuple, list)) and not hasattr(result, "numel"):
        return [item for part in result for item in flat(part)]
    return [result]


def is_tensor(value) -> bool:
    return isinstance(value, (torch.Tensor, minitorch.Tensor))


def cotangents_of(T, outs: list, seed: str) -> list:
    """A gradient to start from for each output."""
    made = []
    for number, out in enumerate(outs):
        spec = Spec(tuple(out.shape))
        made.append(make(T, numbers(spec, f"{seed} cotangent {number}"), dtype_name(out.dtype)))
    return made


class Outcome(NamedTuple):
    outputs: list
    first: list  # the inputs' gradients
    second: list  # their derivatives by the inputs and by the cotangents


def run(T, row: Row, form: str, dtype: str, layout="contiguous", order=1) -> Outcome:
    """The row under package T, with derivatives up to `order`; 3 records the second ones too."""
    inputs = inputs_of(T, row, dtype, layout, grad=order > 0)
    outputs = flat(row.call(T, form, inputs))
    traced = [o for o in outputs if is_tensor(o) and o.requires_grad]
    wanted = [x for x in inputs if x.requires_grad]
    if not traced or not wanted:
        return Outcome(outputs, [], [])
    cotangents = cotangents_of(T, traced, row.label)
    for c in cotangents:
        c.requires_grad_(order > 1)
    first = T.autograd.grad(
        traced, wanted, cotangents, create_graph=order > 1, materialize_grads=True
    )
    traced = [g for g in first if g.requires_grad]
    if order < 2 or not traced:
        return Outcome(outputs, list(first), [])
    wanted = [*wanted, *cotangents]
    seeds = cotangents_of(T, traced, row.label + " second")
    for s in seeds:
        s.requires_grad_(order > 2)
    second = T.autograd.grad(traced, wanted, seeds, create_graph=order > 2, materialize_grads=True)
    return Outcome(outputs, list(first), list(second))


def assert_same(got, expected, what: str, tolerance=None) -> None:
    """Same type, shape and values, or an error that shows both."""
    if not is_tensor(expected):
        assert type(got) is type(expected) and got == expected, (
            f"{what}: got {got!r}, expected {expected!r}"
        )
        return
    assert is_tensor(got), f"{what}: got {got!r}, expected {expected!r}"
    assert dtype_name(got.dtype) == dtype_name(expected.dtype), (
        f"{what}: got dtype {got.dtype}, expected {expected.dtype}"
    )
    assert tuple(got.shape) == tuple(expected.shape), (
        f"{what}: got shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    a, b = (np.array(v.detach().to(_widest(v)).tolist()) for v in (got, _filled(expected)))
    rtol, atol = tolerance or TOLERANCE.get(dtype_name(expected.dtype), (0, 0))
    same = np.isclose(a, b, rtol, atol, equal_nan=True) if a.dtype.kind in "fc" else a == b
    if not np.all(same):
        where = [tuple(int(i) for i in index) for index in np.argwhere(~np.asarray(same))[:5]]
        raise AssertionError(f"{what}: differs at {where}\ngot      {got}\nexpected {expected}")


def _filled(tensor):
    """PyTorch has zeros without memory, which cannot be read."""
    zero = isinstance(tensor, torch.Tensor) and tensor._is_zerotensor()
    return torch.zeros(tensor.shape, dtype=tensor.dtype) if zero else tensor


def _widest(tensor):
    T = torch if isinstance(tensor, torch.Tensor) else minitorch
    name = dtype_name(tensor.dtype)
    return T.float64 if name.startswith(("float", "bfloat")) else tensor.dtype


def assert_all_same(got: list, expected: list, what: str, tolerance=None) -> None:
    assert len(got) == len(expected), f"{what}: got {len(got)} results, expected {len(expected)}"
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert_same(a, b, f"{what} {number}", tolerance)
