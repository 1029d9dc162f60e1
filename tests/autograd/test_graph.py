"""The graph's nodes, the hooks on them, what they save, and what packs it. Both packages."""

import numpy as np
import pytest

from minitorch.autograd.graph import owned

CHANGED = "A saved tensor pack hook is modifying its input in place"


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def test_what_a_node_tells(T):
    x = leaf(T, 1.0, 2.0)
    product = x * x
    y = product.exp()
    node = y.grad_fn
    assert node.name() == "ExpBackward0" and node.requires_grad
    ((before, number),) = node.next_functions
    assert (before.name(), number) == ("MulBackward0", 0)
    assert before.next_functions[0][0] is before.next_functions[1][0]
    accumulate = before.next_functions[0][0]
    assert "AccumulateGrad" in accumulate.name() and accumulate.variable is x
    assert node._sequence_nr() > before._sequence_nr()
    node.metadata["mine"] = 3
    assert y.grad_fn.metadata == {"mine": 3}
    parts = x.split(1)
    assert parts[1].grad_fn is parts[0].grad_fn and parts[1].output_nr == 1
    assert isinstance(node, T.autograd.graph.Node)


def test_saved_values(T):
    x = leaf(T, 1.0, 2.0)
    middle = x * 3
    y = middle * x
    assert y.grad_fn._saved_other is x
    assert y.grad_fn._saved_self.tolist() == [3, 6]
    assert y.grad_fn._saved_self.grad_fn is middle.grad_fn
    z = y.exp()
    assert z.grad_fn._saved_result.tolist() == z.tolist()
    assert z.grad_fn._saved_result.grad_fn is z.grad_fn
    assert not hasattr(z.grad_fn, "_saved_other")
    z.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        z.grad_fn._saved_result  # noqa: B018


def test_order_of_hooks(T):
    seen = []

    def note(what):
        return lambda *args: seen.append(what)

    x = leaf(T, 1.0)
    y = x.exp()
    y.grad_fn.register_hook(note("node, after"))
    y.grad_fn.register_prehook(note("node, before"))
    y.retain_grad()
    y.register_hook(lambda g: seen.append(("tensor", y.grad is None)))
    x.register_post_accumulate_grad_hook(note("accumulated"))
    x.register_hook(note("leaf"))
    accumulate = y.grad_fn.next_functions[0][0]
    accumulate.register_hook(note("leaf's node, after"))
    accumulate.register_prehook(note("leaf's node, before"))
    y.backward()
    start = [("tensor", True), "node, before", "node, after", "leaf"]
    assert seen == [*start, "leaf's node, before", "accumulated", "leaf's node, after"]


def test_node_hooks_see_and_replace(T):
    x, w = leaf(T, 1.0, 2.0), leaf(T, 3.0)
    seen = []
    y = x * w
    first = y.grad_fn.register_hook(lambda i, o: seen.append([g.tolist() for g in (*i, *o)]))
    y.sum().backward()
    assert seen == [[[3, 3], [3], [1, 1]]]  # broadcasting has been undone
    first.remove()
    y = x.exp()
    y.grad_fn.register_prehook(lambda o: (o[0] * 3,))
    y.grad_fn.register_hook(lambda i, o: (i[0] * 5,))
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == pytest.approx((15 * x.exp()).tolist())
    (h,) = T.autograd.grad(g.sum(), x)  # through the saved result, and so past the hooks again
    assert h.tolist() == pytest.approx((15 * g).tolist())
    y = x.exp()
    y.grad_fn.register_prehook(lambda o: o[0])
    with pytest.raises(TypeError, match="expected tuple, but hook returned 'Tensor'"):
        y.sum().backward()
    y = x.exp()
    y.grad_fn.register_hook(lambda i, o: (i[0], i[0]))
    with pytest.raises(RuntimeError, match=r"incorrect number of values \(got 2, but expected 1"):
        y.sum().backward()


