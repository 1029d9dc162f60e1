"""Memory: graphs of any length, freed without the garbage collector, and freed early."""

import gc
import weakref

import pytest

import minitorch as torch


@pytest.fixture
def no_gc():
    """What is not freed by reference counts stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Array(torch.Tensor):
    """A tensor made by hand; all tensors can be referred to weakly."""


def chain(length):
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1
    return x, y


def test_backward_through_100_000_operations():
    x, y = chain(100_000)
    y.backward()
    assert x.grad.item() == 1


def test_deletion_of_100_000_operations():
    x, y = chain(100_000)
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None
    assert x.grad is None


def test_deletion_of_long_chains_that_saved_inputs_and_outputs():
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(25_000):
        y = (y * y).tanh()
    nodes = weakref.ref(y.grad_fn)
    del y
    assert nodes() is None


def test_a_view_of_100_000_views_changed_in_place():
    x = torch.ones(4, requires_grad=True)
    view = y = x * 2
    for i in range(100_000):
        view = view.view(4) if i % 2 else view.view(2, 2)
    view.mul_(3)  # finds its way from the base again, as does backward
    view.sum().backward()
    assert y.tolist() == [6] * 4
    assert x.grad.tolist() == [6] * 4


def test_create_graph_over_a_long_chain():
    x, y = chain(20_000)
    (g,) = torch.autograd.grad(y * y, x, create_graph=True)
    (second,) = torch.autograd.grad(g, x)
    assert second.item() == 2


class Plus(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x + 1

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x == x)


LINKS = {
    "saved": lambda x: (x * x).tanh(),
    "view": lambda x: x.view(-1)[0:1],
    "in place": lambda x: x.add_(1),
    "a view in place": lambda x: x[:1].add_(1) and x,
    "Function": Plus.apply,
    "several outputs": lambda x: x.split(1)[0] * 1,
}


@pytest.mark.parametrize("name", LINKS)
def test_long_chains_of_all_kinds(name, no_gc):
    """Backward, with and without keeping the graph, and deletion of what is left, all flat."""
    x = torch.ones(1, requires_grad=True)
    y = x * 1
    for _ in range(3_000 if "view" in name else 20_000):  # every view knows all its steps
        y = LINKS[name](y)
    y.backward(retain_graph=True)
    assert x.grad is not None
    held = weakref.ref(y.grad_fn)
    del y
    assert held() is None


def test_second_derivatives_along_10_000_operations(no_gc):
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = (y * y).sqrt()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    assert g.item() == pytest.approx(1)
    held = weakref.ref(g.grad_fn)
    g.backward()
    del y, g
    assert held() is None


OPERATIONS = {
    "mul": lambda x: x * x,
    "saved output": lambda x: x.exp().tanh().sigmoid(),
    "softmax": lambda x: torch.softmax(x, 0),
    "view": lambda x: (x * 1).view(-1)[1:].square(),
    "split": lambda x: torch.cat(x.split(1)),
    "in place": lambda x: x.clone().sin_().mul_(2).exp_(),
    "a view in place": lambda x: torch.stack([x.clone()[:2].mul_(x[:2]), x[1:]]),
    "index": lambda x: x[[0, 1]],
    "multiplied by its own part": lambda x: x.clone().mul_(x[:1]),
    "max": lambda x: x.max(0)[0],
    "pool": lambda x: torch.max_pool2d((x * 1).reshape(1, 1, 3).expand(1, 2, 3), 1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_graphs_make_no_cycles(name, no_gc):
    """A graph goes with its result, whether backward ran or not."""
    for run_backward in (False, True):
        x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        middle = x * 2
        out = OPERATIONS[name](middle)
        held = [weakref.ref(middle), weakref.ref(middle.grad_fn), weakref.ref(out.grad_fn)]
        if run_backward:
            out.sum().backward()
        del middle, out
        assert [r() for r in held] == [None] * 3


def test_a_part_computed_from_other_parts_makes_no_cycle(no_gc):
    x = torch.ones(3, requires_grad=True).clone()
    x[0] = x[1] * x[2]  # mul saves views of x, whose place in the graph the assignment changes
    held = weakref.ref(x), weakref.ref(x.grad_fn)
    del x
    assert [r() for r in held] == [None, None]


def test_retain_grad_makes_no_cycle(no_gc):
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    y.retain_grad()
    held = weakref.ref(y)
    z = y * 3
    z.backward()
    del y
    del z
    assert held() is None


def test_leaves_go_as_well(no_gc):
    x = torch.ones(1, requires_grad=True)
    held = weakref.ref(x)
    (x * x).backward()
    del x
    assert held() is None


def test_saved_tensors_go_while_backward_runs(no_gc):
    """When a hook near the leaf runs, what later operations had saved is gone."""
    x = torch.ones(1, requires_grad=True)
    early = x * 1
    late = early.exp()
    saved = weakref.ref(late.array)
    out = late * late
    del late
    alive = []
    early.register_hook(lambda g: alive.append(saved() is not None))
    assert saved() is not None
    out.backward()
    assert alive == [False]


def test_formulas_save_only_what_they_name(no_gc):
    a = torch.ones(3, requires_grad=True) * 1
    b = torch.ones(3)
    held_a, held_b = weakref.ref(a.array), weakref.ref(b.array)
    total = a * b  # b needs no gradient, so its partner is not saved; b itself is
    plus = total + b
    del a, b
    assert held_a() is None and held_b() is not None
    plus.sum().backward()
    del total, plus
    assert held_b() is None


def test_nothing_is_kept_without_grad(no_gc):
    x = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        y = x.exp()
        z = y * y
    held = weakref.ref(y)
    del y
    assert held() is None and z.grad_fn is None
