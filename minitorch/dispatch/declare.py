"""Declaring operations: the decorators, and the functions that users call.

A decorator makes an `Op` of a forward function, wraps it in the shortest way of calling that the op
allows (calls.py), and registers that. Invariant: a name stands in one place alone, at the decorator
of its operation; functions, methods, in-place forms, out= and NumPy's twins follow from there.
PyTorch: the code generated from aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor, numpy_twins
from . import calls, errors
from .inplace import in_place_form
from .op import TORCH_NAMES, Op
from .out import fill

functions: dict[str, Any] = {}  # what `import minitorch` offers, by name

# NumPy's one-letter codes of the types of each category. Half precision is not among them ("e",
# and "E" for bfloat16): it is computed in float32, which is the business of `_in_float32`.
_CODES = {dtypes.BOOL: "?", dtypes.INTEGER: "bBhilq", dtypes.FLOATING: "fd", dtypes.COMPLEX: "FD"}


def op(forward=None, *, alone=False, pair=False, view=False, outputs=("out",), many=False, **entry):
    """An operation on whole tensors: reductions, products, shapes, layers.

    `alone`: only the first argument is ever a tensor; `pair`: there are two, and no other
    arguments. `view`, `outputs`, `many`: see `Op`. `entry`: see `register`.
    """
    if forward is None:
        return functools.partial(
            op, alone=alone, pair=pair, view=view, outputs=outputs, many=many, **entry
        )
    made = Op(forward, view=view, outputs=outputs, many=many)
    short_cut = calls.alone if alone or made.view else calls.pair if pair else calls.general
    return register(functools.wraps(forward)(short_cut(made)), made, **entry)


def view_op(forward=None, **options):
    """An op whose result shares its first argument's memory wherever NumPy can make it so."""
    return op(forward, view=True, **options)


def elementwise(
    forward=None,
    *,
    floating=False,
    kinds="bifc",
    widened=True,
    promoted=(),
    numbers=None,
    check=None,
    numpy=(),
    inplace=None,
    **entry,
):
    """An op that broadcasts its arguments and brings them to one type.

    `floating`: integers become floats first. `kinds`: what it takes after that; "b" is bool, "i"
    integers, "f" floating and "c" complex types. `widened`: half precision is computed in float32
    and rounded once, at the end, as PyTorch does. `promoted`: the arguments that take part.
    `numbers`: those of the arguments that may be Python numbers; by default all may.
    `check`: a function of the arguments, as given, that raises where PyTorch does not take them.
    `inplace`: by default there is an in-place form, which is NumPy's ufunc where `numpy` is one.
    The rest: see `register`.
    """
    if forward is None:
        return functools.partial(
            elementwise,
            floating=floating,
            kinds=kinds,
            widened=widened,
            promoted=promoted,
            numbers=numbers,
            check=check,
            numpy=numpy,
            inplace=inplace,
            **entry,
        )
    made = Op(forward, floating=floating)
    made.elementwise = True
    made.promoted = list(promoted) or made.promoted
    made.kinds = {"bifc".index(kind) for kind in kinds}
    made.numbers = made.parameters if numbers is None else numbers
    made.check = check if numbers is None else errors.only_tensors(made, check)
    accepted = made.kinds - {dtypes.BOOL, dtypes.INTEGER} if floating else made.kinds
    made.codes = "".join(_CODES[category] for category in accepted)
    required = made.fill[: made.positional].count(())
    short_cut = {1: calls.unary, 2: calls.binary}.get(required, calls.promoting)
    call = made.call = functools.wraps(forward)(short_cut(made))
    if widened:  # the short cuts never meet half precision, and keep the plain forward
        made.forward = _in_float32(forward)
    if inplace is None:
        straight = isinstance(numpy, np.ufunc) and "f" in kinds and numbers is None
        inplace = numpy if straight else True
        made.ufunc = numpy if straight else None
    register(call, made, inplace=inplace, **entry)
    # NumPy's functions take numbers everywhere.
    lenient = call if numbers is None else lambda *args, **kw: calls.promoted_call(made, args, kw)
    numpy_twins.update(dict.fromkeys(numpy if isinstance(numpy, tuple) else (numpy,), lenient))
    return call


def _in_float32(forward):
    """`forward`, with half precision computed in float32 and rounded once."""

    def call(*args, **options):
        halves = [a.dtype for a in args if hasattr(a, "dtype") and a.dtype.char in "eE"]
        if not halves:
            return forward(*args, **options)
        wide = [a.astype(np.float32) if getattr(a, "dtype", None) in halves else a for a in args]
        result = forward(*wide, **options)
        return result.astype(halves[0]) if result.dtype.char == "f" else result

    return call


def of_function(names: str, function, meaning: str, /, *formulas, **options) -> Any:
    """An elementwise op that is a ufunc, or a kernel of one argument, and nothing more.

    `names`: its name, and its aliases. `meaning` becomes its docstring. `formulas`: its derivatives
    by `input` and `other`. `options` go to `elementwise`.
    """
    name, *aliases = names.split()
    several = isinstance(function, np.ufunc) and function.nin > 1

    def unary(input):
        return function(input)

    def binary(input, other):
        return function(input, other)

    forward = binary if several else unary
    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"{meaning}{', broadcast' * several}. Mirrors torch.{name}."
    twin = function if isinstance(function, np.ufunc) else ()
    call = elementwise(forward, numpy=twin, aliases=aliases, **options)
    call.op.ufunc = twin or None
    if formulas:
        call.derivatives(**dict(zip(("input", "other"), formulas, strict=False)))
    return call


def composite(forward=None, *, out=False, **entry):
    """Register a function that is made of other ops, and so needs no derivatives of its own.

    `out`: it takes out=. `entry`: see `register`.
    """
    if forward is None:
        return functools.partial(composite, out=out, **entry)
    if not out:
        return register(forward, None, **entry)

    @functools.wraps(forward)
    def with_out(*args, out=None, **kwargs):
        if kwargs:
            kwargs = {TORCH_NAMES.get(k, k): v for k, v in kwargs.items()}
        if out is None:
            return forward(*args, **kwargs)
        return fill(out, forward, args, kwargs)

    return register(with_out, None, **entry)


def in_namespace(forward):
    """A composite that only a namespace shows: minitorch.linalg, minitorch.fft."""
    return composite(forward, out=True, function=False, method=False)


def register(
    call,
    made: Op | None,
    *,
    numpy=(),
    function=True,
    method=True,
    inplace=False,
    aliases=(),
    node="",
):
    """Enter a user-facing function into the tables under its own name.

    `function`, `method`: whether it is a function of the package and a method of Tensor.
    `inplace`: whether there is a method `name_`; a ufunc here is one that can write straight into
    the memory. `aliases`: other names for all of these. `numpy`: NumPy's function of the same
    meaning, or several. `node`: PyTorch's name for it in the graph, where that is another.
    """
    name = call.__name__
    if made is not None:
        call.op = made
        call.derivatives = made.derivatives
        call.joint_derivative = made.joint_derivative
        call.defined_by = made.defined_by
        if node:
            made.node_name = node + "Backward0"
    for known in (name, *aliases):
        if function:
            functions[known] = call
        if method:
            setattr(Tensor, known, call)
            if inplace:
                setattr(Tensor, known + "_", in_place_form(call, known, inplace))
    for twin in numpy if isinstance(numpy, tuple) else (numpy,):
        numpy_twins[twin] = call
    return call
