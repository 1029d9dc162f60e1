"""What PyTorch's OpInfo samples do not reach in nn.functional, and how layers are made of it."""

import numpy as np
import pytest
import torch

import minitorch

from .both import assert_same, in_minitorch, nn_of

rng = np.random.default_rng(0)


def real(*shape):
    return torch.tensor(rng.normal(size=shape))


def compare(function, *inputs, rtol=1e-9):
    """function(F, T, *inputs) and its gradients for the floating inputs, under both packages."""
    outcomes = []
    for T in (minitorch, torch):
        args = [in_minitorch(x) if T is minitorch else x.clone() for x in inputs]
        leaves = [x.requires_grad_() for x in args if x.is_floating_point()]
        out = function(nn_of(T).functional, T, *args)
        grads = T.autograd.grad((out * out * out).sum(), leaves)
        outcomes.append([out, *grads])
    for got, expected in zip(*outcomes, strict=True):
        assert_same(got, expected, rtol=rtol, atol=1e-10)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 1, 4)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_affine_grid(size, align_corners):
    d = len(size) - 2
    compare(lambda F, T, x: F.affine_grid(x, size, align_corners), real(2, d, d + 1))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(3, 4), (11, 5), (20, 30)])
def test_antialiased_interpolation(mode, align_corners, size):
    def resize(F, T, x):
        return F.interpolate(x, size, mode=mode, align_corners=align_corners, antialias=True)

    compare(resize, real(2, 3, 11, 13), rtol=1e-6)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_lp_pool(norm_type):
    x = real(2, 3, 6, 7).abs()
    compare(lambda F, T, x: F.lp_pool2d(x, norm_type, (2, 3), ceil_mode=True), x)


def test_attention_shares_heads():
    def attend(F, T, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    compare(attend, real(2, 6, 3, 4), real(2, 2, 5, 4), real(2, 2, 5, 3))


def test_queries_that_may_see_nothing_get_zeros():
    def attend(F, T, q, k, v):
        mask = T.tensor([[True, False], [False, False], [True, True]])
        return F.scaled_dot_product_attention(q, k, v, mask)

    compare(attend, real(1, 3, 4), real(1, 2, 4), real(1, 2, 4))


def test_embedding_renormalises_its_table(T):
    F = nn_of(T).functional
    table = T.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
    rows = F.embedding(T.tensor([0, 1, 0]), table, max_norm=1.0)
    np.testing.assert_allclose(rows.tolist(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(table.tolist(), [[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]], rtol=1e-6)


def test_running_statistics_move_in_place(T):
    F = nn_of(T).functional
    x = T.arange(12.0).reshape(4, 3)
    mean, var = T.zeros(3), T.ones(3)
    before = mean._version
    F.batch_norm(x, mean, var, training=True, momentum=0.5)
    assert mean.tolist() == [2.25, 2.75, 3.25]
    assert var.tolist() == [8.0, 8.0, 8.0]
    assert mean._version == before


@pytest.mark.parametrize(
    ("mode", "widths", "shape", "error"),
    [
        ("reflect", (3, 0), (1, 2, 3), RuntimeError),
        ("circular", (4, 0), (1, 2, 3), RuntimeError),
        ("reflect", (1, 1), (3,), NotImplementedError),
        ("what", (1, 1), (1, 2, 3), NotImplementedError),
        ("constant", (1, 1, 1), (1, 2, 3), RuntimeError),
    ],
)
def test_padding_errors(T, mode, widths, shape, error):
    with pytest.raises(error):
        nn_of(T).functional.pad(T.ones(*shape), widths, mode)


def test_a_fixed_layer_reads_its_attributes_again(T):
    nn = nn_of(T)
    layer = nn.Threshold(0.5, value=-1.0)
    assert layer(T.tensor([0.0, 1.0])).tolist() == [-1.0, 1.0]
    layer.value = 7.0
    assert layer(T.tensor([0.0, 1.0])).tolist() == [7.0, 1.0]

    class Mine(nn.Threshold):
        def __init__(self):
            super().__init__(2.0, 3.0)

    assert Mine()(T.tensor([1.0])).tolist() == [3.0]
    assert repr(Mine()) == "Mine(threshold=2.0, value=3.0)"


@pytest.mark.parametrize("args, kwargs", [((), {}), ((1.0, 2.0, False, 4), {}), ((1,), {"x": 2})])
def test_wrong_arguments_of_a_fixed_layer(T, args, kwargs):
    with pytest.raises(TypeError):
        nn_of(T).Threshold(*args, **kwargs)


def test_the_attention_kernel_can_be_chosen(T):
    attention = __import__(f"{T.__name__}.nn.attention", fromlist=["x"])
    q = T.ones(1, 2, 3)
    with attention.sdpa_kernel([attention.SDPBackend.MATH]):
        nn_of(T).functional.scaled_dot_product_attention(q, q, q)
    with pytest.raises(AssertionError), attention.sdpa_kernel("MATH"):
        pass
