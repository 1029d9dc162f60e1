"""Reductions where PyTorch's samples do not go: large arrays, types, extremes of everything."""

import numpy as np
import pytest
import torch

import minitorch

from .harness import assert_all_same, assert_same, flat

LARGE = [(200_001,), (300, 1000), (40, 5000), (7, 5, 2000)]


def both(function, *arrays, tolerance=None):
    """function(T, tensors...) gives the same under either package."""
    results = []
    for T in (minitorch, torch):
        results.append(flat(function(T, *[T.tensor(a) for a in arrays])))
    assert_all_same(*results, "result", tolerance)


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("dim", [None, -1, 0])
@pytest.mark.parametrize("keepdim", [False, True])
def test_large_sums_are_exact(shape, dim, keepdim):
    """Large arrays are added up block by block: as exact as adding up in pairs."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 1
    wide, t = x.astype(np.float64), minitorch.tensor(x)
    expected = {
        "sum": wide.sum(dim, keepdims=keepdim),
        "mean": wide.mean(dim, keepdims=keepdim),
        "var": wide.var(dim, keepdims=keepdim, ddof=1),
        "norm": np.sqrt((wide * wide).sum(dim, keepdims=keepdim)),
    }
    for name, value in expected.items():
        options = {"dim": dim, "keepdim": keepdim}
        got = getattr(t, name)(**options).numpy()
        assert got.dtype == np.float32 and got.shape == value.shape, name
        rtol = 1e-5 if dim == 0 else 1e-6  # over the first dimension NumPy adds row to row
        np.testing.assert_allclose(got, value, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_in_a_large_sum(value):
    x = np.ones(50_000, np.float32)
    x[1234] = value
    both(lambda T, x: (x.sum(), x.mean(), x.norm(), x.amax(), x.amin()), x)


def test_large_sums_of_all_types_and_layouts():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (300, 400))
    for dtype in (np.bool_, np.uint8, np.int32, np.float16, np.float64):
        both(lambda T, x: (x.sum(), x.sum(0), x.sum(1, keepdim=True)), x.astype(dtype))
    both(lambda T, x: x[:, ::2].sum() + x.T.sum(0)[::3].sum(), x.astype(np.float64))


def test_halves_are_added_up_in_float32():
    x = np.full((4000, 3), 0.1)
    for dtype in ("float16", "bfloat16"):
        for name in ("sum", "mean", "var", "norm", "cumsum"):

            def reduced(T, x, name=name, dtype=dtype):
                x = x.to(getattr(T, dtype))
                return getattr(x, name)(dim=0).float()

            both(reduced, x, tolerance=(1e-2, 1e-6))


def test_types_of_results():
    x = np.array([[1, 2], [3, 0]], np.int32)
    both(lambda T, x: (x.sum(), x.prod(), x.cumsum(0), x.sum(dtype=T.int32)), x)
    both(lambda T, x: (x.sum(dtype=T.float16), x.mean(dtype=T.float32), x.sum(dtype=T.bool)), x)
    both(lambda T, x: (x > 1).sum(), x)
    both(lambda T, x: (x.to(T.uint8).all(), x.to(T.uint8).any(0), x.all(1)), x)
    both(lambda T, x: T.tensor([1.7, 2.7]).sum(dtype=T.int64), x)


@pytest.mark.parametrize("p", ["fro", 0.5, 1, 1.5, 2, 3, float("inf"), float("-inf")])
def test_gradients_of_norms_at_zero_are_those_of_pytorch(p):
    x = np.array([[0.0, 0, 0], [1, 0, -2], [2, -2, 1]])

    def gradient(T, x):
        x.requires_grad_()
        y = T.norm(x, p, dim=1)
        return T.autograd.grad(y, x, T.ones_like(y))[0]

    both(gradient, x)


def test_prod_with_zeros_to_the_second_derivative():
    for zeros in range(4):
        x = np.random.default_rng(zeros).standard_normal((2, 5))
        x[:, :zeros] = 0
        for dim in (None, 0, 1):

            def second(T, x, dim=dim):
                x.requires_grad_()
                y = (x.prod() if dim is None else x.prod(dim)).sum()
                (g,) = T.autograd.grad(y, x, create_graph=True)
                return g, T.autograd.grad((g * T.arange(10.0).reshape(2, 5)).sum(), x)[0]

            both(second, x)


def test_a_large_product_with_a_zero_has_a_gradient():
    x = np.ones(100_000)
    x[77] = 0

    def gradient(T, x):
        return T.autograd.grad(x.requires_grad_().prod(), x)[0]

    both(gradient, x)


def test_numpys_names_of_the_arguments():
    x = np.random.default_rng(0).standard_normal((3, 4))
    both(lambda T, x: tuple(x.max(axis=1, keepdims=True)), x)
    both(lambda T, x: (x.std(axis=0), x.sum(axis=(0, 1), keepdims=True)), x)


def test_named_results():
    x = minitorch.tensor([[1.0, 3.0], [2.0, 0.0]])
    for T in (minitorch, torch):
        x = T.tensor([[1.0, 3.0], [2.0, 0.0]])
        found = x.max(1)
        assert found.values.tolist() == [3, 2] and found.indices.tolist() == [1, 0]
        assert repr(found).startswith("torch.return_types.max(\nvalues=tensor([3., 2.]),\nindices=")
        assert T.aminmax(x).max.item() == 3 and T.sort(x, 0).values.tolist() == [[1, 0], [2, 3]]
        out = (T.zeros(2), T.zeros(2, dtype=T.int64))
        assert T.max(x, 1, out=out).values is not None and out[1].tolist() == [1, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.ones(3, dtype=T.int64).mean(),
        lambda T: T.ones(3, dtype=T.int64).var(),
        lambda T: T.norm(T.ones(3, dtype=T.int64)),
        lambda T: T.zeros(0).max(),
        lambda T: T.zeros(0, 3).max(0),
        lambda T: T.zeros(0).argmax(),
        lambda T: T.ones(2, 3).max((0, 1)),
        lambda T: T.max(2, T.ones(2)),
        lambda T: T.ones(2, 3).sum(2),
        lambda T: T.ones(2, 3).sum((0, 0)),
        lambda T: T.ones(2, 3).prod((0, 1)),
        lambda T: T.norm(T.zeros(0, 3), float("inf")),
        lambda T: T.nansum(T.ones(2, dtype=T.complex64)),
        lambda T: T.ones(2, dtype=T.bool).argmax(),
    ],
)
def test_errors_are_of_pytorchs_types(call):
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(expected.type):
        call(minitorch)


def test_ties_share_the_gradient_or_not():
    x = np.array([1.0, 3, 3, 0])

    def gradients(T, x):
        x.requires_grad_()
        results = [x.max(), x.amax(), x.max(0).values, x.median(), x.aminmax().max, x.norm(T.inf)]
        return [T.autograd.grad(r, x)[0] for r in results[:-1]]

    both(gradients, x)


def test_var_and_mean_of_complex_numbers():
    x = np.random.default_rng(0).standard_normal((3, 4)) * (1 + 2j)
    for name in ("var", "std", "mean", "sum", "prod", "norm"):
        assert_same(
            getattr(minitorch.tensor(x), name)(), getattr(torch.tensor(x), name)(), name, (1e-9, 0)
        )
