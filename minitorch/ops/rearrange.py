"""The same elements in another order, or several times: copies.

PyTorch: aten/src/ATen/native/TensorTransformations.cpp, Repeat.cpp.
"""

from __future__ import annotations

import numpy as np

from ..tensor import wrap
from .declare import composite, functions, op
from .dims import axes, axis, sizes
from .errors import require


@op(numpy=np.flip, alone=True)
def flip(input, *dims):
    """A copy with the order along `dims` reversed. Mirrors torch.flip."""
    dims = sizes(dims)
    dims = axes(dims, input.ndim) if dims else ()
    backwards = [slice(None, None, -1 if d in dims else 1) for d in range(input.ndim)]
    return input[(*backwards, ...)].copy(order="K")


flip.derivatives(input=lambda grad, dims: flip(grad, *dims))


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


@composite(numpy=np.tile)
def tile(input, *dims):
    """`repeat`, where leading dimensions of `dims` may be missing. Mirrors torch.tile."""
    dims = sizes(dims)
    return repeat(input, *[1] * (input.ndim - len(dims)), *dims)


@composite(numpy=np.repeat)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Every element, or slice along `dim`, `repeats` times in a row; a number or one for each.

    With one argument, how often each number from 0 on is to come. Mirrors torch.repeat_interleave.
    """
    if repeats is None:  # repeat_interleave(repeats)
        input, repeats = functions["arange"](len(input)), input
    if dim is None:
        input, dim = input.reshape(-1), 0
    extent = input.shape[axis(dim, input.ndim)] if input.ndim else 1
    counts = functions["as_tensor"](repeats).array
    require(
        counts.dtype.kind == "i" and counts.ndim < 2 and counts.size in (1, extent),
        "repeats must be a 0-dim or 1-dim integer tensor of size 1 or {}, got size {}",
        *(extent, counts.size),
    )
    require((counts >= 0).all(), "repeats can not be negative")
    places = np.repeat(np.arange(extent), counts)
    fits = output_size in (None, len(places))
    require(fits, "allocated size does not match required size: {} elements", len(places))
    return input.index_select(dim, wrap(places))
