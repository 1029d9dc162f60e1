"""Pictures of the graph: they show the nodes, edges and savings that there are, and are legible."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch as pytorch

import minitorch as torch
from minitorch import nn, viz
from minitorch.viz.layout import place

SVG = "{http://www.w3.org/2000/svg}"


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(16, 20), torch.randint(0, 3, (16,))
    return model, nn.functional.cross_entropy(model(x), y)


def test_boxes_edges_and_names():
    model, loss = network()
    picture = viz.graph(loss, model)
    titles = [box.title for box in picture.boxes]
    assert {name for name, _ in model.named_parameters()} < set(titles)
    assert titles.count("AddmmBackward0") == 2 and titles[-1] == "result"
    named = {(picture.boxes[a].title, picture.boxes[b].title) for a, b, _ in picture.edges}
    assert ("0.weight", "AddmmBackward0") in named and ("NllLossBackward0", "result") in named


def test_it_is_the_graph_that_next_functions_shows():
    """As many operations and edges as PyTorch's own graph of the same expression."""

    def count(T):
        w = T.ones(3, 4, requires_grad=True)
        b = T.ones(4, requires_grad=True)
        y = ((w * b).exp() + w).sum()
        nodes, edges, stack = {y.grad_fn}, 0, [y.grad_fn]
        while stack:
            for node, _ in stack.pop().next_functions:
                if node is not None:
                    edges += 1
                    if node not in nodes:
                        nodes.add(node)
                        stack.append(node)
        return y, len(nodes), edges

    y, nodes, edges = count(torch)
    assert (nodes, edges) == count(pytorch)[1:]
    picture = viz.graph(y)
    assert (len(picture.boxes) - 1, len(picture.edges) - 1) == (nodes, edges)


def test_bytes_kept_for_backward():
    x = torch.ones(10, requires_grad=True)
    y = (x * torch.ones(10)).exp()  # mul keeps the other factor, exp its result
    picture = viz.graph(y, {"x": x})
    kept = {box.title: box.saved for box in picture.boxes if box.saved}
    assert [(s.name, s.nbytes, s.own) for s in kept["MulBackward0"]] == [("other", 40, False)]
    assert [(s.name, s.nbytes, s.own) for s in kept["ExpBackward0"]] == [("out", 40, True)]
    assert picture.saved_bytes == 80 and "80 B" in str(picture)
    y.sum().backward()
    assert viz.graph(y).saved_bytes == 0  # freed


def test_a_function_of_the_users():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    x = torch.ones(5, requires_grad=True)
    picture = viz.graph(Double.apply(x))
    assert [box.title for box in picture.boxes] == ["leaf", "DoubleBackward", "result"]
    assert picture.saved_bytes == 20


def test_the_svg_is_well_formed_and_its_boxes_hold_their_text(tmp_path):
    model, loss = network()
    picture = viz.graph(loss, model)
    picture.save(tmp_path / "graph.svg")
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    boxes = list(root.iter(SVG + "g"))
    assert len(boxes) == len(picture.boxes)
    assert "prefers-color-scheme: dark" in "".join(root.itertext())
    for g in boxes:
        rect = g.find(SVG + "rect")
        for text in g.iter(SVG + "text"):
            assert len(text.text) * 7 < float(rect.get("width"))


def test_nothing_overlaps():
    x = torch.ones(2, 6, requires_grad=True)
    for _ in range(4):
        a, b, c = x.split(2, 1)
        x = torch.cat([a * b, c.tanh() + a, (b @ b.t() @ c)], 1) + x
    picture = viz.graph(x.sum())
    titles = [(box.title, box.lines) for box in picture.boxes]
    places, routes, width, height = place(titles, [(a, b) for a, b, _ in picture.edges])
    for p, q in itertools.combinations(places, 2):
        assert p.x + p.width <= q.x or q.x + q.width <= p.x or p.y + p.height <= q.y or (
            q.y + q.height <= p.y
        )  # fmt: skip
    assert all(p.x >= 0 and p.x + p.width <= width and p.y + p.height <= height for p in places)
    for (a, b, _), route in zip(picture.edges, routes, strict=True):
        assert [y for _, y in route] == sorted(y for _, y in route)  # downwards all the way
        for (x1, _), (_, y2) in itertools.pairwise(route[1:-1]):
            for i, p in enumerate(places):  # and beside the boxes it passes
                inside = p.x < x1 < p.x + p.width and p.y < y2 <= p.y + p.height
                assert i in (a, b) or not inside


def test_no_graph_is_an_error():
    with pytest.raises(RuntimeError, match="does not require grad"):
        viz.graph(torch.ones(2))


def test_steps_show_the_engines_order_and_pytorchs_gradients():
    def run(T):
        w = T.tensor([4.0, 5.0, 6.0], requires_grad=True)
        v = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
        return w, v, ((w * v).exp() * w).sum()

    w, v, y = run(torch)
    walk = viz.steps(y, {"w": w, "v": v})
    assert w.grad is None and v.grad is None
    names = [step.title for step in walk]
    assert names[:3] == ["SumBackward0", "MulBackward0", "ExpBackward0"]
    assert sorted(names[3:]) == ["MulBackward0", "v", "w"]
    received = {step.title: step.received[0].numpy() for step in walk}
    their_w, their_v, their_y = run(pytorch)
    their_y.backward()
    assert received["w"] == pytest.approx(their_w.grad.numpy())
    assert received["v"] == pytest.approx(their_v.grad.numpy())
    y.backward()  # neither freed nor left with hooks
    assert w.grad.numpy() == pytest.approx(their_w.grad.numpy())
    assert len(walk) == 6


def test_steps_as_text_and_page(tmp_path):
    model, loss = network()
    walk = viz.steps(loss, model)
    assert "to 2.weight: 3 x 8, root mean square" in str(walk)
    walk.save(tmp_path / "steps.html")
    page = (tmp_path / "steps.html").read_text()
    assert "@svg" not in page and "@steps" not in page
    assert page.count('"box":') == len(walk)
    assert not re.search(r"(src|href)=", page)  # self-contained
