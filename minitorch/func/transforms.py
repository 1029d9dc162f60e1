"""Derivatives as functions: grad(f) is the function that computes the gradient of f.

Each transform runs f on copies of its arguments that are leaves of the graph (or views, where the
argument already belongs to it), and differentiates the result in the ordinary way. Nesting needs
nothing more: inside grad(grad(f)) the outer copies are tensors that require a gradient like any
others, so the inner gradient is recorded, and differentiated once more.
Invariant: what is returned requires a gradient only if it depends on something outside that does;
`_escaping` sees to it, and tells beforehand whether the backward pass must itself be recorded.
There is no forward mode: `linearize` applies backward to the backward pass, which is linear in the
gradient that it starts from. PyTorch: torch/_functorch/eager_transforms.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from .. import devices
from ..autograd.functional import one_hot, pullback
from ..autograd.grad_mode import enable_grad, is_grad_enabled
from ..autograd.graph import AccumulateGrad, edge_of
from ..tensor import Tensor, wrap
from .tree import flatten, tree_map, unflatten


def grad(func, argnums=0, has_aux=False):
    """The function that computes the gradient of `func`, which returns one 0-d tensor.

    `argnums`: with respect to which positional argument, or tuple of them; each may be any nesting
    of tensors. `has_aux`: func returns (output, anything), and the result is (gradient, anything).
    Can be nested to any order. Raises RuntimeError for an output that is not 0-d. Mirrors
    torch.func.grad.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def gradient(*args, **kwargs):
        result, value = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def grad_and_value(func, argnums=0, has_aux=False):
    """Like `grad`, but the function returns (gradient, output).

    With `has_aux`: (gradient, (output, anything)). Mirrors torch.func.grad_and_value.
    """
    name = "grad_and_value(f)(*args)"

    @functools.wraps(func)
    def gradient_and_value(*args, **kwargs):
        call = _Call(functools.partial(func, **kwargs), args, argnums, has_aux, name)
        output = call.output
        if not isinstance(output, Tensor):
            raise RuntimeError(f"{name}: Expected f(*args) to return a Tensor, got {type(output)}")
        if output.dim() != 0:
            raise RuntimeError(
                f"{name}: Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        result = call.pull(None, keep_graph=None)  # freed on the way, unless it is recorded
        value = call.outside(output)
        return result, ((value, call.outside(call.aux)) if has_aux else value)

    return gradient_and_value


def vjp(func, *primals, has_aux=False):
    """(func(*primals), vjp_fn): vjp_fn(v) is v times the Jacobian, for v like the output.

    vjp_fn returns a tuple like `primals`. With `has_aux`: (output, vjp_fn, anything). Mirrors
    torch.func.vjp.
    """
    call = _Call(func, primals, None, has_aux, "vjp(f, *primals)")
    call.check_outputs()

    def vjp_fn(cotangents, retain_graph=True, create_graph=None):
        weights, structure = flatten(cotangents)
        if structure != call.output_structure:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {structure}, primal output: "
                f"{call.output_structure}"
            )
        return call.pull(weights, create_graph)

    return call.results(vjp_fn)


