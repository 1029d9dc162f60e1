"""The same elements in another order, or several times: copies, made of flip, repeat and the like.

PyTorch: aten/src/ATen/native/TensorTransformations.cpp, Repeat.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..creation import arange, as_tensor
from ..dispatch.declare import composite
from ..dispatch.dims import axis, sizes
from ..dispatch.errors import require
from ..ops.rearrange import flip, repeat
from ..ops.sorting import sort
from ..tensor import wrap


@composite(numpy=np.flipud)
def flipud(input):
    """`flip` of the rows: a copy. Mirrors torch.flipud."""
    require(input.ndim > 0, "Input must be >= 1-d.")
    return flip(input, 0)


@composite(numpy=np.fliplr)
def fliplr(input):
    """`flip` of the columns: a copy. Mirrors torch.fliplr."""
    require(input.ndim > 1, "Input must be >= 2-d.")
    return flip(input, 1)


@composite(numpy=np.rot90)
def rot90(input, k=1, dims=(0, 1)):
    """`k` turns by 90 degrees from the first of `dims` to the second. Mirrors torch.rot90."""
    fits = len(dims) == 2 <= input.ndim
    require(fits, "expected 2 rotation dims and at least as many of the tensor, got {}", dims)
    a, b = [axis(d, input.ndim) for d in dims]
    require(a != b, "expected rotation dims to be different, but got {}", dims)
    if k % 4 == 2:
        return flip(input, a, b)
    if k % 4 == 0:
        return input.clone()
    return flip(input.transpose(a, b), a if k % 4 == 1 else b)


@composite(numpy=np.tile)
def tile(input, *dims):
    """`repeat`, where leading dimensions of `dims` may be missing. Mirrors torch.tile."""
    dims = sizes(dims)
    return repeat(input, [*[1] * (input.ndim - len(dims)), *dims])


@composite(numpy=np.repeat)
@devices.on_its_device
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Every element, or slice along `dim`, `repeats` times in a row; a number or one for each.

    With one argument, how often each number from 0 on is to come. Mirrors torch.repeat_interleave.
    """
    if repeats is None:  # repeat_interleave(repeats)
        input, repeats = arange(len(input), device=input.device), input
    if dim is None:
        input, dim = input.reshape(-1), 0
    extent = input.shape[axis(dim, input.ndim)] if input.ndim else 1
    counts = as_tensor(repeats, device=input.device).array
    require(
        counts.dtype.kind == "i" and counts.ndim < 2 and counts.size in (1, extent),
        "repeats must be a 0-dim or 1-dim integer tensor of size 1 or {}, got size {}",
        *(extent, counts.size),
    )
    require((counts >= 0).all(), "repeats can not be negative")
    places = np.repeat(np.arange(extent, like=counts), counts)
    fits = output_size in (None, len(places))
    require(fits, "allocated size does not match required size: {} elements", len(places))
    return input.index_select(dim, wrap(places))


@composite(out=True)
def msort(input):
    """In order along the first dimension. Mirrors torch.msort."""
    return sort(input, 0).values
