"""The derivatives of a function at a point, of every order, by autograd and by differences.

`Problem` is the function with its inputs as leaves in float64, and the weights; `Line` looks at it
along one direction. A complex number counts as two real ones: products of vectors are sums over all
real and imaginary parts (`reals`); PyTorch's gradients of complex tensors are made for just that.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import numpy as np

from ..autograd.functional import pullback
from ..creation import get_rng_state, set_rng_state
from ..func import functional_call, tree
from ..nn.modules.module import Module
from ..tensor import Tensor, wrap


class Variable(NamedTuple):
    """Something that is differentiated with respect to."""

    name: str
    leaf: Tensor
    view: Any  # makes what f gets of the leaf
    note: str = ""


class Problem:
    """f at a point: the inputs as leaves, the weights, and all derivatives there."""

    def __init__(self, f, inputs: tuple, kwargs: dict, eps: float, seed: int):
        self.f, self.inputs, self.kwargs, self.eps = f, inputs, kwargs, eps
        self.rng = np.random.default_rng((seed, 0))  # the directions have (seed, order, number)
        self.arguments, self.structure = tree.flatten((inputs, kwargs))
        self.leaves: dict[int, Variable] = {}  # by the argument's number
        self.parameters: dict[str, Variable] = {}
        named = dict(f.named_parameters()) if isinstance(f, Module) else {}
        floating = [i for i, t in enumerate(self.arguments) if _is_floating(t)]
        marked = [i for i in floating if self.arguments[i].requires_grad]
        names = _names(f, inputs, kwargs)
        self.state: dict[str, Tensor] = {}  # what of a module is not checked
        for i in floating:
            variable = _variable(names[i], self.arguments[i])
            if i in (marked or floating):
                self.leaves[i] = variable
            else:  # in float64 as well, for the types of a function's inputs may have to agree
                self.arguments[i] = variable.view(variable.leaf).detach()
        for name, parameter in named.items():
            variable = _variable(name, parameter)
            if parameter.requires_grad:
                self.parameters[name] = variable
            else:
                self.state[name] = variable.leaf.detach()
        self.inner = [*self.leaves.values(), *self.parameters.values()]
        self.weights: list[list[Tensor]] = []  # w0, w1, ... one for each value of F0, F1, ...
        self.weighted: list[Variable] = []  # w0 as something that F1 depends on
        values = self.derivative(0)
        if not self.inner or not values:
            which = "takes" if not self.inner else "returns"
            raise ValueError(f"check_gradients: {name_of(f)} {which} no floating tensor")
        for value in values:
            if not np.isfinite(value.array).all():
                raise ValueError(
                    f"check_gradients: {name_of(f)} is not finite here: there are no differences "
                    "to compare with"
                )

    def variables(self, order: int) -> list[Variable]:
        """What F(order - 1) is a function of."""
        return self.inner if order == 1 else self.inner + self.weighted

    def values(self) -> list[Tensor]:
        """F0: the floating tensors that f returns."""
        random_state = get_rng_state()  # put back afterwards: dropout drops the same every time
        arguments = list(self.arguments)
        for i, variable in self.leaves.items():
            arguments[i] = variable.view(variable.leaf)
        args, kwargs = tree.unflatten(arguments, self.structure)
        try:
            if isinstance(self.f, Module):
                state = self.state | {n: v.view(v.leaf) for n, v in self.parameters.items()}
                for name, buffer in self.f.named_buffers():
                    state[name] = wrap(buffer.array.astype(_wide(buffer.array.dtype)))
                output = functional_call(self.f, state, tuple(args), kwargs)
            else:
                output = self.f(*args, **kwargs)
        finally:
            set_rng_state(random_state)
        return [t for t in tree.flatten(output)[0] if _is_floating(t)]

    def derivative(self, order: int, weights: list | None = None) -> list[Tensor]:
        """F(order): for each variable the gradient of <w, F(order - 1)>, for order 0 the outputs.

        `weights`: instead of the last w.
        """
        values = self.values()
        for k in range(order):
            if len(self.weights) == k:
                self.weights.append(self._random_weights(values))
                if k == 0:
                    for i, w in enumerate(self.weights[0]):
                        name = f"the gradient given for output {i}"
                        self.weighted.append(Variable(name, w, lambda leaf: leaf))
            last = k == order - 1
            chosen = weights if weights is not None and last else self.weights[k]
            variables = [v.leaf for v in self.variables(k + 1)]
            found = pullback(values, variables, chosen, create_graph=not last)
            values = [
                wrap(np.zeros_like(v.array)) if g is None else g
                for g, v in zip(found, variables, strict=True)
            ]
        return values

    def _random_weights(self, values: list[Tensor]) -> list[Tensor]:
        if len(values) == 1 and values[0].numel() == 1 and not values[0].is_complex():
            made = [np.ones_like(values[0].array)]  # then F1 is the gradient as one knows it
        else:
            made = [random_like(v.array, self.rng) for v in values]
        return [wrap(w).requires_grad_() for w in made]

    def repeats(self, order: int) -> bool:
        """Whether F(order) is the same when it is computed twice."""
        pairs = zip(self.derivative(order), self.derivative(order), strict=True)
        return all(np.array_equal(a.array, b.array, equal_nan=True) for a, b in pairs)

    def noise(self, order: int, values: list[Tensor]) -> float:
        """What rounding can make of a difference of values of this size."""
        pairs = zip(self.weights[order - 1], values, strict=True)
        size = np.sqrt(sum(np.linalg.norm(reals(w.array) * reals(v.array)) ** 2 for w, v in pairs))
        return float(64 * np.finfo(np.float64).eps * size / self.eps)


class Line:
    """<w, F(order - 1)> along a direction of one variable."""

    def __init__(self, problem: Problem, order: int, variable: Variable, direction):
        self.problem, self.order = problem, order
        self.variable, self.direction = variable, direction

    def at(self, step: float) -> list:
        """The values of F(order - 1) there, as arrays."""
        array = self.variable.leaf.array
        original = array.copy()
        array[...] = original + step * self.direction
        try:
            return [t.array.copy() for t in self.problem.derivative(self.order - 1)]
        finally:
            array[...] = original

    def rates(self, scale=1.0) -> list:
        """By how much each of the values changes, by a central difference of step scale * eps."""
        eps = scale * self.problem.eps
        pairs = zip(self.at(eps), self.at(-eps), strict=True)
        return [(after - before) / (2 * eps) for after, before in pairs]

    def slope(self, scale=1.0) -> float:
        """By how much the weighted sum of the values changes."""
        return self.weighted(self.rates(scale))

    def weighted(self, values: list) -> float:
        pairs = zip(self.problem.weights[self.order - 1], values, strict=True)
        return sum(dot(w.array, v) for w, v in pairs)

    def approaches(self, got: float) -> bool:
        """Whether the difference gets closer to `got` when the step is halved.

        Then what is between them is the error of the difference: a quarter remains of it where the
        function is smooth, a half where its second derivative has a jump.
        """
        return abs(self.slope(0.5) - got) <= 0.6 * abs(self.slope() - got)

    def breaks(self, allowed: float) -> bool:
        """Whether there is a kink or a jump within the step.

        When the step is halved, the slope of a smooth function stays the same, and the slopes on
        the right and on the left differ by half as much as before.
        """
        here = self.at(0)

        def bend(scale):
            step = scale * self.problem.eps
            sides = zip(self.at(step), here, self.at(-step), strict=True)
            return self.weighted([(a - h) - (h - b) for a, h, b in sides]) / step

        jump, kink = self.slope(0.5) - self.slope(), bend(0.5) - bend(1) / 2
        return not (abs(jump) <= allowed and abs(kink) <= allowed / 2)


def name_of(f) -> str:
    """How a function or a module is called in a message."""
    if isinstance(f, Module):
        return type(f).__name__
    if inspect.ismethod(f) and isinstance(f.__self__, type):  # apply of a Function
        return f"{f.__self__.__name__}.{f.__name__}"
    if isinstance(f, functools.partial):
        return f"partial({name_of(f.func)})"
    return getattr(f, "__qualname__", repr(f)).rpartition("<locals>.")[2]


def _names(f, inputs: tuple, kwargs: dict) -> list[str]:
    """For each leaf of (inputs, kwargs) its name: the parameter's, and the way inside of it."""
    try:
        of_function = inspect.ismethod(f) and f.__name__ == "apply"  # of an autograd.Function
        called = f.forward if isinstance(f, Module) else f.__self__.forward if of_function else f
        parameters = list(inspect.signature(called).parameters.values())
        parameters = [p for p in parameters if not (of_function and p.name == "ctx")]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i, value in enumerate(inputs):
        plain = i < len(parameters) and parameters[i].kind is not inspect.Parameter.VAR_POSITIONAL
        names += _inside(parameters[i].name if plain else f"input {i}", value)
    for key, value in kwargs.items():
        names += _inside(key, value)
    return names


