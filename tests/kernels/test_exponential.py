"""exp, by exp2 where that is quicker."""

import numpy as np
import pytest

from minitorch.kernels.cpu import exponential


@pytest.mark.parametrize("quicker", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1.0, -0.5])
def test_is_exp(quicker, dtype, factor, monkeypatch):
    monkeypatch.setattr(exponential, "_exp2_is_quicker", lambda: quicker)
    x = np.linspace(-30, 30, 2 * exponential.FEW).astype(dtype)
    x[:3] = -np.inf, np.inf, np.nan
    expected = np.exp(x.astype(np.float64) * factor)
    out = np.empty_like(x)
    assert exponential.exp(x, out, factor) is out
    # A unit of |x| costs a bit more than the rounding of one float.
    np.testing.assert_allclose(out, expected, rtol=64 * np.finfo(dtype).eps)
    exponential.exp(x, x, factor)
    np.testing.assert_array_equal(x, out)


def test_says_which_is_quicker():
    assert exponential._exp2_is_quicker() in (True, False)
