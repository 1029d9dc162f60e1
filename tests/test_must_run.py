"""What the project's origin shows PyTorch doing must run here and print the same.

Each function is what a user types, under either package; the printed words are compared.
"""

import warnings

import pytest


def printed(*things) -> str:
    return "\n".join(map(str, things))


def test_creation_arithmetic_printing(T):
    a = T.tensor([[1, 2, 3], [4, 5, 6]])
    b = T.tensor([[1, 2, 3], [4, 5, 6]])
    assert printed(a) == "tensor([[1, 2, 3],\n        [4, 5, 6]])"
    assert printed(a + b) == "tensor([[ 2,  4,  6],\n        [ 8, 10, 12]])"
    assert printed(a * b) == "tensor([[ 1,  4,  9],\n        [16, 25, 36]])"
    assert printed(a / b) == "tensor([[1., 1., 1.],\n        [1., 1., 1.]])"
    assert printed(a.shape, a.dtype) == "torch.Size([2, 3])\ntorch.int64"


def test_scalar_autograd(T):
    x = T.tensor(3.0, requires_grad=True)
    assert printed(x, x.grad) == "tensor(3., requires_grad=True)\nNone"
    y = x**2
    assert printed(y) == "tensor(9., grad_fn=<PowBackward0>)"
    y.backward()
    assert printed(x.grad) == "tensor(6.)"


def test_control_flow_makes_the_graph(T):
    """A different graph in each round, decided by the values."""

    def doubled_until_large(x):
        steps = 0
        while x.norm() < 100:
            x = x * 2 if x.sum() > 0 else x * -3
            steps += 1
        return x, steps

    for start, factor, rounds in ((1.0, 128, 7), (-1.0, -3 * 64, 7)):
        x = T.tensor([start, 0.0], requires_grad=True)
        y, steps = doubled_until_large(x)
        y.sum().backward()
        assert steps == rounds
        assert printed(x.grad) == printed(T.tensor([float(factor), float(factor)]))


def test_grad_fn_and_requires_grad(T):
    x = T.ones(2, 2, requires_grad=True)
    y = x + 2
    z = (y * y * 3).mean()
    assert printed(x.grad_fn, y) == (
        "None\ntensor([[3., 3.],\n        [3., 3.]], grad_fn=<AddBackward0>)"
    )
    assert printed(z) == "tensor(27., grad_fn=<MeanBackward0>)"
    z.backward(retain_graph=True)
    assert printed(x.grad) == "tensor([[4.5000, 4.5000],\n        [4.5000, 4.5000]])"
    z.backward()
    assert printed(x.grad) == "tensor([[9., 9.],\n        [9., 9.]])"
    with pytest.raises(
        RuntimeError,
        match="you can only change requires_grad flags of leaf variables. If you want to use a "
        "computed variable in a subgraph that doesn't require differentiation use var_no_grad = "
        r"var.detach\(\).",
    ):
        y.requires_grad = False
    a = T.ones(2)
    b = a * 2
    assert b.requires_grad is False
    b.requires_grad = True
    assert printed(b) == "tensor([2., 2.], requires_grad=True)"


def test_data(T):
    x = T.ones(1, requires_grad=True)
    assert printed(x.data, x.data.requires_grad) == "tensor([1.])\nFalse"
    y = 2 * x
    x.data *= 100
    y.backward()
    assert printed(x, x.grad) == "tensor([100.], requires_grad=True)\ntensor([2.])"


def test_dimensions(T):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scalar, vector = T.tensor(5), T.tensor([1.5, 2, 3])
        matrix = T.tensor([[1.0, 2.0], [3.0, 4.0]])
        cube = T.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert [t.dim() for t in (scalar, vector, matrix, cube)] == [0, 1, 2, 3]
    assert printed(scalar, vector, matrix, cube) == (
        "tensor(5)\ntensor([1.5000, 2.0000, 3.0000])\ntensor([[1., 2.],\n        [3., 4.]])\n"
        "tensor([[[1, 2],\n         [3, 4]],\n\n        [[5, 6],\n         [7, 8]]])"
    )
