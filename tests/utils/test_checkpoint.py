"""Checkpointing: the same gradients, less saved, and errors where the second run differs."""

import gc
import importlib
import warnings
import weakref

import pytest
import torch

import minitorch

BOTH_WAYS = pytest.mark.parametrize("use_reentrant", [True, False])


def tools(T):
    return importlib.import_module(f"{T.__name__}.utils.checkpoint")


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def model(T):
    T.manual_seed(0)
    nn = T.nn
    return nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.3)
    )


def step(T, run):
    """The loss and all gradients of one step of the model, led through `run(model, x)`."""
    m = model(T)
    x = T.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
    T.manual_seed(7)
    loss = (run(m, x) * T.rand(3, 8)).sum()  # random numbers go on as if nothing had happened
    loss.backward()
    after = T.rand(3)
    grads = [x.grad, *[p.grad for p in m.parameters()]]
    return [t.detach().flatten().tolist() for t in (loss, after, *grads)]


@BOTH_WAYS
def test_gradients_with_dropout_are_those_without_checkpoint(T, use_reentrant):
    c = tools(T)
    plain = step(T, lambda m, x: m(x))
    whole = step(T, lambda m, x: c.checkpoint(m, x, use_reentrant=use_reentrant))
    parts = step(T, lambda m, x: c.checkpoint_sequential(m, 3, x, use_reentrant=use_reentrant))
    assert whole == plain and parts == plain


@BOTH_WAYS
def test_gradients_are_pytorchs(use_reentrant):
    def run(T):
        return step(T, lambda m, x: tools(T).checkpoint(m, x, use_reentrant=use_reentrant))

    ours, theirs = run(minitorch), run(torch)
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)


@BOTH_WAYS
def test_without_the_random_state_the_masks_differ(T, use_reentrant):
    c, seen = tools(T), []

    def noise(x):
        seen.append(T.rand(4).tolist())
        return x.exp()

    options = {"use_reentrant": use_reentrant, "preserve_rng_state": False}
    c.checkpoint(noise, leaf(T, 1.0), **options).backward()
    assert len(seen) == 2 and seen[0] != seen[1]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@BOTH_WAYS
def test_nested(T, use_reentrant):
    c, runs = tools(T), []
    x = leaf(T, 0.3, 0.4)

    def inner(x):
        runs.append("inner")
        return x.exp().sin()

    def outer(x):
        runs.append("outer")
        y = c.checkpoint(inner, x * 2, use_reentrant=use_reentrant)
        return c.checkpoint(inner, y, use_reentrant=use_reentrant).tanh()

    c.checkpoint(outer, x, use_reentrant=use_reentrant).sum().backward()
    y = x.detach().requires_grad_()
    inner(inner(y * 2)).tanh().sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    assert runs.count("outer") == 2


def test_how_far_the_second_run_goes(T):
    c, x, seen = tools(T), leaf(T, 1.0, 2.0), []

    def function(x):
        seen.append("a")
        y = x.exp()
        seen.append("b")
        z = y.sin()
        seen.append("c")
        return z + 1

    c.checkpoint(function, x, use_reentrant=False).sum().backward()
    assert seen == ["a", "b", "c", "a", "b"]
    seen.clear()
    c.checkpoint(function, x, use_reentrant=False, early_stop=False).sum().backward()
    assert seen == ["a", "b", "c"] * 2
    seen.clear()
    with c.set_checkpoint_early_stop(False):
        y = c.checkpoint(function, x, use_reentrant=False)
    y.sum().backward()
    assert seen == ["a", "b", "c"] * 2


def test_arguments_and_results(T):
    c, x = tools(T), leaf(T, 2.0)

    def function(a, b, *, factor, flag):
        return (a.exp() * factor, b, "text") if flag else None

    y, b, text = c.checkpoint(function, x, 3, factor=x, flag=True, use_reentrant=False)
    assert (b, text) == (3, "text")
    y.backward()
    assert x.grad.item() == pytest.approx((x.exp() * 3).item())
    x.grad = None
    two = c.checkpoint(lambda a, n: (a.exp() * n, a.detach()), x, 5, use_reentrant=True)
    two[0].backward()
    assert x.grad.item() == pytest.approx(two[0].item())
    with T.no_grad():
        assert not c.checkpoint(lambda a: a.exp(), x, use_reentrant=False).requires_grad


