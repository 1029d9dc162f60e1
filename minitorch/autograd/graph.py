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

import itertools
import math
import weakref
from typing import Any

from numpy import ndarray

from ..tensor import Tensor, wrap

_sequence = itertools.count()

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)


class Node:
    """One recorded operation. Mirrors torch.autograd.graph.Node.

    `saved` holds (value, edge, storage, version) for each value that the op's formulas name. Of a
    tensor: its array, its edge, and the storage, whose version tells whether it was changed since.
    Of anything else: the value, and no storage.
    """

    __slots__ = (
        "__weakref__",
        "dtype",
        "edges",
        "hooks",
        "n_outputs",
        "op",
        "plan",
        "saved",
        "sequence",
        "shape",
    )
    n_outputs: int  # of a node with several
    hooks: dict | None

    def __init__(self, op, plan, edges, saved, array):
        self.op = op
        self.plan = plan
        self.edges = edges
        self.saved = saved
        self.shape = array.shape  # what a gradient arriving here must look like
        self.dtype = array.dtype
        self.sequence = next(_sequence)
        self.hooks = None

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

    def register_prehook(self, hook):
        """Run `hook(grad) -> grad or None` on the gradient that arrives. Returns a handle."""
        return add_hook(self, "hooks", hook)

    def backward(self, grad, wanted, create_graph: bool) -> list:
        """The gradients for `edges`, None where `wanted` is false.

        With `create_graph`, `grad` and the results are Tensors, otherwise arrays.
        """
        values = self.unpack(create_graph)
        plan = self.plan
        if plan.joint is not None:
            return plan.joint(grad, wanted, *[values[i] for i in plan.joint_positions])
        grads: list = []
        for want, (formula, positions) in zip(wanted, plan.formulas, strict=True):
            if not want:
                grads.append(None)
            elif len(positions) == 1:  # the most common case deserves the shortest way
                grads.append(formula(grad, values[positions[0]]))
            else:
                grads.append(formula(grad, *[values[i] for i in positions]))
        return grads

    def unpack(self, as_tensors: bool) -> list:
        """The saved values; raises RuntimeError if one was freed, or changed since it was saved."""
        if self.saved is None:
            raise RuntimeError(FREED)
        values = []
        for value, edge, storage, version in self.saved:
            if storage is not None:
                if storage.version != version:
                    raise RuntimeError(self._changed(value, edge, storage, version))
                if as_tensors:
                    value = _tensor_at(value, self if edge is RESULT else edge, storage)
            values.append(value)
        return values

    def _changed(self, array, edge, storage, version) -> str:
        maker = self if edge is RESULT else edge
        computed = maker is not None and not isinstance(maker, AccumulateGrad)
        what = f", which is output 0 of {maker.name()}," if computed else ""
        return (
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{wrap(array).type()} {list(array.shape)}]{what} is at version "
            f"{storage.version}; expected version {version} instead. It was saved for "
            f"{self.name()}, the gradient of '{self.op.name}': change a clone() of it instead."
        )

    def release(self) -> None:
        """Drop saved tensors: memory goes while backward is still running."""
        for value, _, storage, _ in self.saved or ():
            if storage is not None or type(value) is ndarray:  # shapes and numbers may stay
                self.saved = None
                break


RESULT = object()  # in place of the edge of a saved value: it is the result of the node itself


def _tensor_at(array, edge: Node | None, storage) -> Tensor:
    """A saved array as a Tensor again, at its old place in the graph."""
    tensor = wrap(array)
    tensor._storage = storage
    if edge is not None:
        tensor._requires_grad = True
        if isinstance(edge, AccumulateGrad):
            tensor._accumulator = edge
        else:
            tensor._node = edge
    return tensor


class Output(Node):
    """One of several outputs of a node. It hands its gradient to its number's place there."""

    __slots__ = ("number", "source")

    def __init__(self, source: Node, number: int, array):
        super().__init__(source.op, None, (source,), (), array)
        self.source = source
        self.number = number


class AccumulateGrad(Node):
    """A leaf's node: adds the gradient that arrives to the leaf's .grad.

    The leaf owns its AccumulateGrad, which refers back weakly. (In PyTorch it is the other way
    round; but a leaf that nobody holds any more has no .grad that anybody could read.)
    """

    __slots__ = ("_variable", "post_hooks")

    def __init__(self, variable: Tensor):
        super().__init__(None, None, (), (), variable.array)
        self._variable = weakref.ref(variable)
        self.post_hooks = None

    @property
    def variable(self) -> Tensor | None:
        return self._variable()

    def name(self) -> str:
        return "AccumulateGrad"

    def accumulate(self, grad, create_graph: bool) -> None:
        """Add `grad` to the leaf's .grad, then run its post-accumulate hooks."""
        variable = self._variable()
        if variable is None or not variable._requires_grad:  # gone, or frozen in the meantime
            return
        if variable._grad is None:
            if create_graph:
                grad = grad.clone()
            else:  # an array that is a view has another holder, who may change it
                grad = wrap(grad if grad.base is None else grad.copy())
            variable._grad = grad
        elif create_graph:
            variable._grad = variable._grad + grad
        else:  # in place: whoever holds .grad (an optimizer, a bucket) sees the sum
            variable._grad.array += grad
            variable._grad._storage.version += 1
        if self.post_hooks:
            for hook in list(self.post_hooks.values()):
                hook(variable)


def edge_of(tensor: Tensor) -> Node | None:
    """The node that a gradient for `tensor` goes to, None if it needs none."""
    if tensor._node is not None:
        return tensor._node
    if not tensor._requires_grad:
        return None
    if tensor._accumulator is None:
        tensor._accumulator = AccumulateGrad(tensor)
    return tensor._accumulator


class Handle:
    """Removes a hook. Mirrors torch.utils.hooks.RemovableHandle."""

    def __init__(self, hooks: dict, key: float):
        self.hooks, self.key = hooks, key

    def remove(self) -> None:
        self.hooks.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


_hook_keys = itertools.count()


def add_hook(owner: Any, attribute: str, hook, last=False) -> Handle:
    """Append `hook` to the dict `owner.attribute`, made when it is first needed.

    Hooks run in the order of their keys: `last` puts this one behind those still to come.
    """
    hooks = getattr(owner, attribute)
    if hooks is None:
        hooks = {}
        setattr(owner, attribute, hooks)
    key = math.inf if last else next(_hook_keys)
    hooks[key] = hook
    return Handle(hooks, key)
