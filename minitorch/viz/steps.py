"""Backward in slow motion: which node the engine visits when, and the gradient on every edge.

`steps` runs a backward that leaves every .grad alone, with a hook on every node that takes notes.
The engine itself knows nothing of it.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ..autograd import differentiate
from ..autograd.graph import AccumulateGrad, add_hook, edge_of
from ..tensor import Tensor
from .graph import Graph, graph, nodes_of, shape_text, source_of


class Step(NamedTuple):
    """A visit: the number and title of the box, the gradients that arrived at the node, and those
    that it passed on, (number of the box, gradient) each. A leaf passes nothing on."""

    box: int
    title: str
    received: tuple
    passed_on: tuple


class Steps:
    """The visits in the engine's order. `print` it, `save(path)` it as a page with buttons, or let
    a notebook show it."""

    def __init__(self, picture: Graph, visits: list[Step]):
        self.graph, self.visits = picture, visits

    def __iter__(self):
        return iter(self.visits)

    def __len__(self) -> int:
        return len(self.visits)

    def __str__(self) -> str:
        lines = []
        for n, step in enumerate(self.visits, 1):
            lines.append(f"{n:3}  {step.title:24} receives {_all_texts(step.received)}")
            for box, grad in step.passed_on:
                lines.append(f"{'':31}to {self.graph.boxes[box].title}: {gradient_text(grad)}")
        return "\n".join(lines)

    def html(self) -> str:
        """One page, self-contained: the graph, and buttons (or the arrow keys) to walk through."""
        arrivals = {(a, b): i for i, (a, b, _) in enumerate(self.graph.edges)}
        told = [
            {
                "box": step.box,
                "edges": [arrivals[box, step.box] for box, _ in step.passed_on],
                "title": step.title,
                "received": _all_texts(step.received),
                "passed": [
                    f"to {self.graph.boxes[box].title}: {gradient_text(grad)}"
                    for box, grad in step.passed_on
                ],
            }
            for step in self.visits
        ]
        data = json.dumps(told).replace("</", "<\\/")
        return _PAGE.replace("@svg", self.graph.svg()).replace("@steps", data)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html())}" width="100%" height="620"></iframe>'

    def save(self, path) -> None:
        """Write the page to `path`, which should end in .html."""
        Path(path).write_text(self.html(), encoding="utf-8")


def steps(tensor: Tensor, names: Any = None, gradient: Tensor | None = None) -> Steps:
    """The visits of `tensor.backward(gradient)`, without its effects: no .grad changes, and the
    graph can be used again. `names`: as for `viz.graph`."""
    picture = graph(tensor, names)
    root = edge_of(tensor)
    assert root is not None  # graph() has seen to that
    nodes = nodes_of(root)
    number = {node: i for i, node in enumerate(nodes)}
    visits: list[Step] = []
    handles = [_take_notes(node, number, picture, visits) for node in nodes]
    leaves = [node.variable for node in nodes if isinstance(node, AccumulateGrad)]
    leaves = [leaf for leaf in leaves if leaf is not None]
    try:
        differentiate.grad(tensor, leaves, gradient, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return Steps(picture, visits)


def _take_notes(node, number, picture, visits):
    box = number[node]
    title = picture.boxes[box].title

    def at_leaf(grad):
        visits.append(Step(box, title, (grad,), ()))

    def at_operation(grad_inputs, grad_outputs):
        passed_on = tuple(
            (number[source_of(edge)], grad)
            for edge, grad in zip(node.edges, grad_inputs, strict=True)
            if edge is not None and grad is not None
        )
        visits.append(Step(box, title, tuple(grad_outputs), passed_on))

    if isinstance(node, AccumulateGrad):
        return add_hook(node, "tensor", at_leaf)
    return node.register_hook(at_operation)


def gradient_text(grad: Tensor | None) -> str:
    """A gradient in a few words: its values if they are few, else its size and range."""
    if grad is None:
        return "nothing"
    array = grad.array
    if array.size <= 4:
        values = ", ".join(f"{v:.4g}" for v in array.reshape(-1).tolist())
        return f"{shape_text(array.shape)}: {values}" if array.ndim else values
    size = float((abs(array.astype(float)) ** 2).mean() ** 0.5)
    return (
        f"{shape_text(array.shape)}, root mean square {size:.3g}, from {array.min():.3g} to "
        f"{array.max():.3g}"
    )


def _all_texts(grads) -> str:
    return "; ".join(gradient_text(grad) for grad in grads)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>backward, step by step</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; font: 14px/1.5 system-ui, sans-serif; display: flex; height: 100vh; }
#graph { flex: 1; overflow: auto; }
#panel { width: 23rem; padding: 1rem 1.2rem; box-sizing: border-box; overflow: auto;
  border-left: 1px solid #8886; }
#panel code { font: 12px/1.6 ui-monospace, Menlo, Consolas, monospace; display: block; }
button { font: inherit; padding: .2rem .8rem; }
@media (max-width: 50rem) { body { flex-direction: column; }
  #panel { width: 100%; height: 40%; border-left: 0; border-top: 1px solid #8886; } }
</style></head><body>
<div id="graph">@svg</div>
<div id="panel"><p><button id="back">Back</button> <button id="next">Next</button>
<span id="count"></span></p><h3 id="title"></h3><p>receives</p><code id="received"></code>
<p id="on">passes on</p><div id="passed"></div></div>
<script>
const steps = @steps;
let now = 0;
const get = id => document.getElementById(id);
function show() {
  for (const lit of document.querySelectorAll(".now")) lit.classList.remove("now");
  const step = steps[now];
  get("n" + step.box).classList.add("now");
  for (const edge of step.edges) get("e" + edge).classList.add("now");
  get("n" + step.box).scrollIntoView({block: "center", inline: "center"});
  get("count").textContent = `step ${now + 1} of ${steps.length}`;
  get("title").textContent = step.title;
  get("received").textContent = step.received;
  get("on").textContent = step.passed.length ? "passes on" : "adds it to its .grad";
  get("passed").replaceChildren(...step.passed.map(text => {
    const line = document.createElement("code"); line.textContent = text; return line; }));
}
function go(by) { now = Math.min(Math.max(now + by, 0), steps.length - 1); show(); }
get("next").onclick = () => go(1);
get("back").onclick = () => go(-1);
document.onkeydown = event => {
  if (event.key === "ArrowRight") go(1);
  if (event.key === "ArrowLeft") go(-1);
};
show();
</script></body></html>
"""
