"""Other shapes, in words that say what for: flatten, movedim, broadcast_tensors.

All are made of reshape, view, permute and expand (ops/shape.py), and are views where these are.
PyTorch: aten/src/ATen/native/TensorShape.cpp, torch/functional.py.
"""

from __future__ import annotations

import math

import numpy as np

from ..dispatch.declare import composite
from ..dispatch.dims import axes, axis, sizes
from ..dispatch.errors import require
from ..ops.shape import expand, permute, reshape, view
from ..tensor import Size


@composite
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions `start_dim` to `end_dim` as one. Mirrors torch.flatten."""
    shape = input.shape or (1,)
    first, last = axis(start_dim, len(shape)), axis(end_dim, len(shape))
    require(first <= last, "flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last and input.ndim:
        return input
    return reshape(input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@composite
def unflatten(input, dim, sizes):
    """Dimension `dim` as several, of `sizes`; one may be -1. Mirrors torch.unflatten."""
    dim = axis(dim, input.ndim)
    try:
        parts = np.empty(input.shape[dim]).reshape(sizes).shape
    except (ValueError, IndexError):
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
            f"({input.shape[dim] if input.ndim else 1}) in the input tensor"
        ) from None
    return view(input, (*input.shape[:dim], *parts, *input.shape[dim + 1 :]))


@composite
def ravel(input):
    """All elements as a vector, in order. Mirrors torch.ravel."""
    return view(input.contiguous(), -1)


@composite(function=False)
def view_as(input, other):
    """`view` in the shape of `other`. Mirrors torch.Tensor.view_as."""
    return input.view(other.shape)


@composite(function=False)
def reshape_as(input, other):
    """`reshape` to the shape of `other`. Mirrors torch.Tensor.reshape_as."""
    return reshape(input, other.shape)


@composite(numpy=np.moveaxis, aliases=("moveaxis",))
def movedim(input, source, destination):
    """Dimensions `source` moved to the places `destination`. Mirrors torch.movedim."""
    source, destination = axes(source, input.ndim), axes(destination, input.ndim)
    same = len(source) == len(destination)
    require(same, "movedim: Invalid source or destination dims: {} and {}", source, destination)
    rest = [d for d in range(input.ndim) if d not in source]
    for to, d in sorted(zip(destination, source, strict=True)):
        rest.insert(to, d)
    return permute(input, rest)


@composite(function=False)
def expand_as(input, other):
    """`expand` to the shape of `other`. Mirrors torch.Tensor.expand_as."""
    return expand(input, other.shape)


@composite(method=False)
def broadcast_shapes(*shapes):
    """The shape that `shapes` broadcast to; RuntimeError if they do not. Mirrors
    torch.broadcast_shapes."""
    try:
        return Size(np.broadcast_shapes(*[sizes((s,)) for s in shapes]))
    except ValueError:
        raise RuntimeError(
            "Shape mismatch: objects cannot be broadcast to a single shape: "
            f"{', '.join(str(s) for s in shapes)}"
        ) from None


@composite(method=False)
def broadcast_tensors(*tensors):
    """All `tensors` expanded to their common shape. Mirrors torch.broadcast_tensors."""
    shape = broadcast_shapes(*[t.shape for t in tensors])
    return tuple([expand(t, shape) for t in tensors])


@composite(function=False)
def sum_to_size(input, *size):
    """The sum over what `expand` from `size` would have stretched. Mirrors Tensor.sum_to_size."""
    size = sizes(size)
    added = input.ndim - len(size)
    fits = added >= 0 and all(n in (1, m) for n, m in zip(size, input.shape[added:], strict=True))
    require(fits, "size {} is not expandable to size {}", size, input.shape)
    stretched = [d for d in range(input.ndim) if d < added or size[d - added] == 1]
    return input.sum(stretched, keepdim=True).reshape(size) if stretched or not size else input
