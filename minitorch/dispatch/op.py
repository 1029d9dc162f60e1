"""What an operation is: a forward in plain NumPy, and a table of derivatives.

    @elementwise(numpy=np.multiply)
    def mul(input, other):
        return np.multiply(input, other)

    mul.derivatives(input=lambda grad, other: grad * other,
                    other=lambda grad, input: grad * input)

The names of a formula's parameters say what the graph keeps alive until backward: `out` (or the
names given as `outputs`) is the result, any other name an argument of the op, and `input_shape`,
`input_dtype` or `input_device` keeps only that of `input`. A formula is not run, and its values are
not saved, for an input that needs no gradient.

Called with arrays alone an op simply runs. So formulas, which are NumPy expressions and calls of
other ops, work on arrays in an ordinary backward, and on Tensors under create_graph=True, where
they are recorded like everything else: that is all there is to higher derivatives.

The decorators (declare.py) turn such a function into the one that users call, and register it under
its name as a function of the package and a method of Tensor. This file is the op itself: its table
of derivatives, how a call is recorded, and the general way of calling it.
PyTorch: tools/autograd/derivatives.yaml, and the code generated from it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import devices, kernels
from ..autograd import grad_mode
from ..autograd.grad_mode import mode
from ..autograd.graph import RESULT, Node, edge_of, show_saved
from ..tensor import Tensor, wrap
from . import errors
from .views import link_view


class Plan(NamedTuple):
    """What an op does when a given choice of its inputs needs a gradient.

    `saves`: (position among arguments and outputs, what of it) pairs. `formulas`: (number of the
    input, formula, positions of its values among the saved ones). `joint`: the one formula instead.
    """

    saves: list
    formulas: list
    joint: Callable | None
    joint_positions: list

    def in_pieces(self) -> Plan:
        """The same for large arrays, of an elementwise op."""
        split = functools.partial(functools.partial, kernels.pointwise)
        return self._replace(formulas=[(i, split(f), at) for i, f, at in self.formulas])


class Op:
    """An operation: `forward` on arrays, and the derivatives for its Tensors."""

    def __init__(self, forward, floating=False, view=False, outputs=("out",), many=False):
        self.name = forward.__name__
        self.node_name = "".join(w.capitalize() for w in self.name.split("_")) + "Backward0"
        self.forward = forward
        self.floating = floating  # integers become floats first: exp, div
        self.view = view  # the result shares the first argument's memory
        self.many = many  # the result is a tuple of tensors, each with a gradient
        parameters = inspect.signature(forward).parameters.values()
        self.parameters = [p.name for p in parameters]
        # What stands for each argument that is not given; () for the *arguments.
        self.fill = [() if p.default is p.empty else p.default for p in parameters]
        self.positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.names = [*self.parameters, *outputs]
        self.takes_list = False  # the differentiable input is a list of tensors: cat, stack
        self.promoted = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.inputs: Sequence[int] = []  # positions of the arguments that have derivatives
        self.formulas: list[Callable] = []
        self.joint: Callable | None = None
        self.composition: Callable | None = None
        # Of elementwise ops: see `elementwise` in declare.py. `codes`: NumPy's codes of the types
        # for the short cuts; `exact`: numbers beside half precision are not rounded to it first.
        # `elementwise`: large arrays may be taken in pieces; `ufunc` is all that `forward` does.
        self.codes = ""
        self.elementwise = False
        self.ufunc: np.ufunc | None = None
        self.kinds: set[int] = set()
        self.exact = False
        self.numbers: Collection[str] = self.parameters
        self.check: Callable | None = None
        self.call: Callable = self
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

    def record(self, values, result) -> None:
        """Give `result`, a Tensor or a tuple of them, its place in the graph.

        `values`: the arguments, then the outputs, in the order of `names`.
        """
        inputs, positions = values, self.inputs
        if self.takes_list:
            inputs = values[positions[0]]
            positions = range(len(inputs))
        if self.many and len(self.names) > len(values):  # every output has a name of its own
            values = [*values[: len(self.parameters)], *result]
        edges: list = []
        needed, bit = 0, 1  # `needed` has a bit for every input that needs a gradient
        for i in positions:
            tensor = inputs[i]
            if isinstance(tensor, Tensor) and tensor._requires_grad:
                edges.append(tensor._node or edge_of(tensor))
                needed |= bit
            else:
                edges.append(None)
            bit += bit
        plan = self._plans.get(needed) or self._plan(needed)
        saved: list = []
        for position, part in plan.saves:
            value = values[position]
            if part is not None:
                saved.append((part(value), None, None, 0))
            elif isinstance(value, Tensor):
                edge = RESULT if value is result else value._node or edge_of(value)
                storage = value._storage
                saved.append((value.array, edge, storage, storage.version))
            else:
                if type(value) in (list, tuple):
                    value = _unwrap(value, [])
                saved.append((value, None, None, 0))
        if self.many:
            for i, (position, part) in enumerate(plan.saves):
                number = position - len(self.parameters)
                if number >= 0 and part is None:  # the node's own output of that number
                    saved[i] = (saved[i][0], number, *saved[i][2:])
            node = Node(self, plan, edges, saved, result[0].array)
            node.outputs = []
            for tensor in result:
                output = node.add_output(tensor.array)
                if tensor.array.dtype.kind not in "iub":  # integers stay outside of the graph
                    tensor._node, tensor._requires_grad = output, True
        else:
            node = result._node = Node(self, plan, edges, saved, result.array)
            result._requires_grad = True
        if grad_mode.watching:
            grad_mode.announce(node)

    def _plan(self, needed: int) -> Plan:
        """The plan for the inputs whose bits are set in `needed`, made once."""
        saves: list = []

        def place(name: str) -> int:
            part = None
            if name not in self.names:
                name, _, suffix = name.rpartition("_")
                part = _PARTS[suffix]
            entry = (self.names.index(name), part)
            if entry not in saves:
                saves.append(entry)
                show_saved(name)
            return saves.index(entry)

        formulas: list = []
        joint_positions: list = []
        if self.joint is not None:
            joint_positions = [place(name) for name in _parameters(self.joint)[2:]]
        else:
            for i, formula in enumerate(self.formulas):
                if needed >> i & 1:
                    formulas.append((i, formula, [place(n) for n in _parameters(formula)[1:]]))
        plan = self._plans[needed] = Plan(saves, formulas, self.joint, joint_positions)
        return plan

    # Calling

    def arrange(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The same call with NumPy's names made PyTorch's, and by position what can be."""
        kwargs = {TORCH_NAMES.get(k, k): v for k, v in kwargs.items()}
        for name in self.parameters[len(args) : self.positional]:
            if name not in kwargs:
                break
            args = (*args, kwargs.pop(name))
        if self.variadic and self.parameters[self.positional] in kwargs:  # shape=(2, 3)
            args = (*args, kwargs.pop(self.parameters[self.positional]))
        return args, kwargs

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
        """The general way: any arguments. calls.py has short cuts around it."""
        if kwargs:
            args, kwargs = self.arrange(args, kwargs)
        found: list[Tensor] = []
        arrays = [_unwrap(a, found) for a in args]
        options = {k: _unwrap(v, found) for k, v in kwargs.items()} if kwargs else kwargs
        if self.takes_list and 0 < len(found) < len(args[0]) and type(args[0]) is not Tensor:
            raise errors.not_all_tensors(args[0])
        large = self.elementwise and found and found[0].array.size >= kernels.LARGE
        large = large and type(found[0].array) is np.ndarray
        try:
            if large:
                straight = self.ufunc and not options and found[0].array.dtype.char in "fd"
                forward = self.ufunc if straight else self.forward
                output = kernels.pointwise(forward, *arrays, **options)
            elif not found or type(found[0].array) is np.ndarray:
                output = self.forward(*arrays, **options)
            else:
                with devices.guard(found[0].array):
                    output = self.forward(*arrays, **options)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise errors.translate(error, self, found) from error
        except AttributeError:  # such as list.dtype
            errors.check_array(self, args)
            raise
        if not found:
            errors.check_array(self, args)
            return output
        hidden: tuple = ()
        if self.many:
            result: Any = tuple([wrap(o) for o in output])
        elif type(output) is tuple:  # the result, and what else its derivative needs
            result, hidden = wrap(output[0]), output[1:]
        else:
            result = wrap(output)
        if self.view:
            for number, view in enumerate(result if self.many else (result,)):
                link_view(view, args[0], self, args[1:], kwargs, number if self.many else None)
        if mode.enabled and self.inputs and any([t._requires_grad for t in found]):
            values = self.bind(args, kwargs)
            if any([_needs_grad(values[i]) for i in self.inputs]):
                self.record([*values, result, *hidden], result)
                if large:
                    result._node.plan = result._node.plan.in_pieces()
        return (result, *map(wrap, hidden)) if hidden else result


TORCH_NAMES = {"axis": "dim", "keepdims": "keepdim"}


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


def _device_of(value):
    return devices.of(value.array if isinstance(value, Tensor) else value)


# What `input_shape` and the like stand for among the parameters of a formula.
_PARTS = {"shape": _shape_of, "dtype": _dtype_of, "device": _device_of}


def _parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def plain(value):
    """The array of a Tensor; an array as it is. For what has no gradient: indices, masks."""
    return value.array if isinstance(value, Tensor) else value


def zeros(shape, like):
    """Zeros of the type of `like`: a Tensor if it is one, else an array."""
    if isinstance(like, Tensor):
        return wrap(np.zeros_like(like.array, shape=shape, order="C"))
    return np.zeros_like(like, shape=shape, order="C")
