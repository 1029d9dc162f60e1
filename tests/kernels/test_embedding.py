import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import embedding

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


@given(
    st.sampled_from([(), (0,), (7,), (3, 5)]),
    st.integers(0, 4),
    st.sampled_from([None, 0, 3]),
    dtypes,
    layouts,
    sizes,
    seeds,
)
def test_like_torch(shape, dim, padding_idx, dtype, layout, few, seed):
    indices = np.random.default_rng(seed).integers(0, 5, shape)
    table = torch.zeros(5, dim, dtype=getattr(torch, dtype), requires_grad=True)
    grad = array((*shape, dim), dtype, layout, seed)
    torch.nn.functional.embedding(tensor(indices), table, padding_idx).backward(tensor(grad))
    with limit(few, embedding, "FEW", 0):
        close(kernels.embedding_backward(grad, indices, 5, padding_idx), table.grad, scale=3)


@pytest.mark.parametrize(("rows", "dim"), [(50, 300), (50, 3), (5000, 30)])
def test_long_and_short_runs_equal_the_definition(rows, dim):
    indices = np.random.default_rng(0).integers(0, rows, 4000)
    grad = array((4000, dim), "float64")
    expected = np.zeros((rows, dim))
    np.add.at(expected, indices, grad)
    np.testing.assert_allclose(
        kernels.embedding_backward(grad, indices, rows), expected, atol=1e-12
    )
