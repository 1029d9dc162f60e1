"""autograd.functional against PyTorch: values, structure of the results, requires_grad, errors."""

import numpy as np
import pytest
import torch

import minitorch
from tests.testing.alike import assert_alike, both

DATA = np.array([0.5, -1.0, 2.0]), np.array([[1.0, 2.0, -0.5], [0.25, 1.5, 3.0]])


def inputs(T, grad=False):
    x, y = (T.tensor(a) for a in DATA)
    return (x.requires_grad_(), y.requires_grad_()) if grad else (x, y)


# (name, function of tensors; the number of inputs it takes)
SINGLE = {
    "one": lambda x: x**2,
    "scalar": lambda x: (x**3).sum(),
    "several": lambda x: (x, x.exp()),
}
PAIR = {
    "one": lambda x, y: x * y**2,
    "several": lambda x, y: (x * y, (x**2).sum()),
    "unused": lambda x, y: (x**2, x + 1),
}
SCALAR = {
    "cubic": lambda x, y: (x**3 * y**2).sum(),
    "linear": lambda x, y: (2 * x).sum() + y.sum(),
    "unused": lambda x, y: (x**3).sum(),
    "one element": lambda x, y: (x * y).exp().sum().reshape(1, 1),
}


@pytest.mark.parametrize("options", [{}, {"create_graph": True}, {"vectorize": True}])
@pytest.mark.parametrize("name", SINGLE)
def test_jacobian_of_one_input(name, options):
    both(lambda T: T.autograd.functional.jacobian(SINGLE[name], inputs(T, True)[0], **options))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", PAIR)
def test_jacobian_of_several_inputs(name, create_graph, grad):
    both(lambda T: T.autograd.functional.jacobian(PAIR[name], inputs(T, grad), create_graph))


def test_jacobian_forward_mode_and_wrong_strategies():
    def jacobian(T, strategy):
        function = T.autograd.functional.jacobian
        return function(lambda x: x**2, inputs(T)[0], vectorize=True, strategy=strategy)

    both(lambda T: jacobian(T, "forward-mode"))
    assert isinstance(both(lambda T: jacobian(T, "sideways")), AssertionError)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", SCALAR)
def test_hessian(name, create_graph):
    both(lambda T: T.autograd.functional.hessian(SCALAR[name], inputs(T, True), create_graph))


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_hessian_of_one_input(strategy):
    def hessian(T):
        function, options = T.autograd.functional.hessian, {"outer_jacobian_strategy": strategy}
        found = function(lambda x: (x**3).sum(), inputs(T)[0], vectorize=True, **options)
        return found.detach()  # PyTorch's forward mode leaves a graph behind

    both(hessian)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", PAIR)
def test_vjp(name, create_graph):
    def call(T):
        x, y = inputs(T, True)
        v = {"one": y.detach(), "several": (y.detach(), T.tensor(2.0, dtype=T.float64))}
        v["unused"] = (x.detach(), 2 * x.detach())
        return T.autograd.functional.vjp(PAIR[name], (x, y), v[name], create_graph)

    both(call)


@pytest.mark.parametrize("product", ["jvp", "hvp", "vhp"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_products_with_vectors(product, create_graph):
    functions = PAIR if product == "jvp" else SCALAR
    for function in functions.values():
        both(
            lambda T, function=function: getattr(T.autograd.functional, product)(
                function, inputs(T, True), inputs(T), create_graph
            )
        )


def test_the_vector_may_be_left_out_for_one_element():
    both(lambda T: T.autograd.functional.vjp(lambda x: x.sum(), inputs(T)[0]))
    both(lambda T: T.autograd.functional.jvp(lambda x: x * inputs(T)[0], T.tensor([2.0]).double()))
    both(lambda T: T.autograd.functional.hvp(lambda x: x.sum() ** 3, T.tensor([2.0])))


def test_results_can_be_differentiated_once_more():
    def call(T):
        x, y = inputs(T, True)
        rows = T.autograd.functional.jacobian(PAIR["one"], (x, y), create_graph=True)
        _, product = T.autograd.functional.hvp(SCALAR["cubic"], (x, y), (x, y), create_graph=True)
        (sum(r.sum() for r in rows) + sum(p.sum() for p in product)).backward()
        return x.grad, y.grad

    both(call)


def test_the_inputs_are_left_alone():
    x, y = inputs(minitorch, True)
    minitorch.autograd.functional.hessian(SCALAR["cubic"], (x, y))
    assert x.grad is None and x.is_leaf and x._version == 0


CASES = {  # what PyTorch refuses
    "not a tensor": lambda F, x, y: F.jacobian(lambda x: x, (x, 3.0)),
    "output not a tensor": lambda F, x, y: F.vjp(lambda x: 3.0, x),
    "no v": lambda F, x, y: F.vjp(lambda x: x, x),
    "no v for jvp": lambda F, x, y: F.jvp(lambda x: x, x),
    "v too long": lambda F, x, y: F.vjp(lambda x: x, x, (x, x)),
    "v of another shape": lambda F, x, y: F.vjp(lambda x: x, x, y),
    "hessian of many": lambda F, x, y: F.hessian(lambda x: x, x),
    "hessian of a tuple": lambda F, x, y: F.hessian(lambda x: (x.sum(),), x),
    "hvp of many": lambda F, x, y: F.hvp(lambda x: x, x, x),
    "strict, detached": lambda F, x, y: F.jacobian(lambda x: x.detach(), x, strict=True),
    "strict, unused": lambda F, x, y: F.jacobian(lambda x, y: x, (x, y), strict=True),
    "strict vjp, unused": lambda F, x, y: F.vjp(lambda x, y: x, (x, y), x, strict=True),
    "strict jvp, unused": lambda F, x, y: F.jvp(lambda x, y: x, (x, y), (x, y), strict=True),
    "strict, linear": lambda F, x, y: F.hessian(lambda x: x.sum(), x, strict=True),
    "strict vhp, linear": lambda F, x, y: F.vhp(lambda x: x.sum(), x, x, strict=True),
    "strict hvp, linear": lambda F, x, y: F.hvp(lambda x: x.sum(), x, x, strict=True),
    "strict graph, linear": lambda F, x, y: F.jacobian(
        lambda x: 2 * x, x, create_graph=True, strict=True
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_errors(name):
    error = both(lambda T: CASES[name](T.autograd.functional, *inputs(T)))
    assert isinstance(error, (RuntimeError, TypeError))
    if "strict" in name:
        assert "strict mode" in str(error)


def test_no_elements():
    ours = minitorch.autograd.functional.jacobian(lambda x: x * 2, minitorch.zeros(0, 3))
    assert_alike(ours, torch.zeros(0, 3, 0, 3))