def test_gradients_of_gradients_and_of_some(T):
    c, x, w = tools(T), leaf(T, 0.5, 1.5), leaf(T, 2.0)
    y = c.checkpoint(lambda x: (x * w).exp().sin(), x, use_reentrant=False)
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = T.autograd.grad(g.sum(), x)
    y = (x * w).exp().sin()
    (plain_g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == plain_g.tolist()
    assert h.tolist() == pytest.approx(T.autograd.grad(plain_g.sum(), x)[0].tolist())


def test_backward_twice(T):
    c, x, runs = tools(T), leaf(T, 1.0, 2.0), []

    def function(x):
        runs.append(1)
        return x.exp().sin()

    y = c.checkpoint(function, x, use_reentrant=False).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert len(runs) == 3
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_contexts(T):
    c, x, seen = tools(T), leaf(T, 1.0), []

    class Note:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(self.name)

        def __exit__(self, *exception):
            seen.append(self.name)

    y = c.checkpoint(
        lambda x: x.exp(),
        x,
        use_reentrant=False,
        context_fn=lambda: (Note("first"), Note("second")),
    )
    assert seen == ["first"] * 2
    y.backward()
    assert seen == ["first"] * 2 + ["second"] * 2


def alternating(first, second):
    runs = []

    def function(x):
        runs.append(1)
        return first(x) if len(runs) % 2 else second(x)

    return function


def test_a_second_run_that_differs(T):
    c, x = tools(T), leaf(T, 1.0, 2.0)

    def run(first, second, **options):
        function = alternating(first, second)
        c.checkpoint(function, x, use_reentrant=False, **options).sum().backward()

    once, twice = lambda t: t.exp(), lambda t: t.exp().exp()
    with pytest.raises(RuntimeError, match="forward: 2\nNumber of .* during recomputation: 1"):
        run(twice, once)
    run(once, twice)  # stopped before it differs
    with pytest.raises(c.CheckpointError):
        run(once, twice, early_stop=False)
    shorter = lambda t: t[:1].exp() * 1  # noqa: E731
    with pytest.raises(RuntimeError, match=r"position 0:\nsaved metadata: .*\(\[2\]\).*\nrecompu"):
        run(once, shorter)
    run(once, shorter, determinism_check="none")


def test_arguments_changed_in_place(T):
    c, x = tools(T), leaf(T, 1.0, 2.0)
    middle = x * 1
    y = c.checkpoint(lambda t: t.exp(), middle, use_reentrant=False)
    middle.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_mistakes(T):
    c, x = tools(T), leaf(T, 1.0)
    with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed"):
        c.checkpoint(lambda t: t * 2, x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        c.checkpoint(lambda t: t * 2, x.detach(), use_reentrant=True)
    y = c.checkpoint(lambda t: t.exp(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        T.autograd.grad(y, x)
    for options in ({"k": 2, "use_reentrant": True}, {"determinism_check": "x"}):
        with pytest.raises(ValueError):
            c.checkpoint(lambda t, k=1: t * 2, x, **{"use_reentrant": False, **options})
    with pytest.raises(ValueError, match="context_fn"):
        c.checkpoint(lambda t: t * 2, x, context_fn=lambda: None, use_reentrant=True)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: foo"):
        c.checkpoint_sequential([T.nn.Tanh()], 1, x, use_reentrant=False, foo=1)


def test_an_error_in_the_second_run(T):
    c, x = tools(T), leaf(T, 1.0)

    def fail(t):
        raise KeyError("second run")

    y = c.checkpoint(alternating(lambda t: t.exp(), fail), x, use_reentrant=False)
    with pytest.raises(KeyError, match="second run"):
        y.backward()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@BOTH_WAYS
def test_what_lies_between_is_not_kept(use_reentrant):
    """Neither after forward nor after backward, and a nested region's inputs go as well."""
    c, held = tools(minitorch), []

    def inner(x):
        y = x.exp()
        held.append(weakref.ref(y.array))
        return y.sin()

    def outer(x):
        y = x * 2
        held.append(weakref.ref(y.array))
        return c.checkpoint(inner, y, use_reentrant=use_reentrant).tanh()

    gc.collect()
    gc.disable()
    try:
        x = leaf(minitorch, 1.0, 2.0)
        loss = c.checkpoint(outer, x, use_reentrant=use_reentrant).sum()
        assert len(held) == 2 and all(r() is None for r in held)
        loss.backward()
        assert all(r() is None for r in held)
    finally:
        gc.enable()


def test_what_a_backward_did_not_use_goes_with_it():
    c, w, held = tools(minitorch), leaf(minitorch, 1.0), []

    def function(x):
        y = x.exp()
        held.append(weakref.ref(y.array))
        return (x * w).sum(), y.sin().sum()

    a, _other = c.checkpoint(function, leaf(minitorch, 2.0), use_reentrant=False)
    a.backward()
    assert len(held) == 2 and held[1]() is None


def test_a_module_in_training():
    """Modules of both packages, several steps, the same parameters in the end."""
    results = []
    for T in (minitorch, torch):
        c, m = tools(T), model(T)
        optimizer = T.optim.SGD(m.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                optimizer.zero_grad()
                out = c.checkpoint_sequential(m, 2, T.ones(2, 4), use_reentrant=False)
                out.square().mean().backward()
                optimizer.step()
        results.append([p.detach().flatten().tolist() for p in m.parameters()])
    for ours, theirs in zip(*results, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
