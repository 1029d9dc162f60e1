"""Arrays to try kernels on, and the comparison with PyTorch."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 4e-3}
dtypes = st.sampled_from(list(TOLERANCE))
layouts = st.sampled_from(["contiguous", "transposed", "strided", "offset"])
sizes = st.sampled_from(["as it is", "small"])
seeds = st.integers(0, 2**32 - 1)


def array(shape, dtype="float32", layout="contiguous", seed=0):
    """Normal numbers, as an array of this shape that lies in memory as `layout` says."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    if layout == "transposed":
        return draw(*reversed(shape)).transpose()
    if layout == "strided" and shape:
        return draw(*shape[:-1], 2 * shape[-1])[..., ::2]
    if layout == "offset" and shape:
        return draw(shape[0] + 1, *shape[1:])[1:]
    return draw(*shape)


def tensor(array, requires_grad=False):
    """A PyTorch tensor of the same memory and layout."""
    t = torch.from_numpy(array)
    return t.requires_grad_() if requires_grad else t


def close(got, expected, dtype=None, scale=1.0):
    """Asserts equal shapes and types, and values within the tolerance of the type."""
    expected = expected.detach().numpy()
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    tolerance = TOLERANCE[str(dtype or got.dtype)] * scale
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@contextmanager
def limit(size, module, name, value):
    """Sets a module's limit to `value` where size is "small": so small arrays go the long way."""
    with pytest.MonkeyPatch.context() as patch:
        if size == "small":
            patch.setattr(module, name, value)
        yield
