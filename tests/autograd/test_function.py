"""autograd.Function: everything PyTorch documents, under both packages."""

import gc
import weakref

import pytest

import minitorch


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def make(T, forward, backward, **others):
    """A Function of these two functions, called Mine."""
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    methods |= {name: staticmethod(f) for name, f in others.items()}
    return type("Mine", (T.autograd.Function,), methods)


def saving_exp(T):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    return make(T, forward, lambda ctx, g: g * ctx.saved_tensors[0])


def cube(T):
    """Saves its input, and an attribute with a name that nodes have themselves."""

    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = ctx.shape = ctx.saved = ctx.op = ctx.dtype = ctx.edges = ctx.hooks = power
        return x**power

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert (ctx.shape, ctx.op, ctx.dtype, ctx.saved, ctx.edges, ctx.hooks) == (3,) * 6
        return g * ctx.shape * x ** (ctx.shape - 1), None

    return make(T, forward, backward)


def test_gradient_and_gradient_of_gradient(T):
    x = leaf(T, 1.0, 2.0)
    for function, args, first, second in (
        (saving_exp(T), (), x.exp().tolist(), x.exp().tolist()),
        (cube(T), (3,), [3, 12], [6, 12]),
    ):
        (g,) = T.autograd.grad(function.apply(x, *args).sum(), x, create_graph=True)
        assert g.tolist() == first
        (h,) = T.autograd.grad(g.sum(), x)
        assert h.tolist() == pytest.approx(second)


def test_saved_outputs_of_several(T):
    """Each look at a saved output is a way for gradients of gradients, and they add up."""

    def forward(ctx, x):
        a = x.exp()
        ctx.save_for_backward(a)
        return a, a * 2

    def backward(ctx, g, h):
        return g * ctx.saved_tensors[0] + h * ctx.saved_tensors[0] + h * ctx.saved_tensors[0]

    x = leaf(T, 0.0)
    b = make(T, forward, backward).apply(x)[1]
    (g,) = T.autograd.grad(b, x, create_graph=True)
    (h,) = T.autograd.grad(g, x)
    assert (b.item(), g.item(), h.item()) == (2, 2, 2)


def test_setup_context(T):
    seen = []

    def forward(x, factor, flag=True):
        return x * factor, x + factor

    def setup_context(ctx, inputs, output):
        seen.append((inputs[1:], [o.tolist() for o in output], T.is_grad_enabled()))
        ctx.factor = inputs[1]
        ctx.save_for_backward(output[0])

    def backward(ctx, g, h):
        seen.append((g.tolist(), h.tolist(), ctx.saved_tensors[0].grad_fn is not None))
        return g * ctx.factor + h, None, None

    function = make(T, forward, backward, setup_context=setup_context)
    x = leaf(T, 1.0)
    a, b = function.apply(x, 3.0)
    (a + 10 * b).sum().backward()
    assert seen == [((3.0, True), [[3], [4]], False), ([1], [10], True)]
    assert x.grad.item() == 13


def test_vjp_is_another_name_for_backward(T):
    function = type(
        "Mine",
        (T.autograd.Function,),
        {
            "forward": staticmethod(lambda ctx, x: x * 2),
            "vjp": staticmethod(lambda ctx, g: g * 5),
            "jvp": staticmethod(lambda ctx, t: t * 2),
        },
    )
    x = leaf(T, 1.0)
    function.apply(x).backward()
    assert x.grad.item() == 5


def test_the_node(T):
    x = leaf(T, 1.0)
    y = cube(T).apply(x * 1, 3)
    assert type(y.grad_fn).__name__ == y.grad_fn.name() == "MineBackward"
    assert "grad_fn=<MineBackward>" in repr(y)
    assert y.grad_fn.power == 3 and y.grad_fn.needs_input_grad == (True, False)
    assert y.grad_fn.saved_tensors[0].tolist() == [1]
    ((first, number),) = y.grad_fn.next_functions  # of its tensors alone
    assert first.name() == "MulBackward0" and number == 0


def test_what_was_saved_comes_back_at_its_place(T):
    x, c = leaf(T, 1.0), T.ones(1)
    seen = []

    def forward(ctx, x, middle, c):
        ctx.save_for_backward(x, middle, None, c)
        return x * middle

    def backward(ctx, g):
        a, b, nothing, d = ctx.saved_tensors
        seen.append((a is x, b.grad_fn.name(), nothing, d is c))
        return g, None, None

    make(T, forward, backward).apply(x, x * 1, c).backward()
    assert seen == [(True, "MulBackward0", None, True)]


def test_saved_tensors_are_guarded(T):
    x = leaf(T, 1.0)
    y = saving_exp(T).apply(x)
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.grad_fn.saved_tensors  # noqa: B018
    middle = x * 1
    y = cube(T).apply(middle, 3)
    middle.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*expected version 0"):
        y.backward()
    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument"):
        make(T, lambda ctx, x: ctx.save_for_backward(x, 3) or x * 2, None).apply(x)


