import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import group_norm as module

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


@given(
    st.sampled_from(
        [((2, 4), 2), ((3, 4, 5), 4), ((2, 6, 2, 3), 3), ((2, 3, 4), 1), ((0, 2, 3), 2)]
    ),
    dtypes,
    layouts,
    st.booleans(),
    sizes,
    seeds,
)
def test_like_torch(problem, dtype, layout, affine, block, seed):
    shape, groups = problem
    x, grad = array(shape, dtype, layout, seed), array(shape, dtype, layout, seed + 1)
    weight, bias = (array(shape[1:2], dtype, seed=seed + i) for i in (2, 3))
    parameters = (weight, bias) if affine else (None, None)
    t, w, b = (tensor(a, requires_grad=True) for a in (x, weight, bias))
    expected = torch.nn.functional.group_norm(t, groups, *((w, b) if affine else ()), eps=0.1)
    expected.backward(tensor(grad))
    with limit(block, module, "BLOCK", 6):
        out, mean, rstd = kernels.group_norm_forward(x, groups, *parameters, 0.1)
        dx, dw, db = kernels.group_norm_backward(grad, x, groups, parameters[0], mean, rstd)
    close(out, expected, scale=10)
    close(dx, t.grad, scale=20)
    if affine:
        close(dw, w.grad, scale=10)
        close(db, b.grad, scale=10)


def test_only_what_is_needed():
    x = array((3, 4, 5))
    _, mean, rstd = kernels.group_norm_forward(x, 2)
    for i in range(3):
        needs = [j == i for j in range(3)]
        gradients = kernels.group_norm_backward(x, x, 2, None, mean, rstd, needs)
        assert [g is not None for g in gradients] == needs


@pytest.mark.parametrize("shape", [(64, 8, 40, 40), (5000, 8, 4)])
def test_several_blocks_equal_the_definition(shape, two_threads):
    x, grad = array(shape, "float64"), array(shape, "float64", seed=1)
    weight = array(shape[1:2], "float64", seed=2)
    t, w = tensor(x, requires_grad=True), tensor(weight, requires_grad=True)
    expected = torch.nn.functional.group_norm(t, 4, w)
    expected.backward(tensor(grad))
    out, mean, rstd = kernels.group_norm_forward(x, 4, weight)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-11)
    dx, dw, _ = kernels.group_norm_backward(grad, x, 4, weight, mean, rstd)
    np.testing.assert_allclose(dx, t.grad.numpy(), atol=1e-10)
    np.testing.assert_allclose(dw, w.grad.numpy(), atol=1e-8)
