"""torch.func against PyTorch: each call is made in both packages, and the results compared."""

import numpy as np
import pytest
import torch

import minitorch
from tests.testing.alike import assert_alike, both

X = np.array([0.5, -1.0, 2.0])
Y = np.array([[1.0, 2.0, -0.5], [0.25, 1.5, 3.0]])


def data(T):
    return T.tensor(X), T.tensor(Y)


# grad


def test_grad_and_its_arguments():
    both(lambda T: T.func.grad(lambda x: (x**3).sum())(data(T)[0]))
    both(lambda T: T.func.grad(lambda x, y: (x * y).sum(), argnums=1)(*data(T)))
    both(lambda T: T.func.grad(lambda x, y: (x * y).sum(), argnums=-1)(*data(T)))
    both(lambda T: T.func.grad(lambda x, y: (x * y**2).sum(), argnums=(1, 0))(*data(T)))
    both(lambda T: T.func.grad(lambda x, y: ((x * y).sum(), {"y": y}), has_aux=True)(*data(T)))
    both(lambda T: T.func.grad(lambda x, *, k: (x**k).sum())(data(T)[0], k=3))
    both(lambda T: T.func.grad_and_value(lambda x: (x**3).sum())(data(T)[0]))
    both(lambda T: T.func.grad_and_value(lambda x: (x.sum(), x), has_aux=True)(data(T)[0]))


def test_grad_of_nested_arguments():
    def f(parameters, x):
        return (parameters["w"] * x + parameters["more"][0]).sum() ** 2

    def call(T):
        x, y = data(T)
        return T.func.grad(f)({"w": x, "more": [x.sum(), x]}, y)

    both(call)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_grad_to_any_order(order):
    def call(T):
        function = lambda x: (2 * x).sin() * x  # noqa: E731
        for _ in range(order):
            function = T.func.grad(function)
        return function(T.tensor(0.7, dtype=T.float64))

    both(call)


def test_inner_gradients_know_the_outer_variable():
    def f(T):  # perturbation confusion: d/dx x * d/dy (x + y) is 1, not 2
        inner = lambda x: T.func.grad(lambda y: x + y)(T.tensor(3.0))  # noqa: E731
        return T.func.grad(lambda x: x * inner(x))(T.tensor(2.0))

    both(f)
    constant = lambda T: T.tensor(3.0, dtype=T.float64)  # noqa: E731
    both(
        lambda T: T.func.grad(lambda a: T.func.grad(lambda b: (a * b**2).sum())(constant(T)).sum())(
            data(T)[0]
        )
    )
    both(
        lambda T: T.func.grad(lambda x: T.func.grad(lambda y: (x**2 * y**3).sum())(x).sum())(
            data(T)[0]
        )
    )


def test_what_requires_grad_afterwards():
    """Only what depends on something outside that does."""
    weight = lambda T: T.tensor([1.0, 2.0, 3.0], dtype=T.float64, requires_grad=True)  # noqa: E731

    def closure(T):
        w = weight(T)
        result = T.func.grad(lambda x: (w * x**2).sum())(data(T)[0])
        result.sum().backward()
        return result, w.grad

    def argument(T):
        w = weight(T)
        gradient, value = T.func.grad_and_value(lambda x: (x**3).sum())(w)
        gradient.sum().backward()
        return gradient, value, w.grad

    def without(T):
        w = weight(T)
        with T.no_grad():
            return T.func.grad_and_value(lambda x: (x * x * w).sum())(w), w.grad

    for call in (closure, argument, without):
        both(call)


def test_ordinary_autograd_inside():
    """PyTorch refuses it; here the transforms are made of it."""

    def inner(x):
        w = x.detach().requires_grad_()
        (g,) = minitorch.autograd.grad((w**3).sum(), w)
        return (g * x).sum()

    gradient = minitorch.func.grad(inner)(data(minitorch)[0])
    assert gradient.tolist() == (3 * data(minitorch)[0] ** 2).tolist()


# vjp, jvp, linearize


def test_vjp():
    def call(T):
        x, y = data(T)
        output, pull = T.func.vjp(lambda x, y: (x * y, {"s": x.sum()}), x, y)
        return output, pull((y, {"s": T.tensor(2.0, dtype=T.float64)}))

    def one(T):
        output, pull, aux = T.func.vjp(lambda x: (x**2, x), data(T)[0], has_aux=True)
        return output, pull(output), aux

    def twice(T):  # the product depends on the vector as well as on the point
        x = data(T)[0].requires_grad_()
        _, pull = T.func.vjp(lambda x: x**3, x)
        (product,) = pull(x)
        product.sum().backward()
        return x.grad

    for f in (call, one, twice):
        both(f)


