import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import conv

from .samples import array, close, layouts, seeds, tensor


@st.composite
def convolutions(draw):
    """(x shape, weight shape, (stride, padding, dilation, groups)) in one to three dimensions."""
    dims = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    groups = draw(st.integers(1, 2))
    per_group, out = draw(st.integers(1, 3)), groups * draw(st.integers(1, 4))
    kernel, stride, padding, dilation = each(1, 3), each(1, 2), each(0, 2), each(1, 2)
    size = each(1, 7)
    for s, k, p, d in zip(size, kernel, padding, dilation, strict=True):
        assume(s + 2 * p >= d * (k - 1) + 1)
    x = (draw(st.integers(0, 3)), groups * per_group, *size)
    return x, (out, per_group, *kernel), (stride, padding, dilation, groups)


@given(
    convolutions(),
    st.sampled_from(["float32", "float64"]),
    layouts,
    st.sampled_from([conv.COLUMNS, 40]),
    st.booleans(),
    seeds,
)
def test_like_torch(problem, dtype, layout, block, with_bias, seed):
    x_shape, w_shape, options = problem
    x, weight, bias = (
        array(s, dtype, layout, seed + i) for i, s in enumerate((x_shape, w_shape, w_shape[:1]))
    )
    t, w, b = (tensor(a, requires_grad=True) for a in (x, weight, bias))
    function = (F.conv1d, F.conv2d, F.conv3d)[len(x_shape) - 3]
    expected = function(t, w, b if with_bias else None, *options)
    grad = array(expected.shape, dtype, layout, seed + 3)
    expected.backward(tensor(grad))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv, "COLUMNS", block)  # small: rows and channels go in blocks as well
        conv._cached_plan.cache_clear()
        out = kernels.conv_forward(x, weight, bias if with_bias else None, *options)
        dx = kernels.conv_backward_input(grad, weight, x_shape, *options)
        dw = kernels.conv_backward_weight(grad, x, w_shape, *options)
    conv._cached_plan.cache_clear()
    close(out, expected)
    close(dx, t.grad)
    close(dw, w.grad)


@given(convolutions(), seeds)
def test_the_three_functions_are_each_others_derivatives(problem, seed):
    """<g, forward(x, w)> = <backward_input(g, w), x> = <backward_weight(g, x), w>.

    The three are linear in each argument, so this says that each is the adjoint of the others:
    what the derivative of a derivative needs.
    """
    x_shape, w_shape, options = problem
    x, w = array(x_shape, "float64", seed=seed), array(w_shape, "float64", seed=seed + 1)
    out = kernels.conv_forward(x, w, None, *options)
    g = array(out.shape, "float64", seed=seed + 2)
    product = (g * out).sum()
    by_input = (kernels.conv_backward_input(g, w, x_shape, *options) * x).sum()
    by_weight = (kernels.conv_backward_weight(g, x, w_shape, *options) * w).sum()
    np.testing.assert_allclose([by_input, by_weight], product, rtol=1e-9, atol=1e-9)


def test_several_threads_and_blocks(two_threads):
    x, w, b = array((9, 16, 30, 30)), array((24, 16, 3, 3), seed=1), array((24,), seed=2)
    t, tw, tb = (tensor(a, requires_grad=True) for a in (x, w, b))
    expected = F.conv2d(t, tw, tb, padding=1)
    grad = array(expected.shape, seed=3)
    expected.backward(tensor(grad))
    close(kernels.conv_forward(x, w, b, padding=1), expected, scale=10)
    close(kernels.conv_backward_input(grad, w, x.shape, padding=1), t.grad, scale=10)
    close(kernels.conv_backward_weight(grad, x, w.shape, padding=1), tw.grad, scale=100)


def test_half_precision_accumulates_in_float32():
    x, w = array((2, 64, 8, 8), "float16"), array((8, 64, 3, 3), "float16", seed=1)
    exact = F.conv2d(tensor(x).float(), tensor(w).float())
    close(kernels.conv_forward(x, w), exact.half())
    grad = array(exact.shape, "float16", seed=2)
    for name, other, shape in (("input", w, x.shape), ("weight", x, w.shape)):
        got = getattr(kernels, f"conv_backward_{name}")(grad, other, shape)
        reference = getattr(torch.nn.grad, f"conv2d_{name}")
        arguments = (shape, tensor(other)) if name == "input" else (tensor(other), shape)
        arguments = [a.float() if isinstance(a, torch.Tensor) else a for a in arguments]
        close(got, reference(*arguments, tensor(grad).float()).half())


def test_a_kernel_larger_than_the_input():
    x, w = array((1, 1, 3, 3)), array((1, 1, 5, 5))
    message = r"Calculated padded input size per channel: \(3 x 3\). Kernel size: \(5 x 5\)."
    with pytest.raises(RuntimeError, match=message):
        kernels.conv_forward(x, w)
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(tensor(x), tensor(w))


def test_channels_that_do_not_match():
    x, w = array((1, 3, 8, 8)), array((6, 4, 3, 3))
    message = "to have 4 channels, but got 3 channels instead"
    with pytest.raises(RuntimeError, match=message):
        kernels.conv_forward(x, w)
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(tensor(x), tensor(w))
