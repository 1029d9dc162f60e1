"""The graph: which operation made a tensor, from which others, and what it remembers.

A `Node` is one recorded operation. Its `edges` lead to the nodes of the op's inputs; a leaf's node
is an `AccumulateGrad`, which adds what arrives to the leaf's `.grad`. Invariants:
- A node is younger (`sequence`) than all nodes it leads to, so "newest first" is an order in which
  every gradient is complete before it is passed on.
- Nothing here makes a reference cycle: tensor -> node -> older nodes. What a node saves of tensors
  is their arrays and edges; they become Tensors again only where derivatives are to be derived.
PyTorch: torch/csrc/autograd/function.h, saved_variable.h, functions/accumulate_grad.h.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from .. import devices
from ..tensor import Tensor, wrap
from .hooks import Handle, Handles, Hooks, add_hook, in_order
from .saved import (
    Packed,
    at_its_place,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)

__all__ = ["AccumulateGrad", "GradientEdge", "Node", "Output", "disable_saved_tensors_hooks"]
__all__ += ["edge_of", "get_gradient_edge", "increment_version", "register_multi_grad_hook"]
__all__ += ["save_on_cpu", "saved_tensors_hooks"]

_sequence = itertools.count()

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)

RESULT = 0  # in place of a saved value's edge: it is the node's own output of that number


class Node:
    """One recorded operation. Mirrors torch.autograd.graph.Node.

    `saved` holds (value, edge, storage, version) for each value that the op's formulas name. Of a
    tensor: its array, its edge, and the storage, whose version tells whether it was changed since.
    Of anything else: the value, and no storage. `_saved_other` is the value of that name.
    """

    __slots__ = (
        "__weakref__",
        "_metadata",
        "dtype",
        "edges",
        "hooks",
        "op",
        "outputs",
        "plan",
        "saved",
        "sequence",
        "shape",
    )
    hooks: Any  # None until there are some: see hooks.py
    outputs: list[tuple]  # of a node with several: (weak reference to the Output, shape, dtype)
    _metadata: dict

    def __init__(self, op, plan, edges, saved, array):
        self.op = op
        self.plan = plan
        self.edges = edges
        self.saved = saved
        self.shape = array.shape  # what a gradient arriving here must look like
        self.dtype = array.dtype
        self.sequence = next(_sequence)
        self.hooks = None

    # What its users see

    def name(self) -> str:
        """As PyTorch names it: MulBackward0."""
        return self.op.node_name

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple:
        """((node, output number), ...) for every input; (None, 0) where no gradient goes."""
        return tuple(
            (edge.source, edge.number) if isinstance(edge, Output) else (edge, 0)
            for edge in self.edges
        )

    @property
    def metadata(self) -> dict:
        """A place for notes about this node; anomaly mode keeps the forward's traceback here."""
        if not hasattr(self, "_metadata"):
            self._metadata = {}
        return self._metadata

    def _sequence_nr(self) -> int:
        return self.sequence

    requires_grad = True

    def register_prehook(self, hook) -> Handle:
        """Run `hook(grad_outputs) -> tuple or None` before the node runs. Returns a handle."""
        return add_hook(self, "before", hook)

    def register_hook(self, hook) -> Handle:
        """Run `hook(grad_inputs, grad_outputs) -> tuple or None` after the node has run.

        What it returns replaces grad_inputs. Returns a handle with `remove()`.
        """
        return add_hook(self, "after", hook)

    def saved_value(self, name: str):
        """What was saved of the op's argument or output `name`, a tensor at its old place."""
        for number, (position, part) in enumerate(self.plan.saves if self.plan else ()):
            if self.op.names[position] == name and part is None:
                return self.unpack(True)[number]
        raise AttributeError(f"'{self.name()}' has saved no '{name}'")

    # What the engine does with it

    def backward(self, grad, wanted, create_graph: bool) -> list:
        """The gradients for `edges`, None where `wanted` is false.

        With `create_graph`, `grad` and the results are Tensors, otherwise arrays.
        """
        values = self.unpack(create_graph)
        plan = self.plan
        if plan.joint is not None:
            return plan.joint(grad, wanted, *[values[i] for i in plan.joint_positions])
        grads: list = [None] * len(wanted)
        for i, formula, positions in plan.formulas:
            if wanted[i]:
                grads[i] = formula(grad, *[values[p] for p in positions])
        return grads

    def unpack(self, as_tensors: bool) -> list:
        """The saved values; raises RuntimeError if one was freed, or changed since it was saved."""
        saved = self.saved
        if saved is None:
            raise RuntimeError(FREED)
        values = []
        for value, edge, storage, version in saved:
            if storage is not None:
                if storage.version != version:
                    raise RuntimeError(self._changed(value, edge, storage, version))
                if as_tensors:
                    value = at_its_place(value, self.maker(edge), storage)
            elif type(value) is Packed:
                tensor = value.unpacked()
                value = tensor.array
                if as_tensors:
                    value = at_its_place(value, self.maker(edge), tensor._storage)
            values.append(value)
        return values

    def maker(self, edge) -> Node | None:
        """The node of a saved value, from the edge that was saved with it."""
        return self.output(edge) if isinstance(edge, int) else edge

    def output(self, number: int) -> Node:
        """The node to which gradients for the output `number` go."""
        if getattr(self, "outputs", None) is None:
            return self
        reference, shape, dtype = self.outputs[number]
        return reference() or Output(self, number, shape, dtype)

    def add_output(self, array) -> Output:
        """The node for one more of several outputs."""
        output = Output(self, len(self.outputs), array.shape, array.dtype)
        self.outputs.append((weakref.ref(output), array.shape, array.dtype))
        return output

    def _changed(self, value, edge, storage, version) -> str:
        maker, what = self.maker(edge), ""
        if maker is not None and not isinstance(maker, AccumulateGrad):
            what = f", which is output {getattr(maker, 'number', 0)} of {maker.name()},"
        tensor = value if isinstance(value, Tensor) else wrap(value)
        return (
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{tensor.type()} {list(tensor.shape)}]{what} is at version "
            f"{storage.version}; expected version {version} instead. It was saved for "
            f"{self.name()}: change a clone() of it instead. Hint: enable anomaly detection to see "
            "the forward line of that operation, with "
            "torch.autograd.set_detect_anomaly(True)."
        )

    def release(self) -> None:
        """Drop saved tensors: memory goes while backward is still running."""
        for value, _, storage, _ in self.saved or ():
            # Shapes and numbers may stay.
            if storage is not None or type(value) is ndarray or type(value) is Packed:
                self.saved = None
                break