def test_jvp_and_linearize():
    both(lambda T: T.func.jvp(lambda x, y: (x * y, x.sum()), data(T), data(T)))
    both(lambda T: T.func.jvp(lambda x: (x**2, x), data(T)[:1], data(T)[:1], has_aux=True))
    both(lambda T: T.func.jvp(lambda x: T.ones(2), data(T)[:1], data(T)[:1]))
    both(
        lambda T: T.func.grad(lambda x: T.func.jvp(lambda y: y**3, (x,), (x,))[1].sum())(data(T)[0])
    )

    def call(T):
        x, y = data(T)
        output, push = T.func.linearize(lambda x, y: (x * y).sin(), x, y)
        return output, push(x, y), push(2 * x, y)

    ours = call(minitorch)
    assert_alike(ours, call(torch))


# Jacobians

FUNCTIONS = {
    "one": lambda x, y: x**2 * y,
    "scalar": lambda x, y: (x * y**3).sum(),
    "tuple": lambda x, y: (x * y, x.sum()),
    "dict": lambda x, y: {"p": x**2 * y, "q": [y]},
    "unused": lambda x, y: x.exp(),
}


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1,)])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("transform", ["jacrev", "jacfwd"])
def test_jacobians(transform, name, argnums):
    both(lambda T: getattr(T.func, transform)(FUNCTIONS[name], argnums)(*data(T)))


@pytest.mark.parametrize("transform", ["jacrev", "jacfwd"])
def test_jacobians_with_aux(transform):
    f = lambda x: (x**2, (x, x + 1))  # noqa: E731
    both(lambda T: getattr(T.func, transform)(f, has_aux=True)(data(T)[0]))
    both(lambda T: T.func.jacrev(lambda x: x**2, chunk_size=2)(data(T)[0]))


def test_hessian_and_mixed_nesting():
    both(lambda T: T.func.hessian(lambda x: (x**3).prod())(data(T)[0]))
    both(lambda T: T.func.hessian(lambda x, y: (x * y**2).sum(), argnums=(0, 1))(*data(T)))
    both(lambda T: T.func.jacrev(T.func.jacrev(lambda x: x**3))(data(T)[0]))
    both(lambda T: T.func.jacrev(T.func.jacfwd(lambda x: x.sin()))(data(T)[0]))
    both(lambda T: T.func.jacfwd(T.func.grad(lambda x: x.exp().sum()))(data(T)[0]))
    both(lambda T: T.func.jacfwd(T.func.jacfwd(T.func.jacrev(lambda x: x**4)))(data(T)[0]))


# vmap


def test_vmap_dimensions():
    both(lambda T: T.vmap(lambda a: a.sum())(data(T)[1]))
    both(lambda T: T.vmap(lambda a: a.sum(), in_dims=1)(data(T)[1]))
    both(lambda T: T.vmap(lambda a: a * 2, in_dims=-1, out_dims=1)(data(T)[1]))
    both(lambda T: T.vmap(lambda a, b: a @ b, in_dims=(0, None))(data(T)[1], data(T)[0]))
    both(lambda T: T.vmap(lambda a, b: (a, {"b": b + a}), (0, 0), (1, 0))(*[data(T)[1]] * 2))
    both(
        lambda T: T.vmap(lambda d: d["a"] * d["b"][0], in_dims=({"a": 0, "b": [None]},))(
            {"a": data(T)[1], "b": [data(T)[0]]}
        )
    )
    both(lambda T: T.vmap(lambda a: (a, 3), out_dims=(0, None))(data(T)[1]))
    both(lambda T: T.vmap(lambda a, b: a * b)(data(T)[1], b=data(T)[0]))
    both(lambda T: T.vmap(T.dot, chunk_size=1)(data(T)[1], data(T)[1]))
    both(lambda T: T.vmap(lambda a: a, out_dims=(1,))(data(T)[1]))
    both(lambda T: T.vmap(T.vmap(lambda a, b: a * b, (None, 0)), (0, None))(data(T)[0], data(T)[0]))


