"""Declaring operations: the decorators, and the functions that users call.

A decorator makes an `Op` of a forward function, wraps it in the shortest way of calling that the op
allows, and registers that. The hot path of small tensors runs through `_unary`, `_binary` and
`_alone`: one Python call between the operator and NumPy, no loops, no keyword arguments.
Invariant: `promote` is the only place where the arguments of an operation change their types.
PyTorch: the code generated from aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..tensor import Tensor, numpy_twins, wrap
from . import errors
from .op import Op
from .views import link_view

functions: dict[str, Any] = {}  # what `import minitorch` offers, by name

# The one-letter codes of NumPy's floating and complex types ("E" is ml_dtypes' bfloat16).
FLOATS = "efdEFD"
WEAK = "efdFD"  # those beside which NumPy lets a Python number keep the type: not bfloat16


def op(forward=None, *, numpy=(), function=True, method=True, alone=False, pair=False, **kinds):
    """An operation on whole tensors: reductions, products, shapes, layers.

    `numpy`: NumPy's function of the same meaning, or several. `function`, `method`: whether it is a
    function of the package and a method of Tensor. `alone`: only the first argument is ever a
    tensor; `pair`: there are two, and no other arguments. `kinds`: see `Op`.
    """
    if forward is None:
        return functools.partial(
            op, numpy=numpy, function=function, method=method, alone=alone, pair=pair, **kinds
        )
    made = Op(forward, **kinds)
    short_cut = _alone if alone or made.view else _pair if pair else _general
    return register(functools.wraps(forward)(short_cut(made)), made, numpy, function, method)


def view_op(forward=None, **options):
    """An op whose result shares its first argument's memory wherever NumPy can make it so."""
    return op(forward, view=True, **options)


def elementwise(forward=None, *, numpy=(), floating=False, function=True, method=True, promoted=()):
    """An op that broadcasts its arguments and brings them to one type.

    `floating`: integers become floats first. `promoted`: the arguments that take part in that.
    """
    if forward is None:
        return functools.partial(
            elementwise,
            numpy=numpy,
            floating=floating,
            function=function,
            method=method,
            promoted=promoted,
        )
    made = Op(forward, floating=floating)
    made.promoted = list(promoted) or made.promoted
    short_cut = {1: _unary, 2: _binary}.get(made.positional, _promoting)
    call = short_cut(made)
    return register(functools.wraps(forward)(call), made, numpy, function, method)


def register(call, made: Op | None, numpy=(), function=True, method=True):
    """Enter a user-facing function into the tables under its own name."""
    name = call.__name__
    if made is not None:
        call.op = made
        call.derivatives = made.derivatives
        call.joint_derivative = made.joint_derivative
        call.defined_by = made.defined_by
    if function:
        functions[name] = call
    if method:
        setattr(Tensor, name, call)
    for twin in numpy if isinstance(numpy, tuple) else (numpy,):
        numpy_twins[twin] = call
    return call


def composite(forward=None, *, numpy=(), function=True, method=True):
    """Register a function that is made of other ops, and so needs no derivatives of its own."""
    if forward is None:
        return functools.partial(composite, numpy=numpy, function=function, method=method)
    return register(forward, None, numpy, function, method)


def _general(op: Op):
    def call(*args, **kwargs):
        return op(*args, **kwargs)

    return call


def _alone(op: Op):
    """The short way for one tensor and arguments that are none: sums, views."""
    forward, view = op.forward, op.view

    def call(*args, **kwargs):
        if kwargs:
            args, kwargs = op.arrange(args, kwargs)
        input = args[0]
        if op.many or not isinstance(input, Tensor):
            return op(*args, **kwargs)
        try:
            result = wrap(forward(input.array, *args[1:], **kwargs))
        except (ValueError, TypeError, IndexError) as error:
            raise errors.translate(error, op, [input]) from error
        if view:
            link_view(result, input, (op, args[1:], kwargs, None))
        if input._requires_grad and mode.enabled and op.inputs:
            op.record([*op.bind(args, kwargs), result], result)
        return result

    return call


