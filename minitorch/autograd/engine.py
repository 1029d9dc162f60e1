"""The engine: carries gradients from the outputs back to the leaves.

1. `_reachable` walks the graph once: which nodes there are, and how many edges enter each leaf.
2. `run` visits the nodes newest first. An older node never feeds a newer one, so when a node's turn
   comes its gradient is complete. A leaf has no turn: it is served the moment the last edge into it
   has delivered, so the last layers' gradients are ready first, which is what overlapping
   communication with backward lives on.
A node's saved values are dropped as soon as it has run. No recursion anywhere: a chain of a million
operations needs no deeper stack than a chain of one.

Complex numbers: PyTorch's gradient of a complex value is the conjugate of what the chain rule with
formulas as for real numbers gives. Conjugating before a formula and after it comes to the same as
conjugating once where gradients enter, and once where they leave: so inside of a pass all complex
gradients travel conjugated, and `conjugate` stands only where the world looks in. A real value
takes the real part of the gradient of a complex one.
PyTorch: torch/csrc/autograd/engine.cpp.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from .. import dtypes, tracing
from ..tensor import Tensor, wrap
from .grad_mode import Watcher, mode
from .graph import AccumulateGrad, Node, Output
from .hooks import Hooks, check_replacement, in_order, replaced

_by_age = attrgetter("sequence")


def _reachable(roots: list[Node]) -> tuple[list[Node], dict[Node, int]]:
    """All nodes that `roots` lead to, oldest first, and the number of edges into each leaf."""
    seen: set[Node] = set()
    uses: dict[Node, int] = {}
    stack: list[Node] = []
    edges = roots  # a root's starting gradient counts as an edge
    while True:
        for edge in edges:
            if type(edge) is AccumulateGrad:
                uses[edge] = uses.get(edge, 0) + 1
            elif edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
        if not stack:
            break
        edges = stack.pop().edges
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
        self.watchers = mode.watchers
        self.gpu_before: Any = None  # the current GPU before the pass, once it has been changed
        self.outer = _running.current  # the pass in a hook or Function of which this one runs
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
                self.collect(node, self.complete(node, grad))
                continue
            else:
                if node.hooks is not None or self.sinks is not None:
                    grad = self.complete(node, grad)
                # Which gradients are asked for: without `leading`, that of every edge there is.
                wanted = edges if leading is None else [edge in leading for edge in edges]
                if leading is not None and True not in wanted:
                    continue  # asked for, but not on the way to another
                if type(grad) is not np.ndarray:
                    self.follow(grad)
                if node.hooks is not None or self.watchers:
                    results = self.attended(node, grad, wanted)
                else:
                    results = node.backward(grad, wanted, self.create_graph)
                if not self.keep_graph:
                    node.release()
            for i, edge in enumerate(edges):
                if edge is not None:
                    result = results[i]
                    if result is grad and result is not None and type(edge) is AccumulateGrad:
                        result = shared(grad)
                    self.deliver(edge, result)

    def follow(self, grad) -> None:
        """Make the GPU that `grad` is on, or the first of several is, the current one."""
        for g in grad if type(grad) is list else [grad]:
            array = g.array if isinstance(g, Tensor) else g
            if not isinstance(array, (np.ndarray, np.generic, type(None))):
                self.gpu_before = self.gpu_before or type(array.device)()
                array.device.use()
                return

    def deliver(self, edge: Node, grad) -> None:
        """Add `grad` (None: no gradient) to what `edge` has got; serve a leaf with its last one."""
        if grad is not None:
            array = grad.array if self.create_graph else grad
            if type(array) is not np.ndarray:
                self.follow(grad)
            if array.dtype is not edge.dtype or array.shape != edge.shape:
                grad = self.fitted(grad, edge)
            so_far = self.pending.get(edge)
            if so_far is not None:
                grad = so_far + grad
            self.pending[edge] = grad
        if type(edge) is AccumulateGrad:
            self.uses[edge] = left = self.uses[edge] - 1
            if left == 0 and edge in self.pending:
                grad = self.pending.pop(edge)
                if edge.hooks is None and self.sinks is None and not self.watchers:
                    edge.accumulate(grad, self.create_graph)
                    return
                grad = self.complete(edge, grad)
                if self.sinks is None:
                    self.attended(edge, grad, ())

    def fitted(self, grad, edge: Node):
        """`grad` in the shape and the dtype of the value that it belongs to."""
        if grad.shape != edge.shape:
            grad = _undo_broadcast(grad, edge)
        found = (grad.array if self.create_graph else grad).dtype
        if found.kind == "c" and edge.dtype.kind != "c":
            grad = np.real(grad)
        if self.create_graph:
            return grad.to(dtypes.of(edge))
        return grad.astype(edge.dtype, copy=False)

    def collect(self, output: Output, grad) -> None:
        """Put the gradient of one of several outputs at its place among those of its source."""
        node, number = output.source, output.number
        slots = self.pending.setdefault(node, [None] * len(node.outputs))
        slots[number] = grad if slots[number] is None else slots[number] + grad

    # What others see of it

    def awaits(self, node: Node) -> bool:
        """Whether `node`'s turn, or a leaf's gradient, is still to come."""
        if self.leading is not None and node not in self.leading:
            return False
        return self.uses.get(node, 0) > 0 if type(node) is AccumulateGrad else node in self.nodes

    def complete(self, node: Node, grad) -> Any:
        """The gradient of `node` is complete: show it to hooks, which may replace it, and sinks."""
        sink = None if self.sinks is None else self.sinks.get(node)
        if sink is None and (node.hooks is None or not node.hooks.tensor):
            return grad
        shown: Any = self.shown(grad)
        for hook in in_order(node.hooks.tensor) if node.hooks is not None else ():
            replacement = hook(shown)
            if replacement is not None:
                check_replacement(replacement, shown)
                shown = replacement
        if sink is not None:
            sink(shown if self.create_graph else shown.array)
        return self.taken(shown)

    def attended(self, node: Node, grad, wanted) -> list:
        """node.backward, with the hooks and the watchers that want to see it."""
        hooks = node.hooks or Hooks()
        several = getattr(node, "outputs", None) is not None
        shown = tuple(map(self.shown, grad)) if several else (self.shown(grad),)
        for hook in in_order(hooks.before):
            shown = replaced(hook, shown, hook(shown))
        if hooks.before:
            grad = list(map(self.taken, shown)) if several else self.taken(shown[0])
        call = functools.partial(node.backward, grad, wanted, self.create_graph)
        for watcher in self.watchers:
            call = functools.partial(watcher.run, node, grad, call)
        results = call()
        if hooks.after:
            into = tuple(map(self.result_shown, results, node.edges))
            for hook in in_order(hooks.after):
                into = replaced(hook, into, hook(into, shown))
            results = list(map(self.taken, into))
        return results

    def shown(self, grad) -> Tensor | None:
        """A gradient of the engine's as hooks see it."""
        if grad is None:
            return None
        return conjugate(grad if self.create_graph else wrap(grad))

    def result_shown(self, grad, edge: Node | None) -> Tensor | None:
        """Likewise, but of a result that is on its way to `edge`."""
        return self.shown(grad if grad is None or edge is None else self.fitted(grad, edge))

    def taken(self, grad: Tensor | None):
        """A gradient that hooks have seen, and may have kept, as the engine carries it."""
        if grad is None:
            return None
        grad = conjugate(grad)
        return grad if self.create_graph else shared(grad.array)