def test_per_sample_gradients():
    """The example that vmap is best known for; and the other way round, a gradient through it."""

    def loss(weights, x, y):
        return ((x @ weights["w"] + weights["b"] - y) ** 2).mean()

    def arguments(T):
        weights = {"w": data(T)[1].t().clone(), "b": T.zeros(2, dtype=T.float64)}
        x = T.stack([data(T)[0], data(T)[0] + 1, data(T)[0] * 2])
        return weights, x, x[:, :2]

    both(lambda T: T.func.vmap(T.func.grad(loss), in_dims=(None, 0, 0))(*arguments(T)))
    both(
        lambda T: T.func.grad(lambda *a: T.vmap(loss, in_dims=(None, 0, 0))(*a).sum())(
            *arguments(T)
        )
    )


def test_a_gradient_through_vmap():
    def call(T):
        x, y = data(T)
        y.requires_grad_()
        T.vmap(lambda a: (a * x).sum() ** 2)(y).sum().backward()
        return y.grad

    both(call)


def test_vmap_randomness(T):
    x = T.zeros(3, 2)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        T.vmap(lambda a: a + T.rand(2))(x)
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        T.vmap(lambda a: a, randomness="some")
    same = T.vmap(lambda a: a + T.rand(2), randomness="same")(x)
    assert (same == same[0]).all()
    different = T.vmap(lambda a: a + T.rand(2), randomness="different")(x)
    assert len(set(different.flatten().tolist())) == 6


def test_vmap_draws_pytorchs_numbers():
    def call(T, randomness):
        T.manual_seed(3)
        return T.vmap(lambda a: a + T.rand(2), randomness=randomness)(T.zeros(3, 2))

    for randomness in ("same", "different"):
        both(lambda T, randomness=randomness: call(T, randomness))


# functional_call, stack_module_state


def network(T):
    class Counting(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = T.nn.Linear(3, 3, bias=False)
            self.second = T.nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight  # tied
            self.register_buffer("calls", T.zeros(1))
            self.register_buffer("last", T.zeros(1))

        def forward(self, x, scale=1):
            self.calls += 1
            self.last = x.sum().reshape(1)
            return self.second(self.first(x)) * scale

    T.manual_seed(0)
    return Counting()


def test_functional_call(T):
    net, x = network(T), T.ones(2, 3)
    weight, calls = T.eye(3) * 2, T.zeros(1)
    given = {"first.weight": weight, "calls": calls, "last": T.zeros(1)}
    before = net.first.weight
    output = T.func.functional_call(net, given, x, {"scale": 3})
    assert output.tolist() == (12 * x).tolist()  # tied: both are replaced
    assert net.first.weight is before and net.second.weight is before
    assert calls.item() == 1 and net.calls.item() == 0  # changed in place
    assert given["last"].item() == 6 and net.last.item() == 0  # assigned
    assert (
        T.func.functional_call(net, [{"first.weight": weight}], (x,)).tolist() == (4 * x).tolist()
    )
    untied = T.func.functional_call(net, {"first.weight": weight}, (x,), tie_weights=False)
    assert not untied.equal(4 * x)


def test_functional_call_restores_after_an_error(T):
    net = network(T)
    before = net.first.weight
    with pytest.raises(RuntimeError):
        T.func.functional_call(net, {"first.weight": T.eye(3)}, T.ones(2, 5))
    assert net.first.weight is before


def test_functional_call_errors(T):
    net, x = network(T), T.ones(2, 3)
    call = T.func.functional_call
    one, other = {"first.weight": T.eye(3)}, {"second.weight": T.ones(3, 3)}
    with pytest.raises(ValueError, match="which are tied"):
        call(net, one | other, x)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        call(net, [one, one], x)
    with pytest.raises(ValueError, match="a dict, or a list"):
        call(net, 3, x)
    with pytest.raises(ValueError, match="to be dictionaries"):
        call(net, [3], x)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\): 'calls', 'last'"):
        call(net, one, x, strict=True)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): 'third'"):
        call(net, {**one, "third": x}, x, strict=True)