def linearize(func, *primals):
    """(func(*primals), jvp_fn): jvp_fn(*tangents) is the Jacobian times tangents like `primals`.

    Runs func once, however often jvp_fn is called. Mirrors torch.func.linearize.
    """
    call, push = _linearized(func, primals, None, False)
    return call.outside(call.output), lambda *tangents: push(tangents)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), J tangents): the Jacobian times `tangents`, a tuple like `primals`.

    `strict`: an output that is independent of the inputs is a RuntimeError. func must be twice
    differentiable, for this is done with two backward passes. Mirrors torch.func.jvp.
    """
    name = "jvp(f, primals, tangents)"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{name}: Expected primals to be a tuple, for f(*primals) is called.")
    structures = flatten(primals)[1], flatten(tangents)[1]
    if structures[0] != structures[1]:
        raise RuntimeError(
            f"{name}: Expected primals and tangents to have the same python structure. Got primals "
            f"with structure {structures[0]} and tangents with structure {structures[1]}"
        )
    call, push = _linearized(func, primals, None, has_aux)
    if strict and not all(output.requires_grad for output in call.outputs):
        raise RuntimeError(f"{name}: an output of f is independent of the inputs (strict=True)")
    return call.results(push(tangents))


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None):
    """The function that computes the Jacobian of `func`: one backward pass per output element.

    Every output becomes, for every argument of `argnums`, a tensor of shape (*output.shape,
    *argument.shape), nested as the output, then as the argument. `chunk_size` changes nothing.
    Mirrors torch.func.jacrev.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def jacobian(*args):
        call = _Call(func, args, argnums, has_aux, "jacrev(f)(*args)")
        call.check_outputs()
        blocks = []
        for i, output in enumerate(call.outputs):
            weights: list = [None] * len(call.outputs)
            rows = []
            for weights[i] in one_hot(output):
                rows.append(call.pull_flat(weights))
            columns = zip(*rows, strict=True) if rows else [()] * len(call.inputs)
            block = [
                _stack(column, 0, (*output.shape, *input.shape), output)
                for column, input in zip(columns, call.inputs, strict=True)
            ]
            blocks.append(unflatten(block, call.input_structure))
        result = unflatten(blocks, call.output_structure)
        return (result, call.outside(call.aux)) if has_aux else result

    return jacobian


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """`jacrev` with one pass per element of the *inputs*: cheaper if these are the fewer ones.

    func must be twice differentiable (see `linearize`). Mirrors torch.func.jacfwd.
    """

    @functools.wraps(func)
    def jacobian(*args):
        call, push = _linearized(func, args, argnums, has_aux)
        blocks = [[] for _ in call.outputs]
        for i, input in enumerate(call.inputs):
            tangents = [_zeros_like(t) for t in call.inputs]
            columns = []
            for tangents[i] in one_hot(input):
                columns.append(push(tangents, flat=True))
            rows = zip(*columns, strict=True) if columns else [()] * len(call.outputs)
            for block, row, output in zip(blocks, rows, call.outputs, strict=True):
                block.append(_stack(row, -1, (*output.shape, *input.shape), output))
        trees = [unflatten(block, call.input_structure) for block in blocks]
        result = unflatten(trees, call.output_structure)
        return (result, call.outside(call.aux)) if has_aux else result

    return jacobian


def hessian(func, argnums=0):
    """The function that computes the second derivatives: jacfwd(jacrev(func)).

    Mirrors torch.func.hessian.
    """
    return jacfwd(jacrev(func, argnums), argnums)


class _Call:
    """One run of `func` on its own copies of the arguments that are to be differentiated.

    `inputs`: these copies, flat; `outputs`: the results, flat; both with their structures.
    """

    def __init__(self, func, args: tuple, argnums, has_aux: bool, name: str):
        self.name = name
        self.has_aux = has_aux
        self.recording = is_grad_enabled()  # whether the caller records what we return
        args, chosen = _take(args, argnums)
        self.inputs, self.input_structure = flatten(chosen)
        self.leaves = {edge_of(t) for t in self.inputs if t.is_leaf}
        with enable_grad():
            self.output = func(*args)
        self.aux = None
        if has_aux:
            if not (isinstance(self.output, tuple) and len(self.output) == 2):
                raise RuntimeError(
                    f"{name}: output of function f should be a tuple: (output, aux) if has_aux is "
                    "True"
                )
            self.output, self.aux = self.output
        self.outputs, self.output_structure = flatten(self.output)

    def check_outputs(self) -> None:
        """RuntimeError unless all outputs are floating or complex tensors."""
        for output in self.outputs or [None]:
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"{self.name}: expected f to return only tensors, at least one, got "
                    f"{type(output)}"
                )
            if not (output.is_floating_point() or output.is_complex()):
                raise RuntimeError(
                    f"{self.name}: All outputs of f must be floating-point or complex Tensors, got "
                    f"Tensor with dtype {output.dtype}"
                )

    def outside(self, tree):
        """`tree` as the caller sees it: without a graph that leads to our inputs alone."""
        return tree_map(self._outside, tree)

    def _outside(self, value):
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        return value if self.recording and _escaping([value], self.leaves) else value.detach()

    def results(self, derivative):
        """(output, derivative), and what else func has returned."""
        found = (self.outside(self.output), derivative)
        return (*found, self.outside(self.aux)) if self.has_aux else found

    def pull(self, weights, create_graph=None, keep_graph=True):
        """The gradient of sum(weights * outputs), in the structure of the arguments."""
        return unflatten(self.pull_flat(weights, create_graph, keep_graph), self.input_structure)

    def pull_flat(self, weights, create_graph=None, keep_graph=True) -> list:
        outputs: Sequence[Tensor] = self.outputs
        if weights is not None:  # without: of the one output, with weight 1
            pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if w is not None]
            outputs, weights = zip(*pairs, strict=True)
        if create_graph is None:
            tensors = [*outputs, *(weights or ())]
            create_graph = self.recording and _escaping(tensors, self.leaves)
        found = pullback(outputs, self.inputs, weights, create_graph, keep_graph)
        return [_zeros_like(t) if g is None else g for g, t in zip(found, self.inputs, strict=True)]


