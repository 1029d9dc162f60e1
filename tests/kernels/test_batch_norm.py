import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import batch_norm as module

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


@given(
    st.sampled_from([(2, 1), (5, 3), (3, 2, 4), (2, 3, 2, 5)]),
    dtypes,
    layouts,
    st.booleans(),
    st.booleans(),
    sizes,
    seeds,
)
def test_like_torch(shape, dtype, layout, affine, training, block, seed):
    x = array(shape, dtype, layout, seed)
    grad = array(shape, dtype, layout, seed + 1)
    channel = shape[1:2]
    weight, bias, mean = (array(channel, dtype, seed=seed + i) for i in (2, 3, 4))
    var = np.abs(array(channel, dtype, seed=seed + 5)) + np.asarray(0.5, dtype)
    parameters = (weight, bias) if affine else (None, None)
    t, w, b = (tensor(a, requires_grad=True) for a in (x, weight, bias))
    given = (None, None) if training else (mean, var)
    expected = torch.nn.functional.batch_norm(
        t,
        tensor(mean.copy()),
        tensor(var.copy()),
        *((w, b) if affine else ()),
        training=training,
        eps=0.1,
    )
    expected.backward(tensor(grad))
    with limit(block, module, "BLOCK", 6):
        out, m, v = kernels.batch_norm_forward(x, *parameters, *given, 0.1)
        dx, dw, db = kernels.batch_norm_backward(grad, x, parameters[0], m, v, 0.1, training)
    close(out, expected, scale=10)
    close(dx, t.grad, scale=20)
    if affine:
        close(dw, w.grad, scale=10)
        close(db, b.grad, scale=10)


def test_only_what_is_needed():
    x = array((3, 4, 5))
    _, mean, var = kernels.batch_norm_forward(x)
    for i in range(3):
        needs = [j == i for j in range(3)]
        gradients = kernels.batch_norm_backward(x, x, None, mean, var, 1e-5, True, needs)
        assert [g is not None for g in gradients] == needs


@pytest.mark.parametrize("shape", [(64, 40, 30, 30), (70_000, 3)])
def test_several_blocks_equal_the_definition(shape, two_threads):
    x, grad = array(shape, "float64"), array(shape, "float64", seed=1)
    t = tensor(x, requires_grad=True)
    expected = torch.nn.functional.batch_norm(t, None, None, training=True)
    expected.backward(tensor(grad))
    out, mean, var = kernels.batch_norm_forward(x)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-11)
    dx, _, _ = kernels.batch_norm_backward(grad, x, None, mean, var, 1e-5, True)
    np.testing.assert_allclose(dx, t.grad.numpy(), atol=1e-10)


def test_a_large_mean_does_not_cancel():
    x = (array((1000, 4)) + 1000).astype(np.float32)
    _, _, var = kernels.batch_norm_forward(x)
    np.testing.assert_allclose(var, x.astype(np.float64).var(0), rtol=1e-4)
