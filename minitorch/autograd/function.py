"""Function: an operation of the user's own, with a backward of the user's own.

    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            (y,) = ctx.saved_tensors
            return grad * y

    y = Exp.apply(x)

`apply` runs forward unrecorded, then gives the results one node, a `BackwardCFunction`, whose turn
in backward is to call the user's. Invariant: the `ctx` that the user fills belongs to the node and
refers back weakly; on its own it has no names but the user's, so that ctx.shape is the user's.
PyTorch: torch/autograd/function.py, torch/csrc/autograd/custom_function.cpp.
"""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from typing import Any, ClassVar

import numpy as np

from ..tensor import Tensor, wrap
from . import grad_mode
from .engine import conjugate
from .grad_mode import mode, no_grad
from .graph import Node, edge_of


class FunctionCtx:
    """What forward leaves for backward. Mirrors torch.autograd.function.FunctionCtx."""

    needs_input_grad: tuple  # for each argument of apply
    _to_save: tuple = ()
    _dirty: tuple = ()
    _non_differentiable: tuple = ()
    _materialize = True
    _node: Any = None  # a weak reference, once there is one

    def save_for_backward(self, *tensors) -> None:
        """Keep tensors (or None) for backward, guarded against changes in place."""
        self._to_save = tensors

    def save_for_forward(self, *tensors) -> None:
        """For forward-mode derivatives; nothing to do here."""

    def mark_dirty(self, *inputs) -> None:
        """Say that forward changed these inputs in place. It has to return them as well."""
        self._dirty = inputs

    def mark_non_differentiable(self, *outputs) -> None:
        """Say that these outputs have no gradient."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default), not None, for outputs that were not used."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        """What save_for_backward has kept. RuntimeError if freed, or changed since."""
        node = None if self._node is None else self._node()
        return self._to_save if node is None else tuple(node.unpack(True))


class BackwardCFunction(Node):
    """The node of a Function's results. Attributes that it lacks are those of `ctx`."""

    function: ClassVar[Any] = None  # each Function has a subclass of this of its own
    node_name: ClassVar[str] = ""
    outputs: Any = None

    def __init__(self, ctx: FunctionCtx, args: tuple, array):
        self.ctx = ctx
        self.takes_tensor = [isinstance(a, Tensor) for a in args]
        edges = [edge_of(a) for a in args if isinstance(a, Tensor)]
        super().__init__(None, None, edges, [], array)
        self._metadata: dict = {}

    def __getattr__(self, name: str):
        if name == "ctx":  # before __init__
            raise AttributeError(name)
        return getattr(self.ctx, name)

    def name(self) -> str:
        return type(self).__name__

    def save(self, results: list) -> None:
        """Take what forward has given to save_for_backward into the graph."""
        for i, value in enumerate(self.ctx._to_save):
            if value is None:
                self.saved.append((None, None, None, 0))
                continue
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type "
                    f"{type(value).__name__}"
                )
            number = next((n for n, r in enumerate(results) if r is value), None)
            made_here = number is not None and value.requires_grad
            edge = number if made_here else edge_of(value)
            kept = value if value._node is None else value.array  # a leaf comes back as it was
            self.saved.append((kept, edge, value._storage, value._storage.version))
        self.ctx._to_save = ()

    def backward(self, grad, wanted, create_graph: bool) -> list:
        """Call the user's backward, with Tensors, and look at what it returns."""
        grads = [grad] if self.outputs is None else grad
        kinds = [(None, self.shape, self.dtype)] if self.outputs is None else self.outputs
        used = next((g for g in grads if g is not None), np.empty(0))  # its device is the results'
        like = used.array if isinstance(used, Tensor) else used
        shown: list = []
        for one, (_, shape, dtype) in zip(grads, kinds, strict=True):
            if one is None and shape is not None and self.ctx._materialize:
                one = np.zeros_like(like, dtype, shape=shape, order="C")
            if one is not None:
                one = conjugate(one if create_graph and isinstance(one, Tensor) else wrap(one))
            shown.append(one)
        results = _backward_of(self.function)(self.ctx, *shown)
        results = list(results) if isinstance(results, tuple) else [results]
        expected = len(self.takes_tensor)
        while len(results) > expected and results[-1] is None:
            results.pop()
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{expected}, got {len(results)})"
            )
        for i, (result, is_tensor) in enumerate(zip(results, self.takes_tensor, strict=True)):
            if result is not None and not is_tensor:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different than None at position "
                    f"{i + 1}, but the corresponding forward input was not a Variable"
                )
        results = [r for r, is_tensor in zip(results, self.takes_tensor, strict=True) if is_tensor]
        return [self._checked(i, result, create_graph) for i, result in enumerate(results)]

    def _checked(self, i: int, result, create_graph: bool):
        """Gradient `i` that the user's backward has returned, in the engine's form."""
        edge = self.edges[i]
        if result is not None and not isinstance(result, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(result).__name__})")
        if result is None:
            return None
        shape = result.array.shape
        if edge is not None and shape != edge.shape and not _expands(edge.shape, shape):
            raise RuntimeError(
                f"Function {self.name()} returned an invalid gradient at index {i} - got "
                f"{list(shape)} but expected shape compatible with {list(edge.shape)}"
            )
        result = conjugate(result)
        # As a view: the user may have kept the array, or return it twice.
        return result if create_graph else result.array.view()


def _expands(shape, to) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _backward_of(function):
    """The user's backward, which may be called vjp."""
    own = function.backward is not Function.backward
    if own and function.vjp is not Function.vjp:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
            "should only implement one of them."
        )
    return function.backward if own else function.vjp


