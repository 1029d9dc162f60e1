import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import blocking

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


def softmax(x, axis):
    """The definition."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@st.composite
def shape_and_axis(draw):
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    return tuple(shape), draw(st.integers(-max(len(shape), 1), max(len(shape), 1) - 1))


@given(shape_and_axis(), dtypes, layouts, layouts, sizes, seeds)
def test_like_torch(where, dtype, layout, grad_layout, block, seed):
    shape, axis = where
    x = array(shape, dtype, layout, seed)
    grad = array(shape, dtype, grad_layout, seed + 1)
    for name in ("softmax", "log_softmax"):
        t = tensor(x, requires_grad=True)
        expected = getattr(torch, name)(t, axis)
        expected.backward(tensor(grad))
        with limit(block, blocking, "BLOCK", 6):
            out = getattr(kernels, f"{name}_forward")(x, axis)
            dx = getattr(kernels, f"{name}_backward")(grad, out, axis)
        close(out, expected)
        close(dx, t.grad)


@pytest.mark.parametrize("shape", [(3, 70000), (900, 100), (40, 50, 60)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_several_blocks_equal_the_definition(shape, axis):
    x = array(shape, "float64")
    out = kernels.softmax_forward(x, axis)
    np.testing.assert_allclose(out, softmax(x, axis), rtol=1e-12)
    np.testing.assert_allclose(
        kernels.log_softmax_forward(x, axis), np.log(softmax(x, axis)), rtol=1e-10
    )
    grad = array(shape, "float64", seed=1)
    expected = out * (grad - (grad * out).sum(axis, keepdims=True))
    np.testing.assert_allclose(kernels.softmax_backward(grad, out, axis), expected, atol=1e-12)


@pytest.mark.filterwarnings("error", r"ignore::RuntimeWarning:minitorch\..*")
def test_infinities_and_nan():
    inf, nan = np.inf, np.nan
    rows = [[0, -inf, 1], [-inf] * 3, [inf, 0, 1], [nan, 0, 1], [1e38, -1e38, 0]]
    x = np.array(rows, np.float32)
    for name in ("softmax", "log_softmax"):
        expected = getattr(torch, name)(torch.from_numpy(x), -1)
        np.testing.assert_allclose(
            getattr(kernels, f"{name}_forward")(x, -1), expected.numpy(), rtol=1e-6
        )
