import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minitorch import kernels
from minitorch.kernels.cpu import blocking

from .samples import array, close, dtypes, layouts, limit, seeds, sizes, tensor

CASES = {
    "sigmoid": (torch.sigmoid, ()),
    "silu": (F.silu, ()),
    "softplus": (F.softplus, ()),
    "softplus with options": (F.softplus, (2.0, 3.0)),
    "gelu": (F.gelu, ()),
    "gelu tanh": (lambda x, approximate: F.gelu(x, approximate=approximate), ("tanh",)),
}


@pytest.mark.parametrize("case", CASES)
@given(st.lists(st.integers(0, 4), max_size=3).map(tuple), dtypes, layouts, sizes, seeds)
def test_like_torch(case, shape, dtype, layout, block, seed):
    reference, options = CASES[case]
    name = case.split()[0]
    x = array(shape, dtype, layout, seed) * np.asarray(3, dtype)
    x = x.reshape(shape)
    grad = array(shape, dtype, layout, seed + 1)
    t = tensor(np.array(x), requires_grad=True)
    expected = reference(t, *options)
    expected.backward(tensor(grad))
    with limit(block, blocking, "BLOCK", 4):
        out = getattr(kernels, f"{name}_forward")(x, *options)
        saved = out if name == "sigmoid" else x
        dx = getattr(kernels, f"{name}_backward")(grad, saved, *options)
    close(out, expected)
    close(dx, t.grad, scale=3)


@pytest.mark.filterwarnings("error", r"ignore::RuntimeWarning:minitorch\..*")
@pytest.mark.parametrize("case", CASES)
def test_far_from_zero(case):
    reference, options = CASES[case]
    x = np.array([-np.inf, -1e30, -1000, -100, -20, 20, 100, 1000, 1e30, np.inf, np.nan])
    out = getattr(kernels, f"{case.split()[0]}_forward")(x, *options)
    np.testing.assert_allclose(out, reference(tensor(x), *options).numpy(), atol=1e-14)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 5e-7), ("float64", 5e-15)])
def test_the_stated_error_of_erf(dtype, error):
    x = np.linspace(-7, 7, 100_001).astype(dtype)
    exact = [math.erf(v) for v in x]
    np.testing.assert_allclose(kernels.erf(x), exact, rtol=0, atol=error)


def test_gelu_names_its_approximations():
    for function, x in ((kernels.gelu_forward, array((2,))), (F.gelu, torch.ones(2))):
        with pytest.raises(RuntimeError, match="approximate argument must be either none or tanh"):
            function(x, approximate="sin")