def conjugate(grad) -> Any:
    """From the engine's gradient to PyTorch's, or back; see the top of this file."""
    return np.conj(grad) if grad.array.dtype.kind == "c" else grad


def shared(grad):
    """`grad` in a form that a leaf will not take for its own, for somebody else may hold it.

    An array goes as a view: its `base` says that it has other holders (see AccumulateGrad). A
    Tensor's gradient is never added to in place.
    """
    return grad if isinstance(grad, Tensor) else grad.view()


def _undo_broadcast(grad, edge: Node):
    """Sum `grad` to the shape of the value that broadcasting had stretched.

    The one place where broadcasting is undone, for every operation.
    """
    shape, stretched_shape = edge.shape, grad.shape
    added = len(stretched_shape) - len(shape)
    stretched = list(range(added))
    for i, n in enumerate(shape, added):
        if added < 0 or n not in (1, stretched_shape[i]):
            raise RuntimeError(
                f"{edge.name()} got a gradient of shape {list(stretched_shape)}, but the value it "
                f"belongs to has shape {list(shape)}"
            )
        if n != stretched_shape[i]:
            stretched.append(i)
    return grad.sum(tuple(stretched), keepdims=True).reshape(shape)


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
    if tracing.on:
        backward.watchers = (_Recorded(), *backward.watchers)
    before, outer = mode.enabled, _running.current
    mode.enabled, _running.current = create_graph, backward
    start = time.perf_counter_ns()
    try:
        backward.run(roots)
    finally:
        if backward.gpu_before is not None:
            backward.gpu_before.use()
        mode.enabled, _running.current = before, outer
    for callback in backward.callbacks:
        callback()
    if tracing.on:
        tracing.span("backward", "backward", start, time.perf_counter_ns())


class _Recorded(Watcher):
    """Leaves a record of each node's turn, while there is a trace."""

    def run(self, node, grad, call):
        start = time.perf_counter_ns()
        results = call()
        name = "AccumulateGrad" if type(node) is AccumulateGrad else node.name()
        tracing.span("op", name, start, time.perf_counter_ns(), shape=list(node.shape))
        return results


class _Running(threading.local):
    current: _Pass | None = None


_running = _Running()


def current_pass() -> _Pass | None:
    """The backward pass that is running on this thread."""
    return _running.current


def outermost_pass() -> _Pass | None:
    """The one that `current_pass` runs in, if backward was called during backward."""
    backward = _running.current
    while backward is not None and backward.outer is not None:
        backward = backward.outer
    return backward


def queue_callback(callback) -> None:
    """Run `callback()` when the backward pass that is running on this thread has finished.

    For hooks. Raises RuntimeError outside of a backward pass. PyTorch: Engine::queue_callback.
    """
    if _running.current is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    _running.current.callbacks.append(callback)