def _pair(op: Op):
    """The short way for two tensors and nothing else: products."""
    forward = op.forward

    def call(input, other):
        if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
            return op(input, other)
        try:
            result = wrap(forward(input.array, other.array))
        except (ValueError, TypeError) as error:
            raise errors.translate(error, op, [input, other]) from error
        if (input._requires_grad or other._requires_grad) and mode.enabled:
            op.record((input, other, result), result)
        return result

    return call


def _unary(op: Op):
    """The short way for one tensor: no loops, no keyword arguments."""
    forward, floating = op.forward, op.floating
    defaults = op.fill[op.positional :]

    def call(input, *args, **options):
        if args or options or not isinstance(input, Tensor):
            return _promoted_call(op, (input, *args), options)
        array = input.array
        if floating and array.dtype.char not in FLOATS:
            return _promoted_call(op, (input,), options)
        result = wrap(forward(array))
        if input._requires_grad and mode.enabled and op.inputs:
            op.record((input, *defaults, result), result)
        return result

    return call


def _binary(op: Op):
    """The short way for two tensors of one type, or a float tensor and a number."""
    forward, floating = op.forward, op.floating
    defaults = op.fill[op.positional :]

    def call(input, other, *args, **options):
        if args or options:
            return _promoted_call(op, (input, other, *args), options)
        a, b = input, other
        if isinstance(a, Tensor):
            a = a.array
            if isinstance(b, Tensor):
                b = b.array
                plain = a.dtype is b.dtype and (not floating or a.dtype.char in FLOATS)
            else:
                kind = type(b)
                plain = (kind is float or kind is int) and a.dtype.char in WEAK
        elif isinstance(b, Tensor):
            b = b.array
            kind = type(a)
            plain = (kind is float or kind is int) and b.dtype.char in WEAK
        else:
            return forward(a, b)
        if not plain:
            return _promoted_call(op, (input, other), options)
        try:
            result = wrap(forward(a, b))
        except (ValueError, TypeError) as error:
            raise errors.translate(error, op, [input, other]) from error
        if (
            mode.enabled
            and op.inputs
            and (getattr(input, "_requires_grad", False) or getattr(other, "_requires_grad", False))
        ):
            op.record((input, other, *defaults, result), result)
        return result

    return call


def _promoting(op: Op):
    return lambda *args, **options: _promoted_call(op, args, options)


def _promoted_call(op: Op, args: tuple, options: dict):
    """The general way for elementwise ops: bring the arguments to one type, then call."""
    if options:
        for i in range(len(args), op.positional):  # other=2 is an argument as well
            args = (*args, options.pop(op.parameters[i], op.fill[i]))
    if any(isinstance(value, Tensor) for value in args):
        args = promote(op, args)
    return op(*args, **options)


# Types


def promote(op: Op, args: tuple) -> tuple:
    """`args` with all tensors of one dtype, the one PyTorch's rules give. The one place for it.

    Python numbers stay numbers: NumPy lets them take part as weakly as PyTorch does.
    """
    taking_part = [v for n, v in zip(op.parameters, args, strict=False) if n in op.promoted]
    kinds = {v.array.dtype if isinstance(v, Tensor) else type(v) for v in taking_part}
    kinds -= {int, float, type(None)}
    if len(kinds) == 1 and getattr(kinds.pop(), "char", "?") in WEAK:
        return args  # one floating type, and numbers that it takes in: nothing to do
    tensors, numbers = [], []
    for value in taking_part:
        if value is None:
            continue
        if isinstance(value, Tensor):
            tensors.append((value.dtype, value.array.ndim))
        elif isinstance(value, np.ndarray):
            tensors.append((dtypes.of(value), value.ndim))
        else:
            numbers.append(value)
    common = dtypes.combine(tensors, numbers)
    if op.floating and common.category < dtypes.FLOATING:
        common = dtypes.get_default_dtype()
    return tuple(
        _as_type(value, common) if name in op.promoted else value
        for name, value in zip(op.parameters, args, strict=False)
    )


def _as_type(value, common: dtypes.dtype):
    if isinstance(value, Tensor):
        return value if value.array.dtype == common.numpy else value.to(common)
    if isinstance(value, np.ndarray):
        return value.astype(common.numpy, copy=False)
    if value is None or common.numpy.char in WEAK:
        return value.item() if isinstance(value, np.generic) else value
    return np.array(value).astype(common.numpy)  # integers wrap around as PyTorch's do