def _linearized(func, args: tuple, argnums, has_aux: bool):
    """A `_Call`, and the function that multiplies its Jacobian with tangents."""
    call = _Call(func, args, argnums, has_aux, "jvp(f, primals, tangents)")
    call.check_outputs()
    weights = [_zeros_like(output).requires_grad_() for output in call.outputs]
    gradients = pullback(call.outputs, call.inputs, weights, True)
    own = call.leaves | {edge_of(w) for w in weights}

    def push(tangents, flat=False):
        tangents = tangents if flat else flatten(tangents)[0]
        pairs = [(g, t) for g, t in zip(gradients, tangents, strict=True) if g is not None]
        used, chosen = zip(*pairs, strict=True) if pairs else ((), ())
        create_graph = call.recording and _escaping([*used, *chosen], own)
        found = pullback(used, weights, chosen, create_graph, keep_graph=True)
        products = [_zeros_like(w) if p is None else p for p, w in zip(found, weights, strict=True)]
        return products if flat else unflatten(products, call.output_structure)

    return call, push


def _escaping(tensors, own: set) -> bool:
    """Whether a gradient of `tensors` would go to a leaf that is not one of our `own`.

    Leaves that nobody holds any more do not count: transforms that ran inside have left them.
    """
    nodes = [edge_of(t) for t in tensors]
    seen = {node for node in nodes if node is not None and node not in own}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if isinstance(node, AccumulateGrad) and node.variable is not None:
            return True
        for edge in node.edges:
            if edge is not None and edge not in seen and edge not in own:
                seen.add(edge)
                stack.append(edge)
    return False


def _take(args: tuple, argnums) -> tuple[tuple, object]:
    """`args` with the chosen ones copied, and these (all as a tuple for argnums=None)."""
    if argnums is None:
        args = tree_map(_own, args)
        return args, args
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers or len(set(numbers)) != len(numbers):
        raise RuntimeError(f"argnums must be non-empty and unique, got {argnums}")
    taken = list(args)
    for number in numbers:
        if not isinstance(number, int) or not -len(args) <= number < len(args):
            raise RuntimeError(f"Got argnum={number}, but only {len(args)} positional inputs")
        taken[number] = tree_map(_own, args[number])
    chosen = tuple(taken[number] for number in numbers)
    return tuple(taken), chosen if isinstance(argnums, tuple) else chosen[0]


def _own(value):
    """A tensor of our own at the place of `value`: it leads to `value` if that matters outside."""
    if not isinstance(value, Tensor):
        raise ValueError(f"Thing passed to transform API must be Tensor, got {type(value)}")
    if value.requires_grad and is_grad_enabled():
        return value.view_as(value)
    return value.detach().requires_grad_()


def _zeros_like(tensor: Tensor) -> Tensor:
    with devices.guard(tensor.array):
        return wrap(np.zeros_like(tensor.array, order="C"))


def _stack(tensors, dim: int, shape: tuple, like: Tensor) -> Tensor:
    """The tensors side by side along a new dimension, in the given shape."""
    if not tensors:
        with devices.guard(like.array):
            return wrap(np.zeros(shape, like.array.dtype, like=like.array))
    return np.stack(tensors, dim).reshape(shape)  # type: ignore[return-value]
