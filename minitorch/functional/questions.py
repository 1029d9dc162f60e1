"""What one asks of tensors and is answered in Python: a bool, a number, a dtype.

PyTorch: torch/_tensor.py, aten/src/ATen/native/TypeProperties.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes
from ..dispatch.declare import composite
from ..ops.choose import isclose
from ..tensor import Tensor

# These are written as methods; here they become functions as well.
composite(Tensor.numel, method=False)
composite(Tensor.is_floating_point, method=False)
composite(Tensor.is_complex, method=False, numpy=np.iscomplexobj)


@composite(method=False)
def is_tensor(obj) -> bool:
    """Whether `obj` is a Tensor. Mirrors torch.is_tensor."""
    return isinstance(obj, Tensor)


@composite
def is_nonzero(input) -> bool:
    """Whether the one element is not 0; RuntimeError for more or none. Mirrors torch.is_nonzero."""
    return bool(input)


@composite
@devices.on_its_device
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether `isclose` holds everywhere. Mirrors torch.allclose."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


@composite
@devices.on_its_device
def equal(input, other) -> bool:
    """Whether shapes and all elements are equal. Mirrors torch.equal."""
    if not devices.together(input.array, other.array):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{input.device} and {other.device}! (in equal)"
        )
    return bool(np.array_equal(input.array, other.array))


@composite
def is_conj(input) -> bool:
    """False: a conjugate is computed at once. Mirrors torch.is_conj."""
    return False


@composite(method=False)
def result_type(tensor1, tensor2) -> dtypes.dtype:
    """The dtype of an operation on these two, tensors or numbers. Mirrors torch.result_type."""
    both = (tensor1, tensor2)
    tensors = [(t.dtype, t.ndim) for t in both if isinstance(t, Tensor)]
    return dtypes.combine(tensors, [n for n in both if not isinstance(n, Tensor)])
