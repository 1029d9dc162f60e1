"""The autograd graph of a tensor as a picture: operations, shapes, leaves, and what is kept alive.

The nodes and edges are read off the graph itself (autograd/graph.py), from the tensor back to the
leaves; layout.py gives them places, svg.py draws them. Data flows downwards, gradients upwards.
PyTorch has no such thing; torchviz is the package that people use with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..autograd.graph import AccumulateGrad, Node, Output, edge_of
from ..autograd.saved import Packed
from ..tensor import Tensor
from .layout import place
from .svg import draw


class Saved(NamedTuple):
    """A tensor that a node keeps for its backward formula."""

    name: str
    shape: tuple
    nbytes: int
    own: bool  # the node's own result, or an input (of a leaf or of another operation)


class Box(NamedTuple):
    """What is drawn for one node: a leaf, an operation, or the tensor that was asked for."""

    node: Node | None
    kind: str  # "leaf", "operation" or "result"
    title: str
    lines: tuple[str, ...]
    saved: tuple[Saved, ...] = ()


class Graph:
    """Boxes, and edges (from box, to box, shape of the tensor on the way) in the data's direction.

    A notebook shows it as a picture; `save(path)` writes an SVG file; `str` is a table.
    """

    def __init__(self, boxes: list[Box], edges: list[tuple[int, int, tuple]]):
        self.boxes, self.edges = boxes, edges

    @property
    def saved_bytes(self) -> int:
        """The memory that waits for backward. What several nodes keep is counted once for each."""
        return sum(s.nbytes for box in self.boxes for s in box.saved)

    def svg(self) -> str:
        titles = [(box.title, box.lines) for box in self.boxes]
        places, routes, width, height = place(titles, [(a, b) for a, b, _ in self.edges])
        boxes = [(*box[1:4], at) for box, at in zip(self.boxes, places, strict=True)]
        told: set = set()  # a shape is written at the first of the edges that leave a box with it
        texts = []
        for a, _, shape in self.edges:
            texts.append("" if (a, shape) in told else shape_text(shape))
            told.add((a, shape))
        return draw(boxes, list(zip(routes, texts, strict=True)), width, height)

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path) -> None:
        """Write the picture to `path`, which should end in .svg."""
        Path(path).write_text(self.svg(), encoding="utf-8")

    def __str__(self) -> str:
        rows = [f"{box.title:24} {'  '.join(box.lines)}".rstrip() for box in self.boxes]
        return "\n".join([*rows, f"saved for backward: {size_text(self.saved_bytes)}"])


def graph(tensor: Tensor, names: Any = None) -> Graph:
    """The graph that leads to `tensor`, which must require a gradient.

    names: a Module, whose parameters are then called by their names, or a dict of name to tensor.
    Raises RuntimeError for a tensor without a graph.
    """
    root = edge_of(tensor)
    if root is None:
        raise RuntimeError(
            "viz.graph: the tensor does not require grad, so no graph leads to it. Was it computed "
            "under no_grad, or from tensors that do not require grad?"
        )
    called = names_of_leaves(names)
    nodes = nodes_of(root)
    number = {node: i for i, node in enumerate(nodes)}
    boxes = [box_of(node, called) for node in nodes]
    edges = [
        (number[source_of(edge)], number[node], edge.shape)
        for node in nodes
        for edge in node.edges
        if edge is not None
    ]
    edges.append((number[source_of(root)], len(boxes), tensor.array.shape))
    boxes.append(Box(None, "result", "result", (leaf_text(tensor.array),)))
    return Graph(boxes, edges)


def source_of(edge: Node) -> Node:
    """The operation that an edge leads to: not its n-th output, but itself."""
    return edge.source if isinstance(edge, Output) else edge


def nodes_of(root: Node) -> list[Node]:
    """The nodes that `root` leads to, itself included, oldest first."""
    found, stack = set(), [source_of(root)]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(source_of(edge) for edge in node.edges if edge is not None)
    return sorted(found, key=lambda node: node.sequence)


def names_of_leaves(names) -> dict[int, str]:
    """The names by the identity of the tensor."""
    if names is None:
        return {}
    pairs = names.named_parameters() if hasattr(names, "named_parameters") else names.items()
    return {id(tensor): name for name, tensor in pairs}


def box_of(node: Node, called: dict[int, str]) -> Box:
    if isinstance(node, AccumulateGrad):
        leaf = node.variable
        if leaf is None:
            return Box(node, "leaf", "leaf", ("its tensor is gone",))
        return Box(node, "leaf", called.get(id(leaf), "leaf"), (leaf_text(leaf.array),))
    kept = tuple(saved_by(node))
    lines = tuple(f"keeps {s.name} {shape_text(s.shape)}, {size_text(s.nbytes)}" for s in kept)
    return Box(node, "operation", node.name(), lines, kept)


def saved_by(node: Node):
    """The tensors that `node` keeps; none, once backward has freed them."""
    if node.plan is None:  # a Function of the user's
        entries = [(f"tensor {i}", entry) for i, entry in enumerate(node.saved or ())]
    else:
        names = [node.op.names[position] for position, _ in node.plan.saves]
        entries = list(zip(names, node.saved or (), strict=False))
    for name, (value, edge, storage, _) in entries:
        if isinstance(value, Packed):
            value = getattr(value.value, "array", None)
        array = getattr(value, "array", value)
        if isinstance(array, np.ndarray) and (storage is not None or array.ndim):
            yield Saved(name, array.shape, array.nbytes, isinstance(edge, int))


def leaf_text(array) -> str:
    return f"{shape_text(array.shape)} {dtypes.of(array).name}"


def shape_text(shape: tuple) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def size_text(nbytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes = nbytes / 1000
    return f"{nbytes:.3g} GB"
