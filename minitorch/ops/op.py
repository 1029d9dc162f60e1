"""What an operation is: a forward in plain NumPy, and a table of derivatives.

    @elementwise(numpy=np.multiply)
    def mul(input, other):
        return np.multiply(input, other)

    mul.derivatives(input=lambda grad, other: grad * other,
                    other=lambda grad, input: grad * input)

The names of a formula's parameters say what the graph keeps alive until backward: `out` (or the
names given as `outputs`) is the result, any other name an argument of the op, and `input_shape` or
`input_dtype` keeps only that of `input`. A formula is not run, and its values are not saved, for an
input that needs no gradient.

Called with arrays alone an op simply runs. So formulas, which are NumPy expressions and calls of
other ops, work on arrays in an ordinary backward, and on Tensors under create_graph=True, where
they are recorded like everything else: that is all there is to higher derivatives.

The decorators below turn such a function into the one that users call, and register it: under its
name in `functions` (minitorch.mul) and as a method (Tensor.mul).
PyTorch: tools/autograd/derivatives.yaml, and the code generated from it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..autograd.graph import Node, Output, edge_of
from ..tensor import Tensor, numpy_twins, wrap
from . import errors
from .views import link_view

functions: dict[str, Any] = {}  # what `import minitorch` offers, by name

# The one-letter codes of NumPy's floating and complex types ("E" is ml_dtypes' bfloat16).
FLOATS = "efdEFD"
WEAK = "efdFD"  # those beside which NumPy lets a Python number keep the type: not bfloat16


class Plan(NamedTuple):
    """What an op does when a given choice of its inputs needs a gradient.

    `saves`: (position among arguments and outputs, what of it) pairs. `formulas`: for each input
    (formula, positions of its values among the saved ones). `joint`: the one formula instead.
    """

    saves: list
    formulas: list
    joint: Callable | None
    joint_positions: list


class Op:
    """An operation: `forward` on arrays, and the derivatives for its Tensors."""

    def __init__(self, forward, floating=False, view=False, outputs=("out",), many=False):
        self.name = forward.__name__
        self.node_name = "".join(w.capitalize() for w in self.name.split("_")) + "Backward0"
        self.forward = forward
        self.floating = floating  # integers become floats first: exp, div
        self.view = view  # the result shares the first argument's memory
        self.many = many  # the result is a list of tensors, each with a gradient
        parameters = inspect.signature(forward).parameters.values()
        self.parameters = [p.name for p in parameters]
        # What stands for each argument that is not given; () for the *arguments.
        self.fill = [() if p.default is p.empty else p.default for p in parameters]
        self.positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.names = [*self.parameters, *outputs]
        self.takes_list = False  # the differentiable input is a list of tensors: cat, stack
        self.promoted = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.inputs: list[int] = []  # positions of the arguments that have derivatives
        self.formulas: list[Callable] = []
        self.joint: Callable | None = None
        self.composition: Callable | None = None
        self._plans: dict[int, Plan] = {}

    # The table of derivatives

    def derivatives(self, **formulas: Callable) -> None:
        """One formula for each input that has a derivative, called as formula(grad, values...)."""
        self.inputs = [self.parameters.index(name) for name in formulas]
        self.formulas = list(formulas.values())

    def joint_derivative(self, *inputs: str):
        """Decorates one formula for several inputs, whose gradients share work.

        Called as formula(grad, wanted, values...): `wanted` says which gradients are asked for. An
        input called `tensors` is a list: `wanted` and the result have an entry for each of them.
        """

        def decorate(formula):
            self.inputs = [self.parameters.index(name) for name in inputs]
            self.joint = formula
            self.takes_list = inputs == ("tensors",)
            return formula

        return decorate

    def defined_by(self, composition: Callable) -> Callable:
        """Decorates the plain composition of ops that says what a fused kernel computes.

        Tests hold the kernel against it, forward and gradient.
        """
        self.composition = composition
        return composition

    # Recording

    def record(self, values, result: Tensor | list[Tensor]) -> None:
        """Give `result` its place in the graph. `values`: the arguments, then the outputs."""
        edges, needed = [], 0  # `needed` has a bit for every input that needs a gradient
        for i in self.inputs:
            value = values[i]
            for tensor in value if self.takes_list else (value,):
                edge = None
                if isinstance(tensor, Tensor) and tensor._requires_grad:
                    edge = tensor._node or edge_of(tensor)
                    needed |= 1 << len(edges)
                edges.append(edge)
        plan = self._plans.get(needed) or self._plan(needed)
        saved, n_arguments = [], len(self.parameters)
        for position, part in plan.saves:
            value = values[position]
            if part is not None:
                saved.append((part(value), None, None))
            elif isinstance(value, Tensor) and (position < n_arguments or value is result):
                storage = value._storage
                kept = value if position < n_arguments else value.array  # no cycle: no Tensor `out`
                saved.append((kept, storage, storage.version))
            else:
                saved.append((_unwrap(value, []), None, None))
        if not self.many:
            result._node = Node(self, plan, edges, saved, result.array)
            result._requires_grad = True
            return
        source = Node(self, plan, edges, saved, result[0].array)
        source.n_outputs = len(result)
        for number, tensor in enumerate(result):
            tensor._node = Output(source, number, tensor.array)
            tensor._requires_grad = True

    def _plan(self, needed: int) -> Plan:
        """The plan for the inputs whose bits are set in `needed`, made once."""
        saves: list = []

        def place(name: str) -> int:
            part = None
            if name not in self.names:
                name, _, suffix = name.rpartition("_")
                part = _shape_of if suffix == "shape" else _dtype_of
            entry = (self.names.index(name), part)
            if entry not in saves:
                saves.append(entry)
            return saves.index(entry)

        formulas: list = []
        joint_positions: list = []
        if self.joint is not None:
            joint_positions = [place(name) for name in _parameters(self.joint)[2:]]
        else:
            for i, formula in enumerate(self.formulas):
                names = _parameters(formula)[1:] if needed >> i & 1 else []
                formulas.append((formula, [place(name) for name in names]))
        plan = self._plans[needed] = Plan(saves, formulas, self.joint, joint_positions)
        return plan

    # Calling

    def bind(self, args: tuple, kwargs: dict) -> list:
        """The arguments in the order of `parameters`, defaults filled in."""
        if self.variadic and len(args) > self.positional:
            args = (*args[: self.positional], args[self.positional :])
        if not kwargs:
            return [*args, *self.fill[len(args) :]]
        names = self.parameters[len(args) :]
        rest = self.fill[len(args) :]
        return [*args, *[kwargs.get(name, v) for name, v in zip(names, rest, strict=True)]]

    def __call__(self, *args, **kwargs):
        """The general way: any arguments. `_unary` and `_binary` are short cuts around it."""
        found: list[Tensor] = []
        arrays = [_unwrap(a, found) for a in args]
        options = {k: _unwrap(v, found) for k, v in kwargs.items()} if kwargs else kwargs
        if "axis" in options or "keepdims" in options:  # NumPy's names are understood as well
            options = {_TORCH_NAMES.get(k, k): v for k, v in options.items()}
            kwargs = {_TORCH_NAMES.get(k, k): v for k, v in kwargs.items()}
        try:
            output = self.forward(*arrays, **options)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise errors.translate(error, self, found) from error
        if not found:
            return output
        hidden: tuple = ()
        if self.many:
            result: Any = [wrap(o) for o in output]
        elif type(output) is tuple:  # the result, and what else its derivative needs
            result, hidden = wrap(output[0]), output[1:]
        else:
            result = wrap(output)
        if self.view:
            for number, view in enumerate(result if self.many else (result,)):
                step = (self, args[1:], kwargs, number if self.many else None)
                link_view(view, args[0], step)
        if mode.enabled and self.inputs and any([t._requires_grad for t in found]):
            values = self.bind(args, kwargs)
            if any([_needs_grad(values[i]) for i in self.inputs]):
                self.record([*values, result, *hidden], result)
        return (result, *map(wrap, hidden)) if hidden else result


_TORCH_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def _needs_grad(value) -> bool:
    if isinstance(value, Tensor):
        return value._requires_grad
    return type(value) in (list, tuple) and any(_needs_grad(v) for v in value)


def _unwrap(value, found: list[Tensor]):
    """`value` with arrays in place of Tensors, which are appended to `found`."""
    if isinstance(value, Tensor):
        found.append(value)
        return value.array
    if type(value) in (list, tuple):
        return type(value)([_unwrap(v, found) for v in value])
    return value


def _shape_of(value):
    if type(value) in (list, tuple):
        return [_shape_of(v) for v in value]
    return value.array.shape if isinstance(value, Tensor) else np.shape(value)


def _dtype_of(value):
    return value.array.dtype if isinstance(value, Tensor) else np.asarray(value).dtype


def _parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def zeros(shape, like):
    """Zeros of the type of `like`: a Tensor if it is one, else an array."""
    if isinstance(like, Tensor):
        return wrap(np.zeros(shape, like.array.dtype))
    return np.zeros(shape, like.dtype)


# Types


def promote(op: Op, args: tuple) -> tuple:
    """`args` with all tensors of one dtype, the one PyTorch's rules give. The one place for it.

    Python numbers stay numbers: NumPy lets them take part as weakly as PyTorch does.
    """
    tensors, numbers = [], []
    for name, value in zip(op.parameters, args, strict=False):
        if name not in op.promoted or value is None:
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


# The decorators


def op(forward=None, *, numpy=(), function=True, method=True, alone=False, **kinds):
    """An operation on whole tensors: reductions, products, shapes, layers.

    `numpy`: NumPy's function of the same meaning, or several. `function`, `method`: whether it is a
    function of the package and a method of Tensor. `alone`: only the first argument is ever a
    tensor. `kinds`: see `Op`.
    """
    if forward is None:
        return functools.partial(
            op, numpy=numpy, function=function, method=method, alone=alone, **kinds
        )
    made = Op(forward, **kinds)
    call = _alone(made) if alone or made.view else _any(made)
    return register(functools.wraps(forward)(call), made, numpy, function, method)


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


def _any(op: Op):
    def call(*args, **kwargs):
        return op(*args, **kwargs)

    return call


def _alone(op: Op):
    """The short way for one tensor and arguments that are none: sums, views."""
    forward, view = op.forward, op.view

    def call(input, *args, **kwargs):
        if kwargs or op.many or not isinstance(input, Tensor):
            return op(input, *args, **kwargs)
        try:
            result = wrap(forward(input.array, *args))
        except (ValueError, TypeError, IndexError) as error:
            raise errors.translate(error, op, [input]) from error
        if view:
            link_view(result, input, (op, args, kwargs, None))
        if input._requires_grad and mode.enabled and op.inputs:
            op.record([*op.bind((input, *args), kwargs), result], result)
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
        except ValueError as error:
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
