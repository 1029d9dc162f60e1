"""All combinations: of coordinates, of elements, of powers; and places from their numbers.

PyTorch: torch/functional.py (meshgrid, cartesian_prod, unravel_index),
aten/src/ATen/native/Itertools.cpp.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..dispatch.declare import composite
from ..dispatch.dims import sizes
from ..dispatch.errors import require
from ..linalg.products import powers
from ..ops.join import stack
from ..tensor import wrap_beside
from .stacking import listed


@composite(method=False)
def meshgrid(*tensors, indexing="ij"):
    """The coordinates of a grid: the vectors `tensors`, each expanded to all combinations.

    `indexing` "xy" swaps the first two dimensions. Mirrors torch.meshgrid.
    """
    tensors = listed(tensors)
    known = indexing in ("ij", "xy")
    require(known, 'torch.meshgrid: indexing must be "xy" or "ij", but received: {}', indexing)
    require(tensors, "meshgrid expects a non-empty TensorList")
    vectors = all(t.ndim < 2 for t in tensors)
    require(vectors, "torch.meshgrid: Expected 0D or 1D tensor in the tensor list")
    same = len({t.dtype for t in tensors}) == 1
    require(same, "torch.meshgrid expects all tensors to have the same dtype")
    places = list(range(len(tensors)))  # which dimension is whose
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    shape = [tensors[i].numel() for i in places]
    return tuple(
        t.reshape([-1 if i == d else 1 for d in range(len(shape))]).expand(shape)
        for i, t in zip(places, tensors, strict=True)
    )


@composite(method=False)
def cartesian_prod(*tensors):
    """All combinations of an element of each vector, as rows. Mirrors torch.cartesian_prod."""
    tensors = listed(tensors)
    require(all(t.ndim == 1 for t in tensors), "Expect a 1D vector, but got another shape")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


@composite
def combinations(input, r=2, with_replacement=False):
    """All choices of `r` elements of a vector, as rows. Mirrors torch.combinations."""
    require(input.ndim == 1 and r >= 0, "Expect a 1D vector and r >= 0, got {} and {}", input, r)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = np.array(list(choose(range(len(input)), r)), np.int64).reshape(-1, r)
    return input[wrap_beside(chosen, input)] if r else input.new_empty(0)


@composite(method=False)
def vander(x, N=None, increasing=False):
    """The powers of each element of a vector, the highest first, as rows. Mirrors torch.vander."""
    require(x.ndim == 1, "x must be a one-dimensional tensor.")
    n = len(x) if N is None else N
    require(n >= 0, "N must be non-negative.")
    return powers(x, n) if increasing else powers(x, n).flip(1)


@composite(method=False)
def unravel_index(indices, shape):
    """The places in a tensor of `shape` of the elements with these numbers, a tensor for each
    dimension. Mirrors torch.unravel_index.
    """
    shape, kind = sizes((shape,)), indices.dtype
    integers = indices.array.dtype.kind in "iu"
    require(integers, "expected 'indices' to be integer dtype, but got {}", kind, error=TypeError)
    positive = min(shape, default=0) >= 0
    require(positive, "'shape' cannot have negative values, but got {}", shape, error=ValueError)
    rest, places = indices.long(), []
    for n in reversed(shape):
        places.append(rest % n)
        rest = rest // n
    return tuple(places[::-1])
