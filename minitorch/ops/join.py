"""Putting tensors together: one after another, along a new dimension, or in all combinations.

PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import itertools

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap
from .declare import composite, op
from .dims import axis
from .errors import require
from .pieces import narrow, unbind
from .shape import atleast_1d, atleast_2d, atleast_3d


@op(method=False, numpy=np.concatenate, aliases=("concat", "concatenate"))
def cat(tensors, dim=0):
    """`tensors` one after the other along `dim`, promoted to one dtype. Mirrors torch.cat."""
    require(tensors, "torch.cat(): expected a non-empty list of Tensors", error=ValueError)
    common = dtypes.common_type(tensors)
    # PyTorch passes over 1-d tensors without elements, whatever the shape of the others.
    arrays = [a for a in tensors if a.shape != (0,)] or tensors[:1]
    require(
        all(a.ndim for a in arrays),
        "zero-dimensional tensor (at position 0) cannot be concatenated",
    )
    require(
        len({(*a.shape[: dim % a.ndim], *a.shape[dim % a.ndim + 1 :]) for a in arrays}) == 1,
        "Sizes of tensors must match except in dimension {}. Got shapes {}",
        *(dim, [list(a.shape) for a in arrays]),
    )
    return np.concatenate(arrays, axis(dim, arrays[0].ndim), dtype=common, casting="unsafe")


@cat.joint_derivative("tensors")
def _cat_backward(grad, wanted, tensors_shape, dim):
    grads, start = [], 0
    for shape, want in zip(tensors_shape, wanted, strict=True):
        extent = 0 if shape == (0,) else shape[dim]
        piece = narrow(grad, dim, start, extent) if want else None
        grads.append(np.reshape(piece, shape) if want and shape == (0,) else piece)
        start += extent
    return grads


@op(method=False, numpy=np.stack)
def stack(tensors, dim=0):
    """`tensors` of one shape along a new `dim`, promoted to one dtype. Mirrors torch.stack."""
    require(tensors, "stack expects a non-empty TensorList")
    first = tensors[0].shape
    for i, a in enumerate(tensors):
        require(
            a.shape == first,
            "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {}",
            *(list(first), list(a.shape), i),
        )
    common = dtypes.common_type(tensors)
    return np.stack(tensors, axis(dim, len(first) + 1), dtype=common, casting="unsafe")


@stack.joint_derivative("tensors")
def _stack_backward(grad, wanted, dim):
    return list(unbind(grad, dim))


def _stacking(names: str, meaning: str, widen, dim: int) -> None:
    """hstack and its kin: cat along `dim`, once all have the dimensions for it."""
    name, *aliases = names.split()

    def stacked(tensors):
        require(tensors, "{} expects a non-empty TensorList", name)
        wide = [widen(t) for t in tensors]
        return cat(wide, min(dim, wide[0].ndim - 1))

    stacked.__name__ = stacked.__qualname__ = name
    stacked.__doc__ = f"`tensors` {meaning}. Mirrors torch.{name}."
    composite(stacked, method=False, out=True, aliases=aliases)


_stacking("hstack", "side by side", atleast_1d, 1)
_stacking("vstack row_stack", "as rows, one below the other", atleast_2d, 0)
_stacking("dstack", "one behind the other", atleast_3d, 2)
_stacking("column_stack", "as columns", lambda t: t if t.ndim > 1 else t.reshape(-1, 1), 1)


def _listed(tensors) -> list:
    """f(a, b) and f([a, b]) both as a list."""
    return list(tensors if len(tensors) != 1 or isinstance(tensors[0], Tensor) else tensors[0])


@composite(method=False)
def block_diag(*tensors):
    """A matrix with the matrices `tensors` along its diagonal. Mirrors torch.block_diag."""
    blocks = [atleast_2d(t) for t in _listed(tensors)]
    width, left, rows = sum(b.shape[1] for b in blocks), 0, []
    for block in blocks:
        require(block.ndim == 2, "torch.block_diag: Input tensors must have 2 or fewer dimensions")
        n, m = block.shape
        rows.append(cat([block.new_zeros(n, left), block, block.new_zeros(n, width - left - m)], 1))
        left += m
    return cat(rows)


@composite(method=False)
def meshgrid(*tensors, indexing="ij"):
    """The coordinates of a grid: the vectors `tensors`, each expanded to all combinations.

    `indexing` "xy" swaps the first two dimensions. Mirrors torch.meshgrid.
    """
    tensors = _listed(tensors)
    known = indexing in ("ij", "xy")
    require(known, 'torch.meshgrid: indexing must be "xy" or "ij", but received: {}', indexing)
    require(tensors, "meshgrid expects a non-empty TensorList")
    vectors = all(t.ndim < 2 for t in tensors)
    require(vectors, "torch.meshgrid: Expected 0D or 1D tensor in the tensor list")
    same = len({t.dtype for t in tensors}) == 1
    require(same, "torch.meshgrid expects all tensors to have the same dtype")
    places = list(range(len(tensors)))  # which dimension is whose
    if indexing == "xy":
        places[:2] = places[1::-1] if len(places) > 1 else places
    shape = [tensors[i].numel() for i in places]
    return tuple(
        t.reshape([-1 if i == d else 1 for d in range(len(shape))]).expand(shape)
        for i, t in zip(places, tensors, strict=True)
    )


@composite(method=False)
def cartesian_prod(*tensors):
    """All combinations of an element of each vector, as rows. Mirrors torch.cartesian_prod."""
    tensors = _listed(tensors)
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
    return input[wrap(chosen)] if r else input.new_empty(0)
