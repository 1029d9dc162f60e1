"""Dimensions and shapes as users write them, brought to one form."""

from __future__ import annotations

import operator

import numpy as np


def axis(dim, ndim: int) -> int:
    """One dimension, counted from the front. A 0-d tensor has a dimension 0 that one may name."""
    limit = ndim or 1
    if -limit <= dim < limit:
        return dim % limit
    raise IndexError(
        f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got "
        f"{dim})"
    )


def axes(dim, ndim: int) -> tuple[int, ...]:
    """`dim` as a tuple of dimensions counted from the front; None and () mean all."""
    if type(dim) is int and -ndim <= dim < ndim:  # by far the most common
        return (dim % ndim,)
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    found = tuple([axis(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)])
    if len(set(found)) < len(found):
        raise RuntimeError(f"dim {dim} appears multiple times in the list of dims")
    return found[:ndim]


def spread(grad, shape, dim, keepdim: bool):
    """What was reduced over `dim` of `shape`, with those dimensions back in place, of extent 1."""
    if keepdim or not shape or dim is None:  # a 0-d one goes with every shape as it is
        return grad
    if type(dim) is int:
        dim %= len(shape)
        return grad.reshape((*shape[:dim], 1, *shape[dim + 1 :]))
    kept = set(range(len(shape))) - set(axes(dim, len(shape)))
    return np.reshape(grad, tuple(n if i in kept else 1 for i, n in enumerate(shape)))


def sizes(shape: tuple) -> tuple[int, ...]:
    """view(2, 3), view((2, 3)) and view(size) all as (2, 3)."""
    if len(shape) == 1 and not isinstance(shape[0], (int, np.integer, np.ndarray)):
        shape = shape[0]
    return tuple([operator.index(n) for n in shape])
