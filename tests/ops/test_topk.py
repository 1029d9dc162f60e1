"""topk by searching for one extreme after the other, and where that cannot be done."""

import numpy as np
import pytest
import torch

import minitorch


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("extremes", [False, True])
def test_values_and_places(largest, dtype, extremes):
    rng = np.random.default_rng(0)
    for shape, dim in [((3, 400), 1), ((400, 3), 0), ((2, 300, 4), 1), ((500,), 0)]:
        array = (rng.random(shape) * 100).astype(dtype)
        if extremes and array.dtype.kind == "f":
            array.flat[::7], array.flat[::5] = np.nan, np.inf
            array.flat[::3] = -np.inf
        elif extremes:
            array[:] = np.iinfo(dtype).min if largest else np.iinfo(dtype).max
        for k in (1, 2, 30):
            values, indices = minitorch.tensor(array).topk(k, dim, largest)
            expected = torch.tensor(array).topk(k, dim, largest)[0].numpy()
            np.testing.assert_array_equal(values.numpy(), expected)
            found = np.take_along_axis(array, indices.numpy(), dim)
            np.testing.assert_array_equal(found, expected)
            assert (np.diff(np.sort(indices.numpy(), dim), axis=dim) > 0).all()  # none twice
