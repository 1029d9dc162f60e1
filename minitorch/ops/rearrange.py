"""The same elements in another order, or several times: copies.

PyTorch: aten/src/ATen/native/TensorTransformations.cpp, Repeat.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import op
from ..dispatch.dims import axes, axis, sizes
from ..dispatch.errors import require


@op(numpy=np.flip, alone=True)
def flip(input, *dims):
    """A copy with the order along `dims` reversed. Mirrors torch.flip."""
    dims = sizes(dims)
    dims = axes(dims, input.ndim) if dims else ()
    backwards = [slice(None, None, -1 if d in dims else 1) for d in range(input.ndim)]
    return input[(*backwards, ...)].copy(order="K")


flip.derivatives(input=lambda grad, dims: flip(grad, *dims))


@op(numpy=np.roll, alone=True)
def roll(input, shifts, dims=()):
    """Elements moved by `shifts` along `dims`, round the end; without dims, as in one vector.

    Mirrors torch.roll.
    """
    shifts, dims = sizes((shifts,)), sizes((dims,))
    fits = shifts and (len(shifts) == len(dims) or (not dims and len(shifts) == 1))
    require(fits, "shifts and dimensions must align. shifts: {}, dims: {}", shifts, dims)
    require(input.ndim or not dims, "a tensor without dimensions has no dim", error=IndexError)
    if not dims:
        return roll(input.reshape(-1), shifts, 0).reshape(input.shape)
    for n, dim in zip(shifts, dims, strict=True):
        dim = axis(dim, input.ndim)
        before, start = (slice(None),) * dim, -n % max(input.shape[dim], 1)
        parts = [input[(*before, part)] for part in (slice(start, None), slice(start))]
        input = np.concatenate(parts, dim)
    return input


roll.derivatives(input=lambda grad, shifts, dims: roll(grad, [-n for n in sizes((shifts,))], dims))


@op(function=False)
def repeat(input, *repeats):
    """A copy repeated `repeats` times along each dimension. Mirrors torch.Tensor.repeat."""
    require(repeats, 'repeat() missing 1 required positional arguments: "repeats"', error=TypeError)
    repeats = sizes(repeats)
    enough = len(repeats) >= input.ndim
    require(enough, "Number of dimensions of repeat dims can not be smaller than that of tensor")
    require(min(repeats, default=0) >= 0, "Trying to create tensor with negative dimension")
    return np.tile(input, repeats)


def _repeat_by_input(grad, input_shape, repeats):
    repeats = sizes(repeats)
    shape = (1,) * (len(repeats) - len(input_shape)) + tuple(input_shape)
    pairs = [n for pair in zip(repeats, shape, strict=True) for n in pair]
    total = np.sum(np.reshape(grad, pairs), axis=tuple(range(0, len(pairs), 2)))
    return np.reshape(total, input_shape)


repeat.derivatives(input=_repeat_by_input)
