import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import pool

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


@st.composite
def poolings(draw):
    """(x shape, kernel_size, stride, padding, dilation, ceil_mode) that PyTorch accepts."""

    def pair(low, high):
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, dilation = pair(1, 3), pair(1, 3), pair(1, 2)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(
        draw(st.integers(max(d * (k - 1) + 1 - 2 * p, 1), 9))
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    outer = draw(st.sampled_from([(2, 3), (0, 2)]))
    return (*outer, *size), kernel, stride, padding, dilation, draw(st.booleans())


@given(poolings(), dtypes, layouts, st.booleans(), sizes, seeds)
def test_max_pool_like_torch(problem, dtype, layout, special, few, seed):
    shape, *options = problem
    x = array(shape, dtype, layout, seed)
    rng = np.random.default_rng(seed)
    if special:  # ties, and the values that compare oddly
        x[...] = rng.choice([-np.inf, np.nan, 0, 1, 1], shape, p=[0.4, 0.1, 0.2, 0.2, 0.1])
    t = tensor(x, requires_grad=True)
    expected, places = F.max_pool2d(t, *options, return_indices=True)
    with limit(few, pool, "FEW", 0):
        out, indices = kernels.max_pool_forward(x, *options)
    close(out, expected)
    close(indices, places, dtype)
    grad = array(out.shape, dtype, layout, seed + 1)
    expected.backward(tensor(grad))
    close(kernels.max_pool_backward(grad, indices, shape), t.grad)
    picked = kernels.max_pool_gather(x, indices)
    np.testing.assert_array_equal(picked, out)


@given(poolings(), dtypes, layouts, st.booleans(), st.sampled_from([None, 3]), seeds)
def test_avg_pool_like_torch(problem, dtype, layout, count_pad, divisor, seed):
    shape, kernel, stride, padding, _, ceil_mode = problem
    options = (kernel, stride, padding, ceil_mode, count_pad, divisor)
    x = array(shape, dtype, layout, seed)
    if any(s + 2 * p < k for s, p, k in zip(shape[-2:], padding, kernel, strict=True)):
        return
    t = tensor(x, requires_grad=True)
    expected = F.avg_pool2d(t, *options)
    grad = array(expected.shape, dtype, layout, seed + 1)
    expected.backward(tensor(grad))
    close(kernels.avg_pool_forward(x, *options), expected)
    close(kernels.avg_pool_backward(grad, shape, *options), t.grad, scale=3)


def test_max_pool_takes_the_last_of_several_nan():
    x = np.full((1, 1, 4, 4), np.nan, np.float32)
    x[..., 0, :] = 1
    expected, places = F.max_pool2d(tensor(x), 2, return_indices=True)
    out, indices = kernels.max_pool_forward(x, (2, 2))
    np.testing.assert_array_equal(out, expected.numpy())
    np.testing.assert_array_equal(indices, places.numpy())


def test_max_pool_of_integers():
    x = np.random.default_rng(0).integers(-5, 5, (2, 3, 6, 6))
    expected, places = F.max_pool2d(torch.from_numpy(x), 3, 2, 1, return_indices=True)
    out, indices = kernels.max_pool_forward(x, (3, 3), 2, 1)
    np.testing.assert_array_equal(out, expected.numpy())
    np.testing.assert_array_equal(indices, places.numpy())


def test_several_blocks_in_two_threads(two_threads):
    x = array((40, 20, 24, 24))
    expected, places = F.max_pool2d(tensor(x), 2, return_indices=True)
    out, indices = kernels.max_pool_forward(x, (2, 2))
    np.testing.assert_array_equal(out, expected.numpy())
    np.testing.assert_array_equal(indices, places.numpy())


def test_impossible_sizes():
    x = array((1, 2, 5, 5))
    for function, kernel, x_ in (
        (kernels.max_pool_forward, (7, 7), x),
        (F.max_pool2d, 7, tensor(x)),
    ):
        with pytest.raises(RuntimeError, match="Output size is too small"):
            function(x_, kernel)


@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 5, 6, 7)])
def test_one_and_three_dimensions(shape):
    n = len(shape) - 2
    max_pool, avg_pool = (getattr(F, f"{kind}_pool{n}d") for kind in ("max", "avg"))
    x = array(shape)
    expected, places = max_pool(tensor(x), 3, 2, 1, return_indices=True)
    out, indices = kernels.max_pool_forward(x, (3,) * n, 2, 1)
    close(out, expected)
    np.testing.assert_array_equal(indices, places.numpy())
    close(kernels.avg_pool_forward(x, (3,) * n, 2, 1), avg_pool(tensor(x), 3, 2, 1))


@pytest.mark.parametrize("options", [(1, 0, 1), (2, (1, 0), 1), ((1, 2), (2, 1), (2, 1))])
def test_unfold_and_fold_like_torch(options):
    stride, padding, dilation = options
    x = array((2, 3, 7, 6))
    t = tensor(x, requires_grad=True)
    expected = F.unfold(t, (2, 3), dilation, padding, stride)
    columns = kernels.unfold(x, (2, 3), stride, padding, dilation)
    close(columns, expected)
    grad = array(columns.shape, seed=1)
    expected.backward(tensor(grad))
    close(kernels.fold(grad, x.shape, (2, 3), stride, padding, dilation), t.grad)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 6), (9, 2)])
def test_adaptive_max_pool_like_torch(size):
    x = array((2, 3, 7, 6))
    expected, places = F.adaptive_max_pool2d(tensor(x), size, return_indices=True)
    out, indices = kernels.adaptive_max_pool(x, size)
    close(out, expected)
    np.testing.assert_array_equal(indices, places.numpy())
