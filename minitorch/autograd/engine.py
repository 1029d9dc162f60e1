"""The engine: carries gradients from the outputs back to the leaves.

1. `_reachable` walks the graph once: which nodes there are, and how many edges enter each leaf.
2. `run` visits the nodes newest first. An older node never feeds a newer one, so when a node's turn
   comes its gradient is complete. A leaf has no turn: it is served the moment the last edge into it
   has delivered, so the last layers' gradients are ready first, which is what overlapping
   communication with backward lives on.
A node's saved values are dropped as soon as it has run. No recursion anywhere: a chain of a million
operations needs no deeper stack than a chain of one.
PyTorch: torch/csrc/autograd/engine.cpp.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap
from .grad_mode import mode
from .graph import AccumulateGrad, Node, Output, edge_of

_by_age = attrgetter("sequence")


def _reachable(roots: list[Node]) -> tuple[list[Node], Counter[Node]]:
    """All nodes that `roots` lead to, oldest first, and the number of edges into each leaf."""
    stack = [node for node in roots if type(node) is not AccumulateGrad]
    seen = set(stack)
    uses = Counter(roots)  # a root's starting gradient counts as an edge
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                if type(edge) is AccumulateGrad:
                    uses[edge] += 1
                elif edge not in seen:
                    seen.add(edge)
                    stack.append(edge)
    return sorted(seen, key=_by_age), uses


def _leading_to(targets, nodes: list[Node]) -> set[Node]:
    """`targets` and those of `nodes` (oldest first) from which one of them can be reached."""
    leading = set(targets)
    for node in nodes:
        if not leading.isdisjoint(node.edges):
            leading.add(node)
    return leading


class _Pass:
    """One backward pass.

    `pending` maps a node to the sum of the gradients that have been delivered to it. `sinks`, where
    given, maps the nodes whose gradients are asked for to what is to be done with them; then no
    leaf's .grad is touched, and only the ways that lead to these nodes are taken.
    """

    def __init__(self, roots: list[Node], keep_graph: bool, create_graph: bool, sinks):
        self.keep_graph = keep_graph
        self.create_graph = create_graph
        self.sinks: dict[Node, Callable] | None = sinks
        self.pending: dict = {}
        self.callbacks: list[Callable] = []
        self.nodes, self.uses = _reachable(roots)
        self.leading = None if sinks is None else _leading_to(sinks, self.nodes)

    def run(self, roots: list[tuple[Node, Any]]) -> None:
        for node, grad in roots:
            self.deliver(node, grad)
        nodes, pending, leading = self.nodes, self.pending, self.leading
        while nodes:
            node = nodes.pop()
            grad = pending.pop(node, None)
            edges = node.edges
            if grad is None or (leading is not None and node not in leading):
                results = [None] * len(edges)  # nothing comes from here, but leaves must not wait
            elif type(node) is Output:
                slots = pending.setdefault(node.source, [None] * node.source.n_outputs)
                slots[node.number] = self.complete(node, grad)
                continue
            else:
                if node.hooks is not None or self.sinks is not None:
                    grad = self.complete(node, grad)
                # Which gradients are asked for: without `leading`, that of every edge there is.
                wanted = edges if leading is None else [edge in leading for edge in edges]
                results = node.backward(grad, wanted, self.create_graph)
                if not self.keep_graph:
                    node.release()
            for edge, result in zip(edges, results, strict=True):
                if edge is not None:
                    if result is grad and result is not None and type(edge) is AccumulateGrad:
                        result = _shared(grad)
                    self.deliver(edge, result)

    def deliver(self, edge: Node, grad) -> None:
        """Add `grad` (None: no gradient) to what `edge` has got; serve a leaf with its last one."""
        if grad is not None:
            if grad.shape != edge.shape:
                grad = _undo_broadcast(grad, edge)
            if (grad.array if self.create_graph else grad).dtype != edge.dtype:
                grad = grad.to(dtypes.of(edge)) if self.create_graph else grad.astype(edge.dtype)
            so_far = self.pending.get(edge)
            self.pending[edge] = grad if so_far is None else so_far + grad
        if type(edge) is AccumulateGrad:
            self.uses[edge] -= 1
            if self.uses[edge] == 0 and edge in self.pending:
                grad = self.complete(edge, self.pending.pop(edge))
                if self.sinks is None:
                    edge.accumulate(grad, self.create_graph)

    def complete(self, node: Node, grad):
        """The gradient of `node` is complete: show it to hooks, which may replace it, and sinks."""
        sink = None if self.sinks is None else self.sinks.get(node)
        if not node.hooks and sink is None:
            return grad
        for _, hook in sorted((node.hooks or {}).items()):
            shown = grad if self.create_graph else wrap(grad)
            replacement = hook(shown)
            if replacement is not None:
                _check_replacement(replacement, shown)
                grad = replacement if self.create_graph else replacement.array
        if sink is not None:
            sink(grad)
        return _shared(grad)  # a hook or a sink may have kept it


def _check_replacement(replacement, grad) -> None:
    if not isinstance(replacement, Tensor):
        raise TypeError(f"expected a Tensor or None from a hook, but got {type(replacement)}")
    if replacement.shape != grad.shape:
        raise RuntimeError(
            "hook has changed the size of value "
            f"(was {list(grad.shape)} got {list(replacement.shape)})"
        )
    if replacement.dtype is not grad.dtype:
        raise RuntimeError(
            f"hook has changed the type of value (was {grad.dtype} got {replacement.dtype})"
        )


def _shared(grad):
    """`grad` in a form that a leaf will not take for its own, for somebody else may hold it.

    An array goes as a view: its `base` says that it has other holders (see AccumulateGrad).
    """
    return grad.clone() if isinstance(grad, Tensor) else grad.view()


def _undo_broadcast(grad, edge: Node):
    """Sum `grad` to the shape of the value that broadcasting had stretched.

    The one place where broadcasting is undone, for every operation.
    """
    shape = edge.shape
    added = len(grad.shape) - len(shape)
    fits = added >= 0 and all(n in (1, m) for n, m in zip(shape, grad.shape[added:], strict=True))
    if not fits:
        raise RuntimeError(
            f"{edge.name()} got a gradient of shape {list(grad.shape)}, but the value it belongs "
            f"to has shape {list(shape)}"
        )
    stretched = tuple(
        i for i, m in enumerate(grad.shape) if i < added or (shape[i - added] == 1 and m != 1)
    )
    return np.sum(grad, axis=stretched, keepdims=True).reshape(shape)


def run(
    roots: list[tuple[Node, Any]],
    *,
    keep_graph: bool = False,
    create_graph: bool = False,
    sinks: dict[Node, Callable] | None = None,
) -> None:
    """Carry the gradients of `roots`, (node, gradient) pairs, through the graph.

    Leaves' .grad is added to; with `sinks`, node -> function of its gradient, these are called
    instead. The gradients are Tensors with `create_graph` (then backward itself is recorded), else
    arrays.
    """
    backward = _Pass([node for node, _ in roots], keep_graph, create_graph, sinks)
    before, outer = mode.enabled, _running.current
    mode.enabled, _running.current = create_graph, backward
    try:
        backward.run(roots)
    finally:
        mode.enabled, _running.current = before, outer
    for callback in backward.callbacks:
        callback()


class _Running(threading.local):
    current: _Pass | None = None


_running = _Running()


def current_pass() -> _Pass | None:
    """The backward pass that is running on this thread."""
    return _running.current


def queue_callback(callback) -> None:
    """Run `callback()` when the backward pass that is running on this thread has finished.

    For hooks. Raises RuntimeError outside of a backward pass. PyTorch: Engine::queue_callback.
    """
    if _running.current is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    _running.current.callbacks.append(callback)


def backward(
    tensors,
    grad_tensors=None,
    retain_graph=None,
    create_graph=False,
    grad_variables=None,
    inputs=None,
) -> None:
    """Add the gradients of `tensors` to the .grad of the leaves they were computed from.

    `tensors`: a Tensor or a sequence. `grad_tensors`: the gradient of something with respect to
    each, of its shape; None is allowed for scalars. `retain_graph`: keep what was saved, for
    another backward (default: `create_graph`). `create_graph`: record backward itself, for higher
    derivatives. `inputs`: add to the .grad of these tensors alone.
    Raises RuntimeError where no gradient is required or one is missing. Mirrors
    torch.autograd.backward (torch/autograd/__init__.py).
    """
    tensors = _as_tuple(tensors)
    roots = _roots(tensors, grad_tensors, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run(roots, keep_graph=keep, create_graph=create_graph)
        return
    inputs = _as_tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    sinks: dict[Node, Callable] = {}
    for tensor in inputs:
        node = _node_of_input(tensor)
        leaf = node if isinstance(node, AccumulateGrad) else AccumulateGrad(tensor)
        if tensor._retains_grad is None:  # otherwise a hook fills .grad
            sinks[node] = functools.partial(_accumulate, leaf, create_graph)
        else:
            sinks[node] = lambda grad: None
    run(roots, keep_graph=keep, create_graph=create_graph, sinks=sinks)


def _accumulate(leaf: AccumulateGrad, create_graph: bool, grad) -> None:
    leaf.accumulate(_shared(grad), create_graph)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
) -> tuple:
    """The gradients of `outputs` with respect to `inputs`, as a tuple; no .grad is touched.

    Arguments as in `backward`. An input that the outputs do not depend on is an error, unless
    `allow_unused` (then None) or `materialize_grads` (then zeros). Mirrors torch.autograd.grad.
    """
    if is_grads_batched:
        raise NotImplementedError("autograd.grad: is_grads_batched needs vmap, which is not here")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True"
        )
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    roots = _roots(outputs, grad_outputs, create_graph)
    nodes = [_node_of_input(t) for t in inputs]
    keep = create_graph if retain_graph is None else retain_graph
    found: dict[Node, Any] = {}
    sinks: dict[Node, Callable] = {
        node: functools.partial(found.__setitem__, node) for node in nodes
    }
    run(roots, keep_graph=keep, create_graph=create_graph, sinks=sinks)
    results: list = []
    for tensor, node in zip(inputs, nodes, strict=True):
        gradient = found.get(node)
        if gradient is None and materialize_grads:
            gradient = np.zeros(tensor.shape, tensor.array.dtype)
        if gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        if gradient is not None and not isinstance(gradient, Tensor):
            gradient = wrap(gradient.copy() if gradient.base is not None else gradient)
        results.append(gradient)
    return tuple(results)


def _roots(tensors, grads, create_graph: bool) -> list[tuple[Node, Any]]:
    """The nodes where backward starts, each with its gradient."""
    grads = [None] * len(tensors) if grads is None else _as_tuple(grads)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    roots = []
    for i, (tensor, grad) in enumerate(zip(tensors, grads, strict=True)):
        node = edge_of(tensor)
        if node is None:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        if grad is None:
            if tensor.array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            grad = wrap(np.ones_like(tensor.array))
        elif grad.shape != tensor.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {grad.shape} and "
                f"output[{i}] has a shape of {tensor.shape}."
            )
        roots.append((node, grad if create_graph else grad.array.view()))
    return roots


def _node_of_input(tensor: Tensor) -> Node:
    node = edge_of(tensor)
    if node is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return node


def _as_tuple(value) -> tuple:
    return (value,) if isinstance(value, Tensor) else tuple(value)
