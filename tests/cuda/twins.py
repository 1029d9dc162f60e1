"""A kernel on the GPU (an emulated one, mostly), held against its twin in NumPy."""

import numpy as np

from minitorch import kernels
from minitorch.cuda import runtime

TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2}


def to_device(value):
    """NumPy arrays, within lists too, as device arrays; anything else as it is."""
    if isinstance(value, np.ndarray):
        array = runtime.library().asarray(np.array(value, order="C"))
        return array if value.flags.c_contiguous else array.T.copy().T  # another order on the GPU
    return [to_device(v) for v in value] if isinstance(value, list) else value


def close(got, expected, scale=1.0):
    """Asserts that a device array (or each of several) is what the array on the CPU is."""
    if isinstance(expected, (tuple, list)):
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            close(g, e, scale)
    elif expected is None:
        assert got is None
    else:
        assert isinstance(got, runtime.library().ndarray)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        got, tolerance = got.get(), scale * TOLERANCE.get(expected.dtype.name, 0)
        if tolerance:  # NumPy's comparison knows no bfloat16
            got, expected = got.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def agree(name, *args, scale=1.0, **options):
    """Runs the kernel on both devices, asserts equal results, returns those of the CPU."""
    expected = getattr(kernels, name)(*args, **options)
    got = getattr(kernels, name)(*map(to_device, args), **options)
    close(got, expected, scale)
    return expected
