"""Taking and putting along one dimension, by number, and by mask: made of gather and scatter.

The index_... functions are scatter with a vector of indices; take and put are gather and scatter in
a vector; select_scatter and its kin put a tensor where a view looks.
PyTorch: aten/src/ATen/native/TensorAdvancedIndexing.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import devices
from ..dispatch.declare import composite
from ..dispatch.dims import axis
from ..dispatch.errors import require
from ..dispatch.inplace import overwrite
from ..ops.diagonal import diagonal
from ..ops.index import index_put, nonzero
from ..ops.pieces import select
from ..ops.scatter import _scatter, gather, scatter_add, scatter_reduce
from ..tensor import wrap
from .shapes import broadcast_tensors

# By mask


@composite(out=True)
def masked_select(input, mask):
    """The elements where `mask` is True, as a vector. Mirrors torch.masked_select."""
    require(mask.array.dtype == bool, "masked_select: expected BoolTensor for mask")
    input, mask = broadcast_tensors(input, mask)
    return input[mask]


@composite(inplace=True)
@devices.on_its_device
def masked_scatter(input, mask, source):
    """`input` with the elements of `source`, in order, where `mask` is True.

    Mirrors torch.masked_scatter.
    """
    require(mask.array.dtype == bool, "masked_scatter_ only supports boolean masks")
    same = input.dtype is source.dtype
    require(same, "masked_scatter: expected self and source to have same dtypes")
    input, mask = broadcast_tensors(input, mask)
    count = int(np.count_nonzero(mask.array))
    enough = source.numel() >= count
    require(enough, "masked_scatter: expected {} elements in source at least", count)
    return index_put(input, (mask,), source.reshape(-1)[:count])


@composite(numpy=np.argwhere)
def argwhere(input):
    """`nonzero` as one matrix. Mirrors torch.argwhere."""
    return nonzero(input)


# A vector of indices along one dimension


def _beside(name: str, input, dim: int, index, shape):
    """The vector `index` in the form that scatter wants for a `src` of `shape`."""
    require(index.ndim < 2, "{}(): Index is supposed to be a vector", name, error=IndexError)
    dim, count = axis(dim, len(shape)), math.prod(index.shape)
    require(
        count == (shape[dim] if shape else 1),
        "{}(): Number of indices ({}) should be equal to source.size({}) of {}",
        *(name, count, dim, list(shape)),
        error=IndexError,
    )
    rests = [(*s[:dim], *s[dim + 1 :]) for s in (input.shape, shape)]
    require(rests[0] == rests[1], "{}(): source must have the slices of self, {}: {}", name, *rests)
    alone = tuple([-1 if d == dim else 1 for d in range(len(shape))])
    return np.broadcast_to(np.reshape(index, alone), tuple(shape))


@composite(inplace=True, out=True)
def index_add(input, dim, index, source, *, alpha=1):
    """`input` with alpha * source added to the slices that `index` names. Mirrors torch.index_add.

    Raises IndexError where `index` is no vector, or does not fit `source`.
    """
    source = source if alpha == 1 else source * alpha
    return scatter_add(input, dim, _beside("index_add", input, dim, index, source.shape), source)


@composite(inplace=True, out=True)
def index_copy(input, dim, index, source):
    """`input` with the slices that `index` names replaced by `source`. Mirrors torch.index_copy."""
    return _scatter(input, dim, _beside("index_copy", input, dim, index, source.shape), source)


@composite(inplace=True, out=True)
@devices.on_its_device
def index_fill(input, dim, index, value):
    """`input` with `value`, a number or 0-d tensor, in the slices that `index` names.

    Mirrors torch.index_fill.
    """
    require(not getattr(value, "ndim", 0), "index_fill_ only supports a 0-dimensional value tensor")
    shape, dim = list(input.shape), axis(dim, input.ndim)
    index = wrap(index.array % max(shape[dim], 1)) if shape else index * 0
    shape[dim : dim + 1] = [index.numel()] * (input.ndim > 0)
    return _scatter(input, dim, _beside("index_fill", input, dim, index, shape), value)


@composite(inplace=True, out=True)
def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """`scatter_reduce` of the slices of `source` ("prod", "mean", "amax" or "amin").

    Mirrors torch.index_reduce.
    """
    index = _beside("index_reduce", input, dim, index, source.shape)
    return scatter_reduce(input, dim, index, source, reduce, include_self=include_self)


# By number, as if the tensor were a vector


@devices.on_its_device
def _flat(index, name: str, size: int):
    """`index`, which may count from the end, as a vector of numbers of elements."""
    array = index.array.reshape(-1)
    require(array.dtype == np.int64, "{}(): Expected a long tensor for index", name)
    fits = not array.size or -size <= array.min() <= array.max() < size
    require(fits, "{}(): index out of range for {} elements", name, size, error=IndexError)
    return wrap(array % max(size, 1))


@composite(out=True)
def take(input, index):
    """Elements by their number, as if `input` were a vector. Mirrors torch.take."""
    numbers = _flat(index, "take", input.numel())
    return gather(input.reshape(-1), 0, numbers).reshape(index.shape)


@composite(inplace=True)
def put(input, index, source, accumulate=False):
    """`input` with `source` at the elements of these numbers (`accumulate`: added).

    Mirrors torch.put.
    """
    require(source.numel() == index.numel(), "put_(): expected as many sources as indices")
    numbers = _flat(index, "put_", input.numel())
    change = scatter_add if accumulate else _scatter
    return change(input.reshape(-1), 0, numbers, source.reshape(-1)).reshape(input.shape)


@composite(numpy=np.take_along_axis, out=True)
@devices.on_its_device
def take_along_dim(input, indices, dim=None):
    """Elements at `indices` along `dim`, both broadcast otherwise. Mirrors torch.take_along_dim."""
    require(indices.array.dtype == np.int64, "take_along_dim(): dtype of indices should be Long")
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    same = input.ndim == indices.ndim
    require(same, "take_along_dim(): input and indices should have the same number of dimensions")
    dim = axis(dim, input.ndim)
    indices = wrap(np.where(indices.array < 0, indices.array + input.shape[dim], indices.array))
    shapes = [(*t.shape[:dim], 1, *t.shape[dim + 1 :]) for t in (input, indices)]
    whole, index = list(np.broadcast_shapes(*shapes)), list(np.broadcast_shapes(*shapes))
    whole[dim], index[dim] = input.shape[dim], indices.shape[dim]
    return gather(input.expand(whole), dim, indices.expand(index))


# One view replaced


def _scattering(name: str, view) -> None:
    """`name`(input, src, ...): a copy of `input` in which view(input, ...) is `src`."""

    def scattered(input, src, *args, **kwargs):
        place = view(input.detach(), *args, **kwargs)
        fits = place.shape == src.shape
        require(fits, "expected src of the size of the slice, {}: {}", place.shape, src.shape)
        return overwrite(input, src.to(input.dtype), place._view[1])

    scattered.__name__ = scattered.__qualname__ = name
    scattered.__doc__ = (
        f"A copy of `input` in which that view of it is `src`. Mirrors torch.{name}."
    )
    composite(scattered, out=True)


def _slice(input, dim=0, start=None, end=None, step=1):
    return input[(slice(None),) * axis(dim, input.ndim) + (slice(start, end, step),)]


_scattering("diagonal_scatter", diagonal)
_scattering("select_scatter", select)
_scattering("slice_scatter", _slice)
