"""Hooks on modules, above all those that see gradients, under both packages."""

import pytest


def ones(T, requires_grad=True):
    return T.tensor([[1.0, 2.0]], requires_grad=requires_grad)


def layer(T):
    linear = T.nn.Linear(2, 1, bias=False)
    T.nn.init.ones_(linear.weight)
    return linear


def values(grads):
    return tuple(None if g is None else g.tolist() for g in grads)


def test_order_and_gradients(T):
    seen = []
    m = layer(T)
    m.register_full_backward_hook(lambda m, i, o: seen.append(("after", values(i), values(o))))
    m.register_full_backward_pre_hook(lambda m, o: seen.append(("before", values(o))))
    m(ones(T)).sum().backward()
    assert seen == [("before", ([[1]],)), ("after", ([[1, 1]],), ([[1]],))]


def test_gradients_may_be_replaced(T):
    m, x = layer(T), ones(T)
    m.register_full_backward_hook(lambda m, i, o: (i[0] * 10,))
    m.register_full_backward_pre_hook(lambda m, o: (o[0] * 3,))
    m(x).sum().backward()
    assert x.grad.tolist() == [[30, 30]] and m.weight.grad.tolist() == [[3, 6]]


def test_no_argument_requires_a_gradient(T):
    m, seen = layer(T), []
    m.register_full_backward_hook(lambda m, i, o: seen.append((i, values(o))))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        m(ones(T, False)).sum().backward()
    assert seen == [((None,), ([[1]],))]
    m.register_full_backward_hook(lambda m, i, o: (T.ones(1),))
    with pytest.raises(RuntimeError, match="should always return None"), pytest.warns(UserWarning):
        m(ones(T, False)).sum().backward()


def test_several_arguments_and_results(T):
    class Several(T.nn.Module):
        def forward(self, a, b, n, *, c):
            return a * 2, b * 3, n, [c]

    m, seen, x = Several(), [], ones(T)
    m.register_full_backward_hook(lambda m, i, o: seen.append((values(i), values(o))))
    a, b, n, (c,) = m(x, T.ones(1), 3, c=x)
    assert n == 3 and c is x and not b.requires_grad
    a.sum().backward()
    assert seen == [(([[2, 2]], [0], None), ([[1, 1]], None, None, None))]


def test_wrong_number_of_gradients(T):
    m = layer(T)
    m.register_full_backward_hook(lambda m, i, o: (i[0], i[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        m(ones(T)).sum().backward()


def test_results_that_cannot_be_watched(T):
    class Dict(T.nn.Module):
        def forward(self, x):
            return {"x": x * 2}

    m, seen, x = Dict(), [], ones(T)
    m.register_full_backward_hook(lambda *a: seen.append(a))
    with pytest.warns(UserWarning, match="module output should be a Tensor or a tuple of Tensors"):
        out = m(x)
    out["x"].sum().backward()
    assert seen == [] and x.grad.tolist() == [[2, 2]]


def test_arguments_are_not_to_be_changed_in_place(T):
    m = T.nn.ReLU(inplace=True)
    m.register_full_backward_hook(lambda *a: None)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        m(ones(T) * 1)


def test_twice_and_without_gradients(T):
    m, seen, x = layer(T), [], ones(T)
    handle = m.register_full_backward_hook(lambda *a: seen.append(1))
    y = m(x)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert len(seen) == 2
    with T.no_grad():
        assert not m(x).requires_grad
    handle.remove()
    m(x).sum().backward()
    assert len(seen) == 2


def test_gradients_of_gradients(T):
    m, x = T.nn.Tanh(), ones(T)
    m.register_full_backward_hook(lambda m, i, o: (i[0] * 2,))
    (g,) = T.autograd.grad(m(x).sum(), x, create_graph=True)
    (h,) = T.autograd.grad(g.sum(), x)
    y = x.detach().tanh()
    # The hook stands in the first backward alone; its doubling is differentiated with the rest.
    for got, expected in ((g, 2 * (1 - y * y)), (h, 2 * -2 * y * (1 - y * y))):
        assert got.flatten().tolist() == pytest.approx(expected.flatten().tolist(), rel=1e-5)


def test_the_old_kind(T):
    m, seen = layer(T), []
    m.register_backward_hook(lambda m, i, o: seen.append(values(o)))
    m(ones(T)).sum().backward()
    assert seen == [([[1]],)]
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        m.register_full_backward_hook(print)


def test_hooks_for_all_modules(T):
    seen = []

    def note(name):
        return lambda *args: seen.append(name)

    everywhere = __import__(f"{T.__name__}.nn.modules.module", fromlist=["module"])
    handles = [
        everywhere.register_module_forward_pre_hook(note("all: before forward")),
        everywhere.register_module_forward_hook(note("all: after forward")),
        everywhere.register_module_full_backward_pre_hook(note("all: before backward")),
        everywhere.register_module_full_backward_hook(note("all: after backward")),
    ]
    m = layer(T)
    m.register_forward_pre_hook(note("before forward"))
    m.register_forward_hook(note("after forward"))
    m.register_full_backward_pre_hook(note("before backward"))
    m.register_full_backward_hook(note("after backward"))
    m.register_full_backward_hook(note("first"), prepend=True)
    try:
        m(ones(T)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    words = ["before forward", "after forward", "before backward", "after backward"]
    expected = [each for word in words for each in (f"all: {word}", word)]
    expected.insert(-1, "first")
    assert seen == expected
    layer(T)(ones(T))
    assert seen == expected


def test_always_call(T):
    m, seen = layer(T), []
    m.register_forward_hook(lambda m, i, o: seen.append(o), always_call=True)
    m.register_forward_hook(lambda m, i, o: seen.append("not me"))
    with pytest.raises(RuntimeError):
        m(T.ones(3))
    assert seen == [None]