def test_gradients_of_a_modules_parameters():
    def call(T):
        T.manual_seed(1)
        net = T.nn.Sequential(T.nn.Linear(3, 2), T.nn.Tanh(), T.nn.Linear(2, 1))
        parameters = {name: p.detach() for name, p in net.named_parameters()}
        x = T.tensor(Y, dtype=T.float32)
        loss = lambda p, row: T.func.functional_call(net, p, (row,)).sum()  # noqa: E731
        return T.vmap(T.func.grad(loss), in_dims=(None, 0))(parameters, x)

    ours, theirs = call(minitorch), call(torch)
    assert_alike(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_ensemble():
    def call(T):
        T.manual_seed(1)
        nets = [T.nn.Linear(3, 2) for _ in range(3)]
        parameters, buffers = T.func.stack_module_state(nets)
        run = lambda p, b, x: T.func.functional_call(nets[0], (p, b), (x,))  # noqa: E731
        outputs = T.vmap(run, in_dims=(0, 0, None))(parameters, buffers, T.ones(4, 3))
        return parameters, outputs

    assert_alike(call(minitorch), call(torch), rtol=1e-5, atol=1e-6)


# What PyTorch refuses

REFUSED = {
    "grad of many": lambda T, x, y: T.func.grad(lambda x: x)(x),
    "grad of a number": lambda T, x, y: T.func.grad(lambda x: 3.0)(x),
    "grad for an integer": lambda T, x, y: T.func.grad(lambda x: x.sum())(T.tensor([1, 2])),
    "grad for a number": lambda T, x, y: T.func.grad(lambda x: x)(3.0),
    "no aux": lambda T, x, y: T.func.grad(lambda x: x.sum(), has_aux=True)(x),
    "argnums too large": lambda T, x, y: T.func.grad(lambda x: x.sum(), argnums=1)(x),
    "argnums twice": lambda T, x, y: T.func.grad(lambda x: x.sum(), argnums=(0, 0))(x),
    "argnums empty": lambda T, x, y: T.func.grad(lambda x: x.sum(), argnums=())(x),
    "argnums a string": lambda T, x, y: T.func.grad(lambda x: x.sum(), argnums="0")(x),
    "vjp of an integer": lambda T, x, y: T.func.vjp(lambda x: x.argmax(), x),
    "vjp of a number": lambda T, x, y: T.func.vjp(lambda x: 3.0, x),
    "cotangents": lambda T, x, y: T.func.vjp(lambda x: (x, x), x)[1](x),
    "jvp of a list": lambda T, x, y: T.func.jvp(lambda x: x, [x], [x]),
    "jvp structures": lambda T, x, y: T.func.jvp(lambda x: x, (x,), (x, x)),
    "jvp strict": lambda T, x, y: T.func.jvp(lambda x: T.ones(2), (x,), (x,), strict=True),
    "chunk": lambda T, x, y: T.func.jacrev(lambda x: x, chunk_size=0)(x),
    "vmap chunk": lambda T, x, y: T.vmap(lambda x: x, chunk_size=0)(x),
    "vmap of nothing": lambda T, x, y: T.vmap(lambda: x)(),
    "vmap in_dims": lambda T, x, y: T.vmap(lambda x: x, in_dims=(0, 0))(x),
    "vmap in_dims list": lambda T, x, y: T.vmap(lambda x: x, in_dims=[0])(x),
    "vmap in_dims None": lambda T, x, y: T.vmap(lambda x: x, in_dims=None)(x),
    "vmap in_dims all None": lambda T, x, y: T.vmap(lambda x: x, in_dims=(None,))(x),
    "vmap in_dims float": lambda T, x, y: T.vmap(lambda x: x, in_dims=(0.5,))(x),
    "vmap in_dims too large": lambda T, x, y: T.vmap(lambda x: x, in_dims=1)(x),
    "vmap over a number": lambda T, x, y: T.vmap(lambda x, n: x)(x, 3),
    "vmap sizes": lambda T, x, y: T.vmap(lambda x, y: x)(x, y),
    "vmap returns a number": lambda T, x, y: T.vmap(lambda x: 3)(x),
    "vmap out_dims": lambda T, x, y: T.vmap(lambda x: x, out_dims=(0, 0))(x),
    "stack nothing": lambda T, x, y: T.func.stack_module_state([]),
    "stack others": lambda T, x, y: T.func.stack_module_state([T.nn.Linear(1, 1), T.nn.Tanh()]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_errors(name):
    error = both(lambda T: REFUSED[name](T, *data(T)))
    assert isinstance(error, (RuntimeError, ValueError))


def test_what_is_left_out_says_so():
    with pytest.raises(AttributeError, match="left out"):
        minitorch.func.functionalize  # noqa: B018