def show_saved(name: str) -> None:
    """Give nodes the attribute `_saved_<name>`, spelled as in PyTorch: `_saved_self`.

    By a property for each name: a `__getattr__` would make all attributes of all nodes slower.
    """
    spelled = "_saved_" + {"input": "self", "out": "result"}.get(name, name)
    setattr(Node, spelled, property(lambda node: node.saved_value(name)))


class Output(Node):
    """One of several outputs of a node. It hands its gradient to its number's place there."""

    __slots__ = ("number", "source")

    def __init__(self, source: Node, number: int, shape, dtype):
        self.op, self.plan, self.hooks = source.op, None, None
        self.edges, self.saved = (source,), ()
        self.shape, self.dtype = shape, dtype
        self.sequence = next(_sequence)
        self.source = source
        self.number = number

    def name(self) -> str:
        return self.source.name()


class AccumulateGrad(Node):
    """A leaf's node: adds the gradient that arrives to the leaf's .grad.

    The leaf owns its AccumulateGrad, which refers back weakly. (In PyTorch it is the other way
    round; but a leaf that nobody holds any more has no .grad that anybody could read.)
    """

    __slots__ = ("_variable", "lock")

    def __init__(self, variable: Tensor):
        super().__init__(None, None, (), (), variable.array)
        self._variable = weakref.ref(variable)
        self.lock = threading.Lock()  # several threads may be in a backward that leads here
        if self.dtype.kind == "c":
            self.hooks = Hooks()  # so that the engine takes the long way, through `backward`

    @property
    def variable(self) -> Tensor | None:
        return self._variable()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return "<AccumulateGrad>"

    def backward(self, grad, wanted, create_graph: bool) -> list:
        """The leaf's turn, where that is more than `accumulate`: nothing goes on from here."""
        self.accumulate(np.conj(grad) if self.dtype.kind == "c" else grad, create_graph)
        return []

    def accumulate(self, grad, create_graph: bool) -> None:
        """Add `grad` to the leaf's .grad, then run its post-accumulate hooks."""
        variable = self._variable()
        if variable is None or not variable._requires_grad:  # gone, or frozen in the meantime
            return
        with self.lock:
            if variable._grad is None:
                variable._grad = grad.clone() if create_graph else wrap(owned(grad))
            elif create_graph:
                variable._grad = variable._grad + grad
            else:  # in place: whoever holds .grad (an optimizer, a bucket) sees the sum
                variable._grad.array += grad
                variable._grad._storage.version += 1
        if self.hooks is not None:
            for hook in in_order(self.hooks.accumulated):
                hook(variable)