def test_what_is_asked_for(T):
    seen = []

    def backward(ctx, g):
        seen.append(ctx.needs_input_grad)
        return None, g * 2, None

    function = make(T, lambda ctx, a, b, c: b * 2, backward)
    x = leaf(T, 1.0)
    function.apply(T.ones(1), x, "c").backward()
    assert seen == [(False, True, False)] and x.grad.item() == 2


def test_materialized_gradients(T):
    for materialize, expected in ((True, [0.0, 0.0]), (False, None)):
        seen = []

        def forward(ctx, x, materialize=materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        def backward(ctx, g, h, seen=seen):
            seen.append(h if h is None else h.tolist())
            return g

        x = leaf(T, 1.0, 2.0)
        make(T, forward, backward).apply(x)[0].sum().backward()
        assert seen == [expected]


def test_outputs_without_gradient(T):
    seen = []

    def forward(ctx, x):
        largest = x.max()
        where = (x == largest).nonzero()
        half = x / 2
        ctx.mark_non_differentiable(where, half)
        return largest, where, half, "text", None, x.long()

    def backward(ctx, *grads):
        seen.append([None if g is None else (g.tolist(), g.dtype is T.int64) for g in grads])
        return grads[0] * T.ones(2)

    x = leaf(T, 1.0, 2.0)
    largest, where, half, text, nothing, whole = make(T, forward, backward).apply(x)
    assert largest.requires_grad and text == "text" and nothing is None
    assert not (where.requires_grad or half.requires_grad or whole.requires_grad)
    largest.backward()
    zeros = [([[0]], True), ([0, 0], False), None, None, ([0, 0], True)]
    assert seen == [[(1, False), *zeros]]


def test_an_input_returned_as_it_is(T):
    function = make(T, lambda ctx, x: x, lambda ctx, g: g * 7)
    x = leaf(T, 1.0)
    y = function.apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and y.grad_fn.name() == "MineBackward"
    y.backward()
    assert x.grad.item() == 7
    with T.no_grad():
        y = function.apply(x)
    assert not y.requires_grad
    y = function.apply(x * 1)
    with pytest.raises(RuntimeError, match="Output 0 of Mine is a view and is being modified inpl"):
        y.add_(1)


def test_views(T):
    two = make(T, lambda ctx, x: (x[0], x.view(-1)), lambda ctx, g, h: g + h)
    one = make(T, lambda ctx, x: x.view(-1), lambda ctx, g: g * 2)
    x = leaf(T, 1.0)
    a, b = two.apply(x * 1)
    assert a._is_view() and (a.output_nr, b.output_nr) == (0, 1)
    y = one.apply(x * 1)
    y.sum().backward()
    assert x.grad.item() == 2
    for view, words in ((a, "function that returns multiple views"), (y, "a custom Function")):
        with pytest.raises(RuntimeError, match=words):
            view.mul_(2)


def in_place(T):
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    return make(T, forward, lambda ctx, g: g * 2)


def test_dirty_inputs(T):
    x = leaf(T, 1.0, 2.0)
    y = x * 1
    z = in_place(T).apply(y)
    assert z is y and y.tolist() == [2, 4] and y.grad_fn.name() == "MineBackward"
    (y * y).sum().backward()
    assert x.grad.tolist() == [8, 16]


def test_dirty_views(T):
    x = leaf(T, 1.0, 2.0)
    base = x * 1
    in_place(T).apply(base[1:])
    assert base.tolist() == [1, 4] and "CopySlices" in base.grad_fn.name()
    (base * 3).sum().backward()
    assert x.grad.tolist() == [3, 6]


def test_dirty_mistakes(T):
    x = leaf(T, 1.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        in_place(T).apply(x)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        in_place(T).apply(x[:1])

    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x * 2

    with pytest.raises(RuntimeError, match="marked as dirty .* were not returned as output"):
        make(T, forward, None).apply(x * 1)


MISTAKES = {
    r"MineBackward returned an incorrect number of gradients \(expected 2, got 1\)": lambda g: g,
    "MineBackward returned a gradient different than None at position 2": lambda g: (g, g),
    r"expected Variable or None \(got int\)": lambda g: (5, None),
    r"invalid gradient at index 0 - got \[3\] but expected shape compatible with \[2\]": (
        lambda g: (g[:1].expand(3), None)
    ),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_in_backward(T, words):
    function = make(T, lambda ctx, x, y: x * y, lambda ctx, g: MISTAKES[words](g))
    with pytest.raises(RuntimeError, match=words):
        function.apply(leaf(T, 1.0, 2.0), 3.0).sum().backward()


def test_gradients_that_fit(T):
    """Nones too many are dropped, a stretched gradient is summed, another dtype converted."""
    for gradient in (
        lambda g: (g, None, None, None),
        lambda g: (g.sum().expand(3, 2) / 6, None),
        lambda g: (g.double(), None),
    ):
        x = leaf(T, 1.0, 2.0)
        function = make(T, lambda ctx, x, y: x * y, lambda ctx, g, f=gradient: f(g))
        function.apply(x, 3.0).sum().backward()
        assert x.grad.tolist() == [1, 1] and x.grad.dtype is T.float32


def test_one_gradient_returned_twice_is_not_shared(T):
    a, b = leaf(T, 1.0), leaf(T, 1.0)
    function = make(T, lambda ctx, a, b: a + b, lambda ctx, g: (g * 2,) * 2)
    function.apply(a, b).backward()
    a.grad.add_(1)
    assert (a.grad.item(), b.grad.item()) == (3, 2)


def test_what_is_missing(T):
    x = leaf(T, 1.0)
    only_backward = type("Mine", (T.autograd.Function,), {"backward": staticmethod(lambda c, g: g)})
    with pytest.raises(NotImplementedError, match="must implement the forward"):
        only_backward.apply(x)
    only_forward = type("Mine", (T.autograd.Function,), {"forward": staticmethod(lambda c, x: x)})
    with pytest.raises(NotImplementedError, match="either the backward or vjp method"):
        only_forward.apply(x).backward()
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        made = only_forward()
    with pytest.raises(RuntimeError, match="Legacy autograd function with non-static forward"):
        made(x)


def test_nothing_inside_is_recorded(T):
    seen = []

    def forward(ctx, x):
        seen.append((T.is_grad_enabled(), (x * 2).requires_grad))
        return x * 2

    function = make(T, forward, lambda ctx, g: seen.append(T.is_grad_enabled()) or g)
    x = leaf(T, 1.0)
    T.autograd.grad(function.apply(x), x, T.ones(1, requires_grad=True), create_graph=True)
    function.apply(x).backward()
    assert seen == [(False, False), True, (False, False), False]
    with T.no_grad():
        y = function.apply(x)
    assert y.grad_fn is None and not y.requires_grad


def test_once_differentiable(T):
    once = T.autograd.function.once_differentiable
    function = make(T, lambda ctx, x: x * 2, once(lambda ctx, g: g * 2))
    x = leaf(T, 1.0)
    function.apply(x).backward()
    assert x.grad.item() == 2
    (g,) = T.autograd.grad((function.apply(x) ** 2).sum(), x, create_graph=True)
    assert g.requires_grad and g.item() == 8
    with pytest.raises(RuntimeError, match="differentiate twice a function that was marked"):
        g.backward()


def test_inside_of_hooks_and_of_each_other(T):
    exp = saving_exp(T)

    def forward(ctx, x):
        with T.enable_grad():
            ctx.inner = x.detach().requires_grad_()
            ctx.out = exp.apply(ctx.inner) * 2
        return ctx.out.detach()

    def backward(ctx, g):
        return T.autograd.grad(ctx.out, ctx.inner, g)[0]

    x = leaf(T, 0.0)
    y = make(T, forward, backward).apply(x)
    y.register_hook(lambda g: exp.apply(g * 0) * 5)
    y.backward()
    assert x.grad.item() == 10


def test_hooks_on_the_node(T):
    x = leaf(T, 1.0)
    y = cube(T).apply(x, 3)
    seen = []
    y.grad_fn.register_prehook(lambda g: (g[0] * 2,))
    y.grad_fn.register_hook(lambda i, o: seen.append((i[0].item(), len(i), o[0].item())))
    y.backward()
    assert seen == [(6, 1, 2)] and x.grad.item() == 6


def test_complex(T):
    """backward sees PyTorch's gradient, which is the conjugate of the chain rule's."""
    function = make(T, lambda ctx, z: z * (1 + 2j), lambda ctx, g: g * (1 - 2j))
    results = []
    for f in (function.apply, lambda z: z * (1 + 2j)):
        z = T.tensor([1 + 1j, 2 - 1j], requires_grad=True)
        out = f(z)
        out.backward(T.tensor([1 + 0j, 1j]))
        results.append(z.grad.tolist())
    assert results[0] == results[1] == [1 - 2j, 2 + 1j]


def test_modules(T):
    from_module = T.autograd.function
    assert from_module.Function is T.autograd.Function
    contexts = []
    make(T, lambda ctx, x: contexts.append(ctx) or x * 2, None).apply(leaf(T, 1.0))
    assert isinstance(contexts[0], from_module.FunctionCtx)
    assert issubclass(from_module.InplaceFunction, T.autograd.Function)


def test_no_cycles():
    gc.collect()
    gc.disable()
    try:
        for function, args in ((saving_exp(minitorch), ()), (cube(minitorch), (3,))):
            middle = leaf(minitorch, 1.0) * 1
            out = function.apply(middle, *args)
            held = [weakref.ref(middle), weakref.ref(out), weakref.ref(out.grad_fn)]
            del middle, out
            assert [r() for r in held] == [None] * 3
    finally:
        gc.enable()


def test_saved_tensors_go_after_backward():
    x = leaf(minitorch, 1.0)
    middle = x * 1
    array = weakref.ref(middle.array)
    y = cube(minitorch).apply(middle, 3)
    del middle
    assert array() is not None
    y.backward()
    assert array() is None


def test_a_long_chain():
    exp, x = saving_exp(minitorch), leaf(minitorch, 1e-9)
    y = x
    for _ in range(20_000):
        y = exp.apply(y * 0) * 1e-9
    y.backward()
    assert x.grad is not None
    del y
