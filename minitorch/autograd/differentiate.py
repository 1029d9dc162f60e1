"""backward() and grad(): where gradients start, and what becomes of them in the end.

The way between is the engine's. `backward` lets it add to the leaves' .grad; `grad`, and `backward`
with `inputs`, hand it a table of sinks: the nodes whose gradients are asked for, and a function for
each to call with it.
PyTorch: torch/autograd/__init__.py.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..tensor import Size, Tensor, wrap
from .engine import conjugate, run, shared
from .graph import AccumulateGrad, GradientEdge, Node, edge_of, owned


def backward(
    tensors,
    grad_tensors=None,
    retain_graph=None,
    create_graph=False,
    grad_variables=None,
    inputs=None,
) -> None:
    """Add the gradients of `tensors` to the .grad of the leaves they were computed from.

    `tensors`: a Tensor, a GradientEdge or a sequence of them. `grad_tensors`: the gradient of
    something with respect to each, of its shape; None is allowed for scalars. `retain_graph`: keep
    what was saved, for another backward (default: `create_graph`). `create_graph`: record backward
    itself, for higher derivatives. `inputs`: add to the .grad of these tensors alone.
    Raises RuntimeError where no gradient is required or one is missing. Mirrors
    torch.autograd.backward (torch/autograd/__init__.py).
    """
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.",
            FutureWarning,
            stacklevel=2,
        )
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                "`backward()`. Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    if inputs is not None and not _as_tuple(inputs):
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    roots = _roots(_as_tuple(tensors), grad_tensors, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run(roots, keep_graph=keep, create_graph=create_graph)
        return
    sinks: dict[Node, Callable] = {}
    for tensor in _as_tuple(inputs):
        node = _node_of_input(tensor)
        leaf = node if isinstance(node, AccumulateGrad) else AccumulateGrad(tensor)
        if isinstance(tensor, GradientEdge) or tensor._retains_grad is None:
            sinks[node] = functools.partial(_accumulate, leaf, create_graph)
        else:
            sinks[node] = lambda grad: None  # a hook fills .grad
    run(roots, keep_graph=keep, create_graph=create_graph, sinks=sinks)


def _backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
    """Add the gradients of this tensor to its leaves' .grad. See `autograd.backward`."""
    if inputs is not None:
        backward((self,), (gradient,), retain_graph, create_graph, inputs=inputs)
        return
    keep = create_graph if retain_graph is None else retain_graph
    run([_root(0, self, gradient, create_graph)], keep_graph=keep, create_graph=create_graph)


_backward.__name__ = "backward"
Tensor.backward = _backward


def _accumulate(leaf: AccumulateGrad, create_graph: bool, grad) -> None:
    leaf.accumulate(shared(grad), create_graph)


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

    Arguments as in `backward`; `inputs` may be GradientEdges, too. An input that the outputs do not
    depend on is an error, unless `allow_unused` (then None) or `materialize_grads` (then zeros).
    `is_grads_batched`: `grad_outputs` have one dimension more, in front, and so have the results:
    one backward for each of its indices. Mirrors torch.autograd.grad.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To "
            "accumulate gradient for other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        options = {"allow_unused": allow_unused, "materialize_grads": materialize_grads}
        return _grads_one_by_one(outputs, inputs, grad_outputs, keep, create_graph, options)
    roots = _roots(outputs, grad_outputs, create_graph)
    nodes = [_node_of_input(t) for t in inputs]
    found: dict[Node, Any] = {}
    sinks: dict[Node, Callable] = {
        node: functools.partial(found.__setitem__, node) for node in nodes
    }
    run(roots, keep_graph=keep, create_graph=create_graph, sinks=sinks)
    results: list = []
    for node, input in zip(nodes, inputs, strict=True):
        gradient = found.get(node)
        if gradient is None and materialize_grads:
            with devices.guard(like := getattr(input, "array", None)):
                gradient = np.zeros(node.shape, node.dtype, like=like)
        if gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        if gradient is not None and not isinstance(gradient, Tensor):
            gradient = wrap(owned(gradient))
        results.append(gradient)
    return tuple(results)


def _grads_one_by_one(outputs, inputs, batches, keep: bool, create_graph: bool, options) -> tuple:
    """`grad` for every index of the first dimension of `batches`, stacked."""
    batches = [None] * len(outputs) if batches is None else _as_tuple(batches)
    sizes = {1 if b is None else b.shape[0] if b.ndim else 0 for b in batches}
    if len(sizes) != 1:
        raise ValueError(
            "is_grads_batched=True: all grad_outputs must have the same first dimension, got "
            f"{sorted(sizes)}"
        )
    size = sizes.pop()
    rows = []
    for i in range(size):
        row = tuple(None if b is None else b[i] for b in batches)
        retain = keep or i < size - 1
        rows.append(grad(outputs, inputs, row, retain, create_graph, **options))
    columns = zip(*rows, strict=True)
    return tuple(None if column[0] is None else np.stack(column) for column in columns)


def _roots(tensors: tuple, grads, create_graph: bool) -> list[tuple[Node, Any]]:
    """The nodes where backward starts, each with its gradient."""
    grads = [None] * len(tensors) if grads is None else _as_tuple(grads)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    pairs = enumerate(zip(tensors, grads, strict=True))
    return [_root(i, tensor, grad, create_graph) for i, (tensor, grad) in pairs]


def _root(i: int, tensor, grad, create_graph: bool) -> tuple[Node, Any]:
    """The node of output `i`, and its gradient."""
    node = tensor.edge if isinstance(tensor, GradientEdge) else edge_of(tensor)
    if node is None:
        raise RuntimeError(
            f"element {i} of tensors does not require grad and does not have a grad_fn"
        )
    if grad is None:
        if math.prod(node.shape) != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        if node.dtype.kind == "c":
            raise RuntimeError(
                "grad can be implicitly created only for real scalar outputs but got "
                f"{dtypes.of(node)}"
            )
        with devices.guard(tensor.array):
            grad = wrap(np.ones_like(tensor.array))
    elif (
        not isinstance(grad, Tensor)
        or grad.array.shape != node.shape
        or grad.array.dtype != node.dtype
    ):
        _check_root(i, node, grad)
    if isinstance(tensor, Tensor) and not devices.together(grad.array, tensor.array):
        raise RuntimeError(
            f"grad_output[{i}] is on {grad.device}, and output[{i}] on {tensor.device}: they have "
            "to be on the same device"
        )
    if node.dtype.kind == "c":
        grad = conjugate(grad)
    return node, grad if create_graph else grad.array.view()


def _check_root(i: int, node: Node, grad) -> None:
    """Raise if `grad` cannot be the gradient of output `i`. A real one may be of another dtype."""
    if not isinstance(grad, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(grad).__name__}")
    if grad.array.shape != node.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {grad.shape} and "
            f"output[{i}] has a shape of {Size(node.shape)}."
        )
    if "c" in grad.array.dtype.kind + node.dtype.kind:
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. "
            f"Mismatch in dtype: grad_output[{i}] has a dtype of {grad.dtype} and output[{i}] has "
            f"a dtype of {dtypes.of(node)}."
        )


def _node_of_input(tensor) -> Node:
    node = tensor.edge if isinstance(tensor, GradientEdge) else edge_of(tensor)
    if node is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return node


def _as_tuple(value) -> tuple:
    return (value,) if isinstance(value, (Tensor, GradientEdge)) else tuple(value)
