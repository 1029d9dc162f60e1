"""Putting tensors together: one after another, or along a new dimension.

PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..dispatch.declare import op
from ..dispatch.dims import axis
from ..dispatch.errors import Intended, require
from .pieces import narrow, unbind


def _require_list(name: str, tensors) -> None:
    require(
        isinstance(tensors, (list, tuple)),
        "{}(): argument 'tensors' (position 1) must be a list or tuple of Tensors, not one tensor",
        *(name,),
        error=TypeError,
    )


@op(method=False, numpy=np.concatenate, aliases=("concat", "concatenate"))
def cat(tensors, dim=0):
    """`tensors` one after the other along `dim`, promoted to one dtype. Mirrors torch.cat."""
    _require_list("cat", tensors)
    require(tensors, "torch.cat(): expected a non-empty list of Tensors", error=Intended)
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
    _require_list("stack", tensors)
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
