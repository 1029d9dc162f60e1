import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import layer_norm as module

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


def layer_norm(x, weight, bias, eps):
    """The definition, over the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@given(
    st.sampled_from([(0,), (2,), (3, 2), (0, 3), (2, 0, 3)]),
    st.sampled_from([(1,), (5,), (2, 4)]),
    dtypes,
    layouts,
    st.booleans(),
    sizes,
    seeds,
)
def test_like_torch(outer, inner, dtype, layout, affine, block, seed):
    # PyTorch computes half precision in float32 but rounds its statistics; so do we in float32.
    x = array((*outer, *inner), dtype, layout, seed)
    grad = array(x.shape, dtype, layout, seed + 1)
    weight, bias = (array(inner, dtype, seed=seed + i) for i in (2, 3))
    t, w, b = (tensor(a, requires_grad=True) for a in (x, weight, bias))
    expected = torch.nn.functional.layer_norm(t, inner, *((w, b) if affine else ()))
    expected.backward(tensor(grad))
    parameters = (weight, bias) if affine else (None, None)
    with limit(block, module, "BLOCK", 6):
        out, mean, rstd = kernels.layer_norm_forward(x, inner, *parameters)
        dx, dw, db = kernels.layer_norm_backward(grad, x, mean, rstd, parameters[0])
    # Rows of one entry have the variance 0, and rstd = 316 magnifies every rounding error.
    close(out, expected, scale=10)
    close(dx, t.grad, scale=1000 if inner == (1,) else 50)
    if affine:
        close(dw, w.grad, scale=10)
        close(db, b.grad, scale=10)


def test_only_what_is_needed():
    x, weight = array((3, 4)), array((4,))
    _, mean, rstd = kernels.layer_norm_forward(x, (4,), weight, None)
    for i in range(3):
        needs = [j == i for j in range(3)]
        gradients = kernels.layer_norm_backward(x, x, mean, rstd, weight, needs)
        assert [g is not None for g in gradients] == needs


@pytest.mark.parametrize("shape", [(300, 1000), (5000, 64)])
def test_several_blocks_equal_the_definition(shape):
    x, grad = array(shape, "float64"), array(shape, "float64", seed=1)
    weight, bias = (array(shape[1:], "float64", seed=i) for i in (2, 3))
    out, mean, rstd = kernels.layer_norm_forward(x, shape[1:], weight, bias, 1e-5)
    np.testing.assert_allclose(out, layer_norm(x, weight, bias, 1e-5), atol=1e-12)
    dx, dw, db = kernels.layer_norm_backward(grad, x, mean, rstd, weight)
    xhat, g = (x - mean) * rstd, grad * weight
    expected = rstd * (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True))
    np.testing.assert_allclose(dx, expected, atol=1e-12)
    np.testing.assert_allclose(dw, (grad * xhat).sum(0), atol=1e-10)
    np.testing.assert_allclose(db, grad.sum(0), atol=1e-10)


def test_a_large_mean_does_not_cancel():
    x = (array((4, 1000)) + 1000).astype(np.float32)
    out, _, _ = kernels.layer_norm_forward(x, (1000,))
    expected = layer_norm(x.astype(np.float64), 1, 0, 1e-5)
    np.testing.assert_allclose(out, expected, atol=2e-4)
