"""Hooks on tensors, on nodes and after accumulation. Both packages do the same."""

import pytest


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def test_a_hook_sees_the_gradient(T):
    x = leaf(T, 1.0, 2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: seen.append(g.tolist()))
    (y * y).sum().backward()
    assert seen == [[6, 12], [18, 36]]


def test_a_hook_replaces_the_gradient(T):
    x = leaf(T, 1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    handle = y.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [33, 33]
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [30, 30]


def test_a_leaf_hook_runs_once_with_the_sum(T):
    x = leaf(T, 1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5]


def test_hooks_are_shown_the_gradients_of_grad(T):
    x = leaf(T, 1.0)
    x.register_hook(lambda g: g * 2)
    assert T.autograd.grad((x * 3).sum(), x)[0].item() == 6
    y = x * 3
    y.register_hook(lambda g: g * 7)
    assert T.autograd.grad((y * 2).sum(), y)[0].item() == 14


def test_hooks_under_create_graph(T):
    x = leaf(T, 2.0)
    x.register_hook(lambda g: g * g)
    (g,) = T.autograd.grad((x * x).sum(), x, create_graph=True)
    assert g.item() == 16
    (second,) = T.autograd.grad(g.sum(), x)  # d(4 x^2)/dx = 16, squared by the hook
    assert second.item() == 256


def test_a_changed_gradient_is_local_to_its_way(T):
    x, y = leaf(T, 1.0), leaf(T, 1.0)
    a = x + 0
    a.register_hook(lambda g: g * 2)
    (a + y).sum().backward()
    assert (x.grad.item(), y.grad.item()) == (2, 1)


def test_post_accumulate_grad_hooks(T):
    x = leaf(T, 1.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * 2 + x * 3).sum().backward()
    (x * 2).sum().backward()
    assert seen == [(True, 5), (True, 7)]
    handle.remove()
    (x * 2).sum().backward()
    assert len(seen) == 2
    T.autograd.grad((x * 2).sum(), x)
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_an_optimizer_in_the_hook(T):
    """Memory-saving training: step and drop each gradient as soon as it is there."""
    x = leaf(T, 1.0, 2.0)

    def step(p):
        with T.no_grad():
            p -= 0.5 * p.grad
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * x).sum().backward()
    assert x.grad is None and x.tolist() == [0, 0]


def test_retain_grad(T):
    x = leaf(T, 2.0)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    (y * y).sum().backward(retain_graph=True)
    assert y.grad.item() == 12
    (y * y).sum().backward()
    assert y.grad.item() == 24
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad"):
        T.ones(1).retain_grad()


def test_retain_grad_comes_after_the_hooks(T):
    x = leaf(T, 2.0)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    assert (y.grad.item(), x.grad.item()) == (2, 6)


def test_grad_of_a_computed_tensor_warns(T):
    y = leaf(T, 2.0) * 3
    with pytest.warns(UserWarning, match="not a leaf Tensor is being accessed"):
        assert y.grad is None


def test_hooks_need_a_gradient(T):
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't"):
        T.ones(1).register_hook(print)


def test_last_layers_first(T):
    """Leaves are served in the reverse order of their use, as overlapping communication needs."""
    layers = [leaf(T, 1.0) for _ in range(4)]
    order = []
    for number, w in enumerate(layers):
        w.register_post_accumulate_grad_hook(lambda _, n=number: order.append(n))
    x = T.ones(1)
    for w in layers:
        x = (x * w).tanh()
    x.backward()
    assert order == [3, 2, 1, 0]


def test_an_error_in_a_hook_reaches_the_caller(T):
    x = leaf(T, 1.0)
    y = x * 2

    def fail(_):
        raise ValueError("from the hook")

    y.register_hook(fail)
    with pytest.raises(ValueError, match="from the hook"):
        y.sum().backward()
    assert T.is_grad_enabled()