def test_node_hooks_of_several_outputs(T):
    x = leaf(T, 1.0, 2.0)
    a, _ = x.split(1)
    seen = []
    a.grad_fn.register_prehook(lambda o: seen.append([g if g is None else g.item() for g in o]))
    (a * 3).backward()
    assert seen == [[3, None]]


def test_hooks_keep_to_the_values_before_a_change(T):
    x = leaf(T, 1.0, 2.0)
    z, seen = x * 1, []
    z.register_hook(lambda g: seen.append(("old", g.tolist())))
    z.mul_(3)
    z.register_hook(lambda g: seen.append(("new", g.tolist())))
    z.retain_grad()
    z.mul_(2)
    z.sum().backward()
    assert seen == [("new", [2, 2]), ("old", [6, 6])] and z.grad.tolist() == [1, 1]


def test_gradients_shown_to_hooks_may_be_kept(T):
    x, kept = leaf(T, 1.0), []
    y = x * 2
    y.grad_fn.register_hook(lambda i, o: kept.extend((i[0], o[0])))
    y.backward()
    x.grad.add_(10)
    assert [g.item() for g in kept] == [2, 1]


def test_multi_grad_hooks(T):
    graph, x, seen = T.autograd.graph, leaf(T, 1.0, 2.0), []

    def note(grads):
        seen.append([None if g is None else g.tolist() for g in grads])

    a, b, unused = x * 2, x * 3, x * 4
    handle = graph.register_multi_grad_hook([a, b, x, unused], note)
    (a * b).sum().backward(retain_graph=True)
    assert seen == [[[3, 6], [2, 4], [12, 24], None]]
    a.sum().backward(retain_graph=True)
    assert seen[1:] == [[[1, 1], None, [2, 2], None]]
    handle.remove()
    a.sum().backward(retain_graph=True)
    assert len(seen) == 2
    graph.register_multi_grad_hook([a, b], lambda g: seen.append(g.tolist()), mode="any")
    (a * b).sum().backward()
    assert len(seen) == 3
    with pytest.raises(ValueError, match="Expects mode to be one of"):
        graph.register_multi_grad_hook([a], note, mode="some")


def test_gradient_edges(T):
    graph, x = T.autograd.graph, leaf(T, 1.0, 2.0)
    y = x * x
    edge = graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0
    assert T.autograd.grad(y.sum(), edge, retain_graph=True)[0].tolist() == [1, 1]
    assert T.autograd.grad([edge], x, T.ones(2))[0].tolist() == [2, 4]
    parts = (x * 1).split(1)
    edge = graph.get_gradient_edge(parts[1])
    assert edge.output_nr == 1
    by_hand = graph.GradientEdge(parts[0].grad_fn, 1)
    assert T.autograd.grad((parts[1] * 5).sum(), [edge, by_hand])[1].tolist() == [5]
    assert graph.get_gradient_edge(x).node.variable is x
    with pytest.raises(RuntimeError, match="not possible to get the gradient edge"):
        graph.get_gradient_edge(T.ones(1))


def test_increment_version(T):
    x, y = T.ones(1), T.ones(1)
    T.autograd.graph.increment_version(x)
    T.autograd.graph.increment_version([x, y])
    assert (x._version, y._version) == (2, 1)


# saved_tensors_hooks


def saved_by(T, function):
    """What `function` gives to be packed, in order."""
    seen = []
    with T.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        out = function()
    return seen, out


def test_what_is_packed(T):
    x = leaf(T, 1.0, 2.0)
    (a, b), y = saved_by(T, lambda: x * x)
    assert a is x and b is x
    (a, b), z = saved_by(T, lambda: y * x)
    assert a is x and b.requires_grad and b.grad_fn is y.grad_fn
    (result,), _ = saved_by(T, lambda: z.exp())
    assert result.tolist() == z.exp().tolist()
    assert saved_by(T, lambda: x + x)[0] == []
    (constant,), _ = saved_by(T, lambda: x * T.ones(2))
    assert not constant.requires_grad