class Function:
    """An operation with its own backward: override forward and backward, call `apply`.

    forward(ctx, *args), or forward(*args) with setup_context(ctx, inputs, output); they return a
    Tensor or a tuple in which Tensors may be. backward(ctx, *grads) gets a gradient for each output
    and returns one, or None, for each argument. All are static methods. Gradients of gradients
    work if backward is made of differentiable operations. Mirrors torch.autograd.Function.
    """

    _node_class: ClassVar[type] = BackwardCFunction

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        about = {"function": cls, "node_name": cls.__name__, "__module__": cls.__module__}
        cls._node_class = type(cls.__name__ + "Backward", (BackwardCFunction,), about)

    def __init__(self, *args, **kwargs):
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method, and call its apply()."
        )

    @staticmethod
    def forward(*args, **kwargs):
        """The results of `args`. Nothing inside is recorded."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx, inputs: tuple, output):
        """Fill `ctx`, for a forward that is not given it."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The gradients of forward's arguments. Recorded under create_graph=True."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """For forward-mode derivatives; accepted, and never called."""
        raise NotImplementedError("custom autograd.Functions have no forward mode here")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run forward, and record it if one of the arguments requires a gradient."""
        two_steps = cls.setup_context is not Function.setup_context
        if two_steps:
            call = inspect.signature(cls.forward).bind(*args, **kwargs)
            call.apply_defaults()
            args, kwargs = call.args, call.kwargs
        ctx: Any = FunctionCtx()
        ctx.needs_input_grad = tuple([isinstance(a, Tensor) and a._requires_grad for a in args])
        recording = mode.enabled and any(ctx.needs_input_grad)
        with no_grad():
            if two_steps:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        results = list(output) if type(output) is tuple else [output]
        _check_dirty(ctx, results, args)
        if recording and any(isinstance(r, Tensor) for r in results):
            results = _record(cls, ctx, args, results)
        else:
            results = [r.detach() if _among(r, args) and r._requires_grad else r for r in results]
        return tuple(results) if type(output) is tuple else results[0]


def _among(value, tensors) -> bool:
    return isinstance(value, Tensor) and any(value is t for t in tensors)


def _check_dirty(ctx: FunctionCtx, results: list, args: tuple) -> None:
    if not all(_among(t, results) for t in ctx._dirty):
        raise RuntimeError(
            "Some elements marked as dirty during the forward method were not returned as output. "
            "The inputs that are modified inplace must all be outputs of the Function."
        )
    if not mode.enabled:
        return
    for tensor in ctx._dirty:
        base = tensor if tensor._view is None else tensor._view[0]
        if base._requires_grad and base._node is None:
            what = "a leaf Variable" if base is tensor else "a view of a leaf Variable"
            raise RuntimeError(f"{what} that requires grad has been used in an in-place operation.")


def _record(function, ctx: Any, args: tuple, results: list) -> list:
    """Give the results of forward their node. Returns them as the user gets them."""
    from ..dispatch.inplace import move_in_graph

    first = next(r for r in results if isinstance(r, Tensor))
    node = function._node_class(ctx, args, first.array)
    ctx._node = weakref.ref(node)
    several = len(results) > 1
    if several:
        node.outputs = []
    for i, result in enumerate(results):
        if not isinstance(result, Tensor):
            node.outputs.append((lambda: None, None, None))  # backward gets None for it
            continue
        place = node.add_output(result.array) if several else node
        if _among(result, ctx._non_differentiable) or result.array.dtype.kind in "iub":
            if _among(result, args):
                results[i] = result.detach()
            else:
                result._requires_grad = False  # a view of an input has its
        elif _among(result, ctx._dirty):
            move_in_graph(result, place)
        else:
            results[i] = result = _as_output(result, args, node, i if several else None)
            result._node, result._requires_grad = place, True
    node.save(results)
    if grad_mode.watching:
        grad_mode.announce(node)
    return results


def _as_output(result: Tensor, args: tuple, node: Node, number: int | None) -> Tensor:
    """`result`, or an alias if it is an input. Where it is a view, changes of it are refused.

    For they would have to change the input's place in the graph, past the user's backward.
    """
    from ..dispatch.views import Step, link_view

    if _among(result, args):
        source, result = result, wrap(result.array)
        link_view(result, source, type(node), (), {}, number)
    if result._view is not None:
        base, before, _ = result._view
        step = Step(before, type(node), (), {}, number)
        result._view = (base, step, "function" if number is None else "many")
    return result


# A backward that is not made of differentiable operations


def once_differentiable(backward):
    """Decorates a Function's backward that cannot be differentiated itself.

    Nothing in it is recorded; to differentiate its results is a RuntimeError. Mirrors
    torch.autograd.function.once_differentiable.
    """

    @functools.wraps(backward)
    def wrapper(ctx, *args):
        with no_grad():
            output = backward(ctx, *args)
        asked = any(isinstance(a, Tensor) and a._requires_grad for a in args)
        if not (mode.enabled and asked):
            return output
        results = output if isinstance(output, tuple) else (output,)
        # As if they had been computed from something that requires a gradient.
        detached = [r.detach().requires_grad_() if isinstance(r, Tensor) else r for r in results]
        failing = _NotTwice.apply(*detached)
        return failing if isinstance(output, tuple) else failing[0]

    return wrapper


class _NotTwice(Function):
    """Passes its inputs on; its backward is an error."""

    @staticmethod
    def forward(ctx, *inputs):
        return inputs

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


class InplaceFunction(Function):
    """A Function that may work in place. Mirrors torch.autograd.function.InplaceFunction."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace
