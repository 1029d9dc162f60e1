"""Pooling on the emulated GPU: pool.cu and im2col.cu against NumPy's kernels."""

import ml_dtypes
import numpy as np
import pytest

from minitorch import kernels

from .twins import agree, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]
# shape, kernel, stride, padding, dilation, ceil_mode
POOLINGS = [
    ((2, 3, 6, 6), (2, 2), None, 0, 1, False),
    ((2, 3, 7, 5), (3, 2), (2, 1), (1, 0), (1, 2), True),
    ((1, 2, 11), (3,), 2, 1, 1, True),
    ((1, 2, 8), (3,), 2, 1, 1, True),  # the last window goes beyond the padding
    ((2, 1, 4, 5, 3), (2, 3, 1), (2, 1, 1), (1, 1, 0), 1, False),
    ((0, 3, 6, 6), (2, 2), None, 0, 1, False),
    ((1, 1, 1, 1), (1, 1), None, 0, 1, False),
    ((3, 5, 19, 23), (3, 3), 1, 1, 1, False),  # several blocks
]


def draw(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", POOLINGS)
def test_max_pool(problem, dtype):
    shape, *options = problem
    x = draw(shape, dtype)
    out, indices = agree("max_pool_forward", x, *options)
    agree("max_pool_backward", draw(out.shape, dtype, 1), indices, shape)
    agree("max_pool_gather", x, indices)


@pytest.mark.parametrize("seed", range(4))
def test_max_pool_of_special_values_and_ties(seed):
    values = [-np.inf, np.nan, 0, 1, 1]
    x = np.random.default_rng(seed).choice(values, (2, 2, 9, 9), p=[0.4, 0.1, 0.2, 0.2, 0.1])
    agree("max_pool_forward", x.astype("f"), (3, 3), 2, 1, (1, 2), True)


def test_max_pool_of_integers():
    agree("max_pool_forward", np.random.default_rng(0).integers(-5, 5, (2, 3, 6, 6)), (3, 3), 2, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("problem", POOLINGS)
def test_avg_pool(problem, dtype, count_padding, divisor):
    shape, kernel, stride, padding, _, ceil_mode = problem
    options = kernel, stride, padding, ceil_mode, count_padding, divisor
    out = agree("avg_pool_forward", draw(shape, dtype), *options)
    agree("avg_pool_backward", draw(out.shape, dtype, 1), shape, *options)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 6), (9, 2)])
def test_adaptive_max_pool(size):
    agree("adaptive_max_pool", draw((2, 3, 7, 6)), size)


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("options", [(1, 0, 1), (2, (1, 0), 1), ((1, 2), (2, 1), (2, 1))])
def test_unfold_and_fold(options, dtype):
    x = (draw((2, 3, 7, 6)) * 8).astype(dtype)
    columns = agree("unfold", x, (2, 3), *options)
    agree("fold", columns, x.shape, (2, 3), *options)


def test_arrays_in_another_order():
    x = draw((6, 7, 3, 2)).T
    out, indices = agree("max_pool_forward", x, (2, 2))
    agree("max_pool_backward", draw(out.shape[::-1]).T, indices, x.shape)
    agree("avg_pool_forward", x, (2, 2))
    agree("unfold", x, (2, 2))


def test_impossible_sizes():
    with pytest.raises(RuntimeError, match="Output size is too small"):
        kernels.max_pool_forward(to_device(draw((1, 2, 5, 5))), (7, 7))


def test_unfold_and_fold_complex_numbers():
    x = (draw((2, 3, 6, 5)) + 1j * draw((2, 3, 6, 5), seed=1)).astype("D")
    columns = agree("unfold", x, (2, 3), 1, 1, 2)
    agree("fold", columns, x.shape, (2, 3), 1, 1, 2)
