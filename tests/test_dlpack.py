"""Memory handed to PyTorch and NumPy and taken from them by DLPack: shared, not copied."""

import numpy as np
import pytest
import torch

import minitorch
from minitorch.utils import dlpack

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64".split()
LAYOUTS = {
    "contiguous": lambda T, d: T.arange(12).reshape(3, 4).to(getattr(T, d)),
    "transposed": lambda T, d: T.arange(12).reshape(3, 4).to(getattr(T, d)).t(),
    "every second": lambda T, d: T.arange(12).to(getattr(T, d))[1::2],
    "0-d": lambda T, d: T.tensor(1).to(getattr(T, d)),
    "empty": lambda T, d: T.zeros(0, 3).to(getattr(T, d)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_ways(dtype, layout):
    for source, target in ((minitorch, torch), (torch, minitorch)):
        x = LAYOUTS[layout](source, dtype)
        y = target.from_dlpack(x)
        assert str(y.dtype) == str(x.dtype) and tuple(y.shape) == tuple(x.shape)
        assert y.tolist() == x.tolist()
        if x.numel():
            assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride()
            y.zero_()
            assert not x.any()
            x.fill_(1)
            assert y.all()


def test_the_memory_outlives_its_first_owner():
    for source, target in ((minitorch, torch), (torch, minitorch)):
        y = target.from_dlpack(source.arange(1000) * 2)
        assert y.sum().item() == 999000


def test_numpy():
    x = minitorch.arange(6.0)
    array = np.from_dlpack(x)
    array[0] = 7
    assert x[0] == 7
    y = minitorch.from_dlpack(array)
    y[1] = 8
    assert x[1] == 8
    z = minitorch.from_dlpack(array, copy=True)
    z[2] = 9
    assert x[2] == 2


def test_capsules():
    x = minitorch.arange(3.0)
    assert torch.utils.dlpack.from_dlpack(dlpack.to_dlpack(x)).tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="hand over the tensor itself"):
        dlpack.from_dlpack(dlpack.to_dlpack(x))


def test_what_requires_grad_is_not_handed_out(T):
    x = T.zeros(2, requires_grad=True)
    with pytest.raises(BufferError, match="use tensor.detach"):
        x.__dlpack__()
