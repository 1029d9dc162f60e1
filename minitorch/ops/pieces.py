"""Taking tensors apart: pieces of a dimension, as views.

PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import operator

import numpy as np

from ..dispatch.declare import composite, view_op
from ..dispatch.dims import axis
from ..dispatch.errors import require
from ..dispatch.op import zeros
from .index import put_back


def _along(input, dim: int, part):
    """input[:, :, part], where `part` is an index of dimension `dim`, counted from the front."""
    return input[(slice(None),) * dim + (part,)]


def dim_of(name: str, input, dim: int) -> int:
    """`dim` counted from the front, in a tensor that has dimensions."""
    require(input.ndim, "{} expects at least a 1-dimensional tensor", name)
    return axis(dim, input.ndim)


@view_op
def narrow(input, dim, start, length):
    """`length` elements of `dim` from `start` on, as a view. Mirrors torch.narrow.

    Raises IndexError or RuntimeError where these are not there.
    """
    dim = dim_of("narrow()", input, dim)
    start = operator.index(start.get() if hasattr(start, "get") else start)  # from a GPU
    n = input.shape[dim]
    require(-n <= start <= n, "start {} is out of range for size {}", start, n, error=IndexError)
    start = start + n if start < 0 else start
    fits = 0 <= length <= n - start
    require(fits, "start ({}) + length ({}) exceeds dimension size ({}).", start, length, n)
    return _along(input, dim, slice(start, start + length))


narrow.derivatives(
    input=lambda grad, input_shape, dim, start, length: put_back(
        grad, input_shape, narrow.op, (dim, start, length)
    )
)


@composite
def select(input, dim, index):
    """Slice number `index` of `dim`, without that dimension, as a view. Mirrors torch.select."""
    require(input.ndim, "select() cannot be applied to a 0-dim tensor.", error=IndexError)
    return _along(input, axis(dim, input.ndim), operator.index(index))


@view_op(many=True, numpy=np.unstack)
def unbind(input, dim=0):
    """The slices along `dim`, without that dimension, as views. Mirrors torch.unbind."""
    dim = axis(dim, input.ndim)
    return [input[(slice(None),) * dim + (i, ...)] for i in range(input.shape[dim])]


@unbind.joint_derivative("input")
def _unbind_backward(grads, wanted, input_shape, dim):
    dim = axis(dim, len(input_shape))
    shape = tuple(input_shape[:dim]) + tuple(input_shape[dim + 1 :])
    return [np.stack(_all_of(grads, [shape] * len(grads)), axis=dim)]


def _all_of(grads: list, shapes) -> list:
    """`grads` with zeros in place of those that did not arrive."""
    known = next(g for g in grads if g is not None)
    return [zeros(shape, known) if g is None else g for g, shape in zip(grads, shapes, strict=True)]


def _sections(extent: int, size_or_sections, dim: int = 0) -> list[int]:
    """The extents of the pieces: equal ones of the given size, the last shorter; or as listed."""
    size = size_or_sections
    if isinstance(size, int):
        fits = size > 0 or (size == 0 and extent == 0)
        require(fits, "split expects split_size be non-negative, but got split_size={}", size)
        count = max(-(-extent // size), 1) if size else 1
        return [min(size, extent - i * size) for i in range(count)]
    require(
        sum(size) == extent,
        "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at "
        "dimension {}), but got split_sizes={}",
        *(extent, dim, list(size)),
    )
    return list(size)


@view_op(many=True, aliases=("unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"))
def split(tensor, split_size_or_sections, dim=0):
    """Pieces along `dim` of one extent, or of a list of them, as views. Mirrors torch.split."""
    dim = dim_of("split", tensor, dim)
    pieces, start = [], 0
    for n in _sections(tensor.shape[dim], split_size_or_sections, dim):
        pieces.append(_along(tensor, dim, slice(start, start + n)))
        start += n
    return pieces


@split.joint_derivative("tensor")
def _split_backward(grads, wanted, tensor_shape, split_size_or_sections, dim):
    dim = axis(dim, len(tensor_shape))
    before, after = tensor_shape[:dim], tensor_shape[dim + 1 :]
    sections = _sections(tensor_shape[dim], split_size_or_sections)
    return [np.concatenate(_all_of(grads, [(*before, n, *after) for n in sections]), axis=dim)]