def test_what_changes_in_place_pack(T):
    """The values that the derivative needs: the old ones of sin_, the new ones of exp_."""
    x = leaf(T, 1.0, 2.0)
    y = x * 1
    (old,), _ = saved_by(T, lambda: y.sin_())
    assert old.tolist() == [1, 2]
    (new,), _ = saved_by(T, lambda: y.exp_())
    assert new.tolist() == y.tolist()


def test_what_is_unpacked_is_used(T):
    x = leaf(T, 1.0, 2.0)
    hooks = T.autograd.graph.saved_tensors_hooks
    with hooks(lambda t: (t.tolist(), t.dtype), lambda p: T.tensor(p[0], dtype=p[1]) * 10):
        y = (x * 3).square()
    z = y * 1  # outside: nothing is packed
    z.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [180, 360]
    assert y.grad_fn._saved_self.tolist() == [30, 60]


@pytest.mark.parametrize("name", ["exp", "mul", "softmax", "cross_entropy", "in place", "Function"])
def test_gradients_and_second_ones_through_hooks(T, name):
    class Cube(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, y)
            return y * x, y

        @staticmethod
        def backward(ctx, g, h):
            x, y = ctx.saved_tensors
            return 3 * g * y + 2 * h * x

    operations = {
        "exp": lambda x: x.exp(),
        "mul": lambda x: x * x * x,
        "softmax": lambda x: x.softmax(0) ** 2,
        "cross_entropy": lambda x: T.nn.functional.cross_entropy(x[None], T.tensor([1])),
        "in place": lambda x: (x * 1).sin_().mul_(x).exp_(),
        "Function": lambda x: Cube.apply(x)[0] * Cube.apply(x)[1],
    }

    def derivatives():
        x = leaf(T, 0.5, -1.0, 2.0)
        (g,) = T.autograd.grad(operations[name](x).sum(), x, create_graph=True)
        (h,) = T.autograd.grad((g * g).sum(), x)
        return g.tolist(), h.tolist()

    plain = derivatives()
    with T.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        assert derivatives() == plain
    with T.autograd.graph.save_on_cpu():
        assert derivatives() == plain


def test_a_packed_tensor_may_change_meanwhile(T):
    x = leaf(T, 1.0, 2.0)
    with T.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        middle = x * 1
        y = middle * middle
        middle.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_nested_hooks_and_mistakes(T):
    graph, x, seen = T.autograd.graph, leaf(T, 1.0), []

    def hooks(name):
        return graph.saved_tensors_hooks(lambda t: seen.append(name) or t, lambda t: t)

    with hooks("outer"), hooks("inner"):
        x.exp()
    assert seen == ["inner"]
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got result of ty"):
        y.backward()
    refused = pytest.raises(RuntimeError, match=CHANGED)
    with graph.saved_tensors_hooks(lambda t: t.add_(1), lambda t: t), refused:
        (x * 1).exp()
    refused = pytest.raises(RuntimeError, match="not here")
    with graph.disable_saved_tensors_hooks("not here"), refused, hooks("never"):
        pass
    with hooks("x"), pytest.raises(RuntimeError, match="not here"):
        graph.disable_saved_tensors_hooks("not here").__enter__()
    x.exp()
    assert seen == ["inner"]


def test_freed_after_backward(T):
    x = leaf(T, 1.0)
    with T.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x.exp()
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_memory_is_taken_over_from_nobody():
    """A leaf keeps a gradient that nobody else holds, in whatever shape, and copies any other."""
    array = np.arange(6.0)
    assert owned(array) is array  # what is handed on as it is, is fresh
    view = array.reshape(2, 3)
    assert not np.shares_memory(owned(view), array)
    del array
    assert owned(view) is view
    another = view[:]
    assert not np.shares_memory(owned(view), another)
    del another
    for unlike in (view.T, view[:1]):  # another order; the rest of the memory would be kept as well
        assert not np.shares_memory(owned(unlike), unlike)
    bytes_of_another = np.frombuffer(bytearray(8), np.float32).reshape(2, 1)
    assert not np.shares_memory(owned(bytes_of_another), bytes_of_another)
