"""make_tensor: random tensors for tests. PyTorch: torch/testing/_creation.py.

Invariant: the same numbers as PyTorch's for the same seed.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from .. import devices, dtypes
from ..random import default_generator, randint_, uniform_
from ..tensor import Tensor, wrap


def make_tensor(
    *shape,
    dtype,
    device,
    low=None,
    high=None,
    requires_grad=False,
    noncontiguous=False,
    exclude_zero=False,
    memory_format=None,
) -> Tensor:
    """A tensor of random values from [low, high): by default from -9 to 9, booleans both.

    `noncontiguous`: every second element of a larger one. `exclude_zero`: zeros become ones, or the
    smallest normal float. `memory_format` changes nothing. Raises ValueError for an interval that
    is empty or not within the dtype. Mirrors torch.testing.make_tensor.
    """
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    floating = dtype.category >= dtypes.FLOATING
    if requires_grad and not floating:
        raise ValueError(
            "`requires_grad=True` is not supported for boolean and integral dtypes, but got "
            f"{dtype=}"
        )
    devices.check(device)
    low, high = _interval(low, high, dtype)
    gaps = noncontiguous and math.prod(shape) > 1
    array = np.empty((*shape[:-1], 2 * shape[-1]) if gaps else shape, dtype.numpy)
    if not floating:
        randint_(default_generator, array, low, high)
    else:
        parts = np.atleast_1d(array).view(array.real.dtype)
        if high - low >= float(dtypes.finfo(dtype).max):  # the difference itself is no such float
            uniform_(default_generator, parts, low / 2, high / 2)
            parts *= 2
        else:
            uniform_(default_generator, parts, low, high)
    if gaps:
        array = array[..., 1::2]
    if exclude_zero:
        array[array == 0] = dtypes.finfo(dtype).tiny if floating else 1
    tensor = wrap(array)
    tensor.requires_grad = requires_grad
    return tensor


def _interval(low, high, dtype: dtypes.dtype) -> tuple:
    """[low, high) within what `dtype` holds, with the defaults filled in."""
    lowest: float
    highest: float
    if dtype is dtypes.bool_:
        lowest, highest, usual = 0, 2, (0, 2)
    elif dtype.category == dtypes.INTEGER:
        whole = dtypes.iinfo(dtype)
        lowest, highest, usual = whole.min, whole.max + (dtype is not dtypes.int64), (-9, 10)
    else:
        limits = dtypes.finfo(dtype)
        lowest, highest, usual = limits.min, limits.max, (-9, 9)
    low, high = (usual[0] if low is None else low), (usual[1] if high is None else high)
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and dtype.category >= dtypes.FLOATING:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
            "deprecated since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < lowest or low >= highest:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} "
            f"only supports [{lowest}, {highest})"
        )
    low, high = max(low, lowest), min(high, highest)
    return (low, high) if dtype.category >= dtypes.FLOATING else (math.ceil(low), math.ceil(high))
