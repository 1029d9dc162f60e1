"""Scans on long lines, with zeros, infinities and nan; differences and integrals."""

import numpy as np
import pytest
import torch

import minitorch

from .test_reduce import both

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    "shape, dim",
    [((100_000,), 0), ((3, 1000), 1), ((1000, 3), 0), ((2, 257, 4), 1), ((9, 999), -1)],
)
def test_long_running_sums_are_exact(shape, dim):
    """They are made block by block; every width that the blocks can have is here, and padding."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 0.5
    expected = np.cumsum(x.astype(np.float64), axis=dim)
    got = minitorch.tensor(x).cumsum(dim)
    assert got.is_contiguous() and got.dtype is minitorch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-6 * np.abs(expected).max())
    np.testing.assert_allclose(
        minitorch.tensor(x.astype(np.float64)).cumsum(dim).numpy(), expected, rtol=1e-12, atol=1e-9
    )


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_long_running_sums_of_what_is_not_finite(value):
    x = np.ones(5000)
    x[3001] = value
    both(lambda T, x: x.cumsum(0), x)


def second_derivatives(scan):
    def compute(T, x):
        x.requires_grad_()
        y = scan(T, x)
        weights = T.arange(float(y.numel()), dtype=y.dtype).reshape(y.shape)
        (g,) = T.autograd.grad((y * weights).sum(), x, create_graph=True)
        return y.detach(), g, T.autograd.grad((g * g).sum(), x)[0]

    return compute


@pytest.mark.parametrize("zeros", [[], [0], [3], [6], [2, 4], [0, 1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("dim", [0, 1])
def test_cumprod_with_zeros_to_the_second_derivative(zeros, dim):
    x = np.random.default_rng(0).standard_normal((7, 7))
    x[zeros] = 0
    x[:, zeros] = 0
    both(second_derivatives(lambda T, x: x.cumprod(dim)), x)


def test_a_long_cumprod_with_a_zero_has_a_gradient():
    x = np.ones(100_000)
    x[50_000] = 0

    def gradient(T, x):
        return T.autograd.grad(x.requires_grad_().cumprod(0).sum(), x)[0]

    both(gradient, x)


def test_logcumsumexp_to_the_second_derivative():
    x = np.random.default_rng(0).standard_normal((5, 6)) * 30
    for dim in (0, 1):
        both(second_derivatives(lambda T, x, dim=dim: x.logcumsumexp(dim)), x)
    both(lambda T, x: x.logcumsumexp(0), np.array([-INF, -INF, 2.0, 1000.0, 3.0, INF, 1.0]))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes_of_ties_and_nan(name):
    x = np.array([[1.0, 3, 3, 2, NAN, 5, NAN], [0, 0, -1, -1, INF, -INF, 0]])
    both(lambda T, x: tuple(getattr(x, name)(1)), x)
    both(lambda T, x: tuple(getattr(x, name)(0)), x)
    both(lambda T, x: tuple(getattr(T.tensor(2.5), name)(0)), x)

    def gradient(T, x):
        return T.autograd.grad(getattr(x.requires_grad_(), name)(0).values.sum(), x)[0]

    both(gradient, np.array([1.0, 3, 3, 2, 5, 0, 0, 4]))


def test_scans_in_place_and_of_no_dimensions():
    def scans(T, x):
        a, b = x.clone().cumsum_(1), x.clone().cumprod_(0)
        return a, b, T.tensor(3.0).cumsum(0), T.tensor(3.0).cumprod(-1), T.zeros(0).cumsum(0)

    both(scans, np.random.default_rng(0).standard_normal((3, 4)))


def test_differences_and_integrals():
    rng = np.random.default_rng(0)
    y, x = rng.standard_normal((4, 6)), np.sort(rng.standard_normal(6))
    both(lambda T, y, x: (T.diff(y, 2), T.diff(y, dim=0, prepend=y[:1]), T.diff(y > 0)), y, x)
    both(lambda T, y, x: (T.trapezoid(y, x), T.trapz(y, dx=0.5, dim=0)), y, x)
    both(lambda T, y, x: (T.cumulative_trapezoid(y, x), T.trapezoid(T.arange(5))), y, x)
    both(lambda T, y, x: T.gradient(y, spacing=(T.arange(4.0), x), dim=(0, 1))[1], y, x)
    both(lambda T, y, x: T.gradient(y, spacing=(x,), dim=1, edge_order=2), y, x)
    both(second_derivatives(lambda T, y: T.gradient(y * y, spacing=2.0, edge_order=2)[1]), y)


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.ones(3).cumsum(1),
        lambda T: T.tensor(1.0).diff(),
        lambda T: T.gradient(T.ones(1)),
        lambda T: T.gradient(T.ones(3), edge_order=3),
        lambda T: T.gradient(T.ones(3, 3), spacing=[1.0]),
        lambda T: T.ones(3).cummax(2),
    ],
)
def test_errors_are_of_pytorchs_types(call):
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(expected.type):
        call(minitorch)