def owned(grad: ndarray) -> ndarray:
    """`grad` if nobody else holds its memory and could change it, else a copy.

    An array that is a view has other holders, who refer to the same `base`; but not if it is all of
    a base that only it refers to: a fresh result in another shape. (The one more reference is that
    of the question.) PyTorch counts those to the tensor alone, and so may let .grad share memory
    with the gradient that was given to backward().
    """
    if grad.base is None:
        return grad
    alone = sys.getrefcount(grad.base) == 2 and getattr(grad.base, "nbytes", 0) == grad.nbytes
    if alone and grad.base.flags.owndata and grad.flags.c_contiguous:
        return grad
    with devices.guard(grad):
        return grad.copy()


def edge_of(tensor: Tensor) -> Node | None:
    """The node that a gradient for `tensor` goes to, None if it needs none."""
    if tensor._node:  # a Stale one says here what is wrong
        return tensor._node
    if not tensor._requires_grad:
        return None
    if tensor._accumulator is None:  # in one step: two threads must not make one each
        return tensor.__dict__.setdefault("_accumulator", AccumulateGrad(tensor))
    return tensor._accumulator


# For those who work on the graph itself


class GradientEdge(NamedTuple):
    """An output of a node: the place in the graph that one tensor has, without its data.

    Stands for that tensor in `grad` and `backward`. Mirrors torch.autograd.graph.GradientEdge.
    """

    node: Node
    output_nr: int
    ownership_token: Any = None

    @property
    def edge(self) -> Node:
        """The node that the engine delivers to."""
        return self.ownership_token or self.node.output(self.output_nr)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The place of `tensor` in the graph; it keeps the graph alive, but not the tensor's memory.

    Raises RuntimeError if it requires no gradient. Mirrors torch.autograd.graph.get_gradient_edge.
    """
    edge = edge_of(tensor)
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    token = edge if isinstance(edge, Output) else None
    return GradientEdge(getattr(edge, "source", edge), tensor.output_nr, token)


def increment_version(tensor) -> None:
    """Tell autograd that the memory of `tensor` (or of several) was changed behind its back.

    Mirrors torch.autograd.graph.increment_version.
    """
    for one in (tensor,) if isinstance(tensor, Tensor) else tensor:
        one._bump_version()


def register_multi_grad_hook(tensors, fn, *, mode: str = "all") -> Handle:
    """Run `fn` when the gradients of `tensors` are there, once in every backward.

    mode="all": fn(gradients), a list with None for those that this backward does not reach;
    mode="any": fn(gradient), with the first one. Returns a handle with `remove()`. Mirrors
    torch.autograd.graph.register_multi_grad_hook.
    """
    from .engine import current_pass

    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    nodes: list[Any] = [edge_of(tensor) for tensor in tensors]
    arrived: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # by backward pass

    def hook(number: int, grad) -> None:
        backward: Any = current_pass()
        if mode == "any":
            if backward not in arrived:
                arrived[backward] = True
                fn(grad)
            return
        if backward not in arrived:  # the first one; nothing tells how many others, but the pass
            coming = [backward.awaits(n) for i, n in enumerate(nodes) if i != number]
            arrived[backward] = [None] * len(nodes), 1 + sum(coming)
        grads, missing = arrived[backward]
        grads[number] = grad
        arrived[backward] = grads, missing - 1
        if missing == 1:
            fn(grads)

    handles = [
        tensor.register_hook(functools.partial(hook, number))
        for number, tensor in enumerate(tensors)
    ]
    return Handles(handles)
