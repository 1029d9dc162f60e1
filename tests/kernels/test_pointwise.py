"""pointwise: the same values as one plain call, in pieces and by several threads."""

import importlib

import numpy as np
import pytest

import minitorch
from minitorch import kernels
from minitorch.kernels.cpu.blocking import rows_unbuffered

module = importlib.import_module("minitorch.kernels.cpu.pointwise")

N = 3 * module.PIECE + 17


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = kernels.get_num_threads()
    kernels.set_num_threads(request.param)
    yield request.param
    kernels.set_num_threads(before)


def make(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    "shapes",
    [
        [(N,), (N,)],
        [(1000, 900), (1000, 900)],
        [(1000, 900), (900,)],
        [(1000, 900), (1000, 1)],
        [(900,), (1000, 900)],
        [(1000, 1), (1, 900)],
        [(1, 900_000), (1, 900_000)],
        [(N,), ()],
    ],
    ids=str,
)
def test_values_are_those_of_the_function(shapes, threads, monkeypatch):
    monkeypatch.setattr(module, "IN_CACHE", 0)  # so that one thread takes pieces as well
    a, b = (make(shape, seed=i) for i, shape in enumerate(shapes))
    for function in (np.multiply, lambda x, y: np.where(x > y, x, y) * 2, np.less):
        got, expected = kernels.pointwise(function, a, b), function(a, b)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_transposed_and_strided_arrays(threads):
    a, b = make((900, 1000)).T, make((1000, 1800))[:, ::2]
    np.testing.assert_array_equal(kernels.pointwise(np.add, a, b), a + b)


def test_an_argument_handed_back_is_not_copied(threads, monkeypatch):
    monkeypatch.setattr(module, "IN_CACHE", 0)
    a, b = make(N), make(N, seed=1)
    assert kernels.pointwise(lambda x, y: y, a, b) is b


def test_the_work_is_split(threads, monkeypatch):
    monkeypatch.setattr(module, "IN_CACHE", 0)
    sizes = []
    kernels.pointwise(lambda x: sizes.append(x.size) or x + 1, make(N))
    assert sum(sizes) == N + 1  # and one element to see what comes of it
    assert max(sizes) <= module.PIECE


def test_an_error_in_a_piece_is_raised(threads):
    divisor = np.ones(N, np.int64)
    divisor[-1] = 0
    with pytest.raises(RuntimeError, match="ZeroDivision"):
        minitorch.from_numpy(divisor) // minitorch.from_numpy(divisor)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64"])
def test_large_tensors_agree_with_small_ones(kind, threads):
    """Values and gradients of a large tensor are those of its parts."""
    dtype = getattr(minitorch, kind)
    parts = [minitorch.tensor(make(30_000, seed=i) * 4).to(dtype) for i in range(9)]

    def f(x):
        return (x * 3 - x.clamp(-2, 2)).maximum(x) + minitorch.where(x > 0, x, x * x)

    whole = minitorch.cat(parts)
    if whole.is_floating_point():
        whole.requires_grad_()
        f(whole).sum().backward()
        for part in parts:
            f(part.requires_grad_()).sum().backward()
        assert minitorch.equal(whole.grad, minitorch.cat([part.grad for part in parts]))
    assert minitorch.equal(f(whole), minitorch.cat([f(part) for part in parts]))


def test_second_derivatives_of_large_tensors(threads):
    x = minitorch.tensor(make(module.LARGE), requires_grad=True)
    (slope,) = minitorch.autograd.grad((x * x * x).sum(), x, create_graph=True)
    (second,) = minitorch.autograd.grad(slope.sum(), x)
    np.testing.assert_allclose(second.numpy(), 6 * x.detach().numpy(), rtol=1e-6)


def test_rows_unbuffered_gives_the_buffer_back():
    before = np.setbufsize(8192)
    try:
        with rows_unbuffered(1000):
            assert np.getbufsize() == 512
        with rows_unbuffered(100):
            assert np.getbufsize() == 8192
        assert np.getbufsize() == 8192
    finally:
        np.setbufsize(before)
