import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import cross_entropy

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor


@st.composite
def problems(draw):
    """(input, target, weight or None, ignore_index)"""
    shape = draw(st.sampled_from([(4,), (3, 4), (0, 4), (5, 2), (1, 1), (2, 3, 4), (2, 3, 2, 2)]))
    dtype, seed = draw(dtypes), draw(seeds)
    x = array(shape, dtype, draw(layouts), seed)
    classes = shape[1] if len(shape) > 1 else shape[0]
    target_shape = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    ignore = draw(st.sampled_from([-100, 0, -1]))
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, target_shape)
    target = np.where(rng.random(target_shape) < 0.3, ignore, target)
    weight = np.abs(array((classes,), dtype, seed=seed + 1)) + 1
    return x, target, draw(st.sampled_from([None, weight])), ignore


@given(problems(), st.sampled_from(["none", "mean", "sum"]), sizes, seeds)
def test_like_torch(problem, reduction, size, seed):
    x, target, weight, ignore = problem
    options = {"reduction": reduction, "ignore_index": ignore}
    for name in ("nll_loss", "cross_entropy"):
        t = tensor(x, requires_grad=True)
        w = None if weight is None else tensor(weight)
        # PyTorch has these for half precision too, but not for every shape: compare with float32.
        # And its nll_loss cannot differentiate images in some other order of memory.
        reference = (t.float() if x.dtype == np.float16 else t).contiguous()
        reference_w = w.float() if w is not None and x.dtype == np.float16 else w
        expected = getattr(F, name)(reference, tensor(target), reference_w, **options)
        expected = expected.to(t.dtype)
        grad = array(expected.shape, str(x.dtype), seed=seed)
        expected.backward(tensor(grad))

        with limit(size, cross_entropy, "GRAIN", 0):
            forward, backward = (getattr(kernels, f"{name}_{w}") for w in ("forward", "backward"))
            loss, *kept, total = forward(x, target, weight, **options)
            close(loss, expected)
            of_input = (x, *kept) if kept else (x.shape,)
            close(backward(grad, *of_input, target, weight, reduction, ignore, total), t.grad)


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("shape", [(700, 100), (3, 30000), (2, 50, 701)])
def test_many_logits(shape, offset):
    """Like a few, whose log-probabilities are kept, though it keeps two numbers a row."""
    x = array(shape) + np.float32(offset)
    target = np.random.default_rng(0).integers(0, shape[1], (shape[0], *shape[2:]))
    assert x.size > cross_entropy.GRAIN
    loss, kept, total = kernels.cross_entropy_forward(x, target)
    assert kept.shape == (2, *target.shape)
    t = tensor(x, requires_grad=True)
    expected = F.cross_entropy(t, tensor(target))
    expected.backward()
    close(loss, expected)
    problem = target, None, "mean", -100, total
    dx = kernels.cross_entropy_backward(np.ones((), x.dtype), x, kept, *problem)
    np.testing.assert_allclose(dx, t.grad, rtol=2e-5, atol=1e-6 / target.size)


@pytest.mark.filterwarnings("error", r"ignore::RuntimeWarning:minitorch\..*")
def test_all_ignored_is_nan_for_mean_and_zero_for_sum():
    x, target = array((2, 3)), np.full(2, -100)
    assert np.isnan(kernels.cross_entropy_forward(x, target)[0])
    assert kernels.cross_entropy_forward(x, target, reduction="sum")[0] == 0
    _, kept, total = kernels.cross_entropy_forward(x, target)
    grad = np.ones((), np.float32)
    dx = kernels.cross_entropy_backward(grad, x, kept, target, None, "mean", -100, total)
    t = tensor(x, requires_grad=True)
    F.cross_entropy(t, tensor(target)).backward()
    close(dx, t.grad)


@pytest.mark.parametrize("wrong", [10, -1])
def test_target_out_of_range(wrong):
    x, target = array((2, 10)), np.array([3, wrong])
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds."):
        kernels.nll_loss_forward(x, target)
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds."):
        F.nll_loss(tensor(x), tensor(target))