def _inside(name: str, value) -> list[str]:
    nodes = tree.children(value)
    if nodes is None:
        return [name]
    return [path for key, child in nodes for path in _inside(f"{name}[{key!r}]", child)]


def _is_floating(value) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _wide(dtype):
    """The type to compute in: float64 or complex128; integers stay what they are."""
    if dtype.kind == "c":
        return np.dtype(np.complex128)
    return dtype if dtype.kind in "biu" else np.dtype(np.float64)


def _variable(name: str, tensor: Tensor) -> Variable:
    """A leaf with the values of `tensor`, with its layout in memory, and the way back to it.

    Where elements share memory, moving one moves the others: then the leaf is the memory.
    """
    array = tensor.array
    dtype = _wide(array.dtype)
    shape, strides = array.shape, tensor.stride()
    note = f", {tensor.dtype}" + (" (in float64)" if array.dtype != dtype else "")
    if any(step < 0 for step in strides) or not array.size:
        return Variable(name, _leaf(array.astype(dtype)), lambda leaf: leaf, note)
    span = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    memory = np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,)).astype(dtype)
    if _overlaps(shape, strides):
        what = f"{note}, the memory of a tensor of shape {tuple(shape)} and strides {strides}"
        return Variable(name, _leaf(memory), lambda leaf: leaf.as_strided(shape, strides), what)
    steps = [step * dtype.itemsize for step in strides]
    same = np.lib.stride_tricks.as_strided(memory, shape, steps)
    return Variable(name, _leaf(same), lambda leaf: leaf, note)


def _leaf(array) -> Tensor:
    return wrap(array).requires_grad_()


def _overlaps(shape, strides) -> bool:
    """Whether two indices may mean the same place in memory."""
    reach = 0
    for step, n in sorted((step, n) for step, n in zip(strides, shape, strict=True) if n > 1):
        if step <= reach:
            return True
        reach += step * (n - 1)
    return False


def random_like(like, rng):
    values = rng.standard_normal(like.shape)
    if like.dtype.kind == "c":
        values = values + 1j * rng.standard_normal(like.shape)
    return values.astype(like.dtype)


def reals(array):
    """All real and imaginary parts in one row."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.float64) if flat.dtype.kind == "c" else flat


def unreal(row, like):
    """The inverse: an array like `like` of these parts."""
    return np.ascontiguousarray(row).view(like.dtype).reshape(like.shape)


def dot(a, b) -> float:
    return float(reals(a) @ reals(b))


def only(array, start: int, stop: int):
    """`array` with zeros in place of all real numbers outside of [start, stop)."""
    row = np.zeros_like(reals(array))
    row[start:stop] = reals(array)[start:stop]
    return unreal(row, array)
