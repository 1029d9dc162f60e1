"""Taking tensors apart: pieces of a dimension, as views.

PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import operator

import numpy as np

from ..tensor import Tensor
from .declare import composite, view_op
from .dims import axis
from .errors import require
from .index import put_back
from .op import zeros


def _along(input, dim: int, part):
    """input[:, :, part], where `part` is an index of dimension `dim`, counted from the front."""
    return input[(slice(None),) * dim + (part,)]


def _dim_of(name: str, input, dim: int) -> int:
    require(input.ndim, "{} expects at least a 1-dimensional tensor", name)
    return axis(dim, input.ndim)


@view_op
def narrow(input, dim, start, length):
    """`length` elements of `dim` from `start` on, as a view. Mirrors torch.narrow.

    Raises IndexError or RuntimeError where these are not there.
    """
    dim, start = _dim_of("narrow()", input, dim), operator.index(start)
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


@composite(out=True)
def narrow_copy(input, dim, start, length):
    """`narrow`, as a copy. Mirrors torch.narrow_copy."""
    return narrow(input, dim, start, length).clone()


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


def _sections(extent: int, size_or_sections) -> list[int]:
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
        "dimension), but got split_sizes={}",
        *(extent, list(size)),
    )
    return list(size)


@view_op(many=True, aliases=("unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"))
def split(tensor, split_size_or_sections, dim=0):
    """Pieces along `dim` of one extent, or of a list of them, as views. Mirrors torch.split."""
    dim = _dim_of("split", tensor, dim)
    pieces, start = [], 0
    for n in _sections(tensor.shape[dim], split_size_or_sections):
        pieces.append(_along(tensor, dim, slice(start, start + n)))
        start += n
    return pieces


@split.joint_derivative("tensor")
def _split_backward(grads, wanted, tensor_shape, split_size_or_sections, dim):
    dim = axis(dim, len(tensor_shape))
    before, after = tensor_shape[:dim], tensor_shape[dim + 1 :]
    sections = _sections(tensor_shape[dim], split_size_or_sections)
    return [np.concatenate(_all_of(grads, [(*before, n, *after) for n in sections]), axis=dim)]


@composite(aliases=("unsafe_chunk",))
def chunk(input, chunks, dim=0):
    """At most `chunks` pieces of equal extent along `dim` (the last may be shorter), as views.

    Mirrors torch.chunk.
    """
    require(chunks > 0, "chunk expects `chunks` to be greater than 0, got: {}", chunks)
    size = -(-input.shape[_dim_of("chunk", input, dim)] // chunks)
    return split(input, size or [0] * chunks, dim)  # of nothing, as many as were asked for


@composite
def tensor_split(input, indices_or_sections, dim=0):
    """Pieces along `dim`: a number of them, as equal as can be, or cut before the given indices.

    Mirrors torch.tensor_split.
    """
    cuts, dim = indices_or_sections, _dim_of("tensor_split", input, dim)
    if isinstance(cuts, Tensor):
        fits = cuts.ndim < 2 and cuts.array.dtype == np.int64
        require(fits, "tensor_split expected a long tensor of zero or one dimensions")
        cuts = cuts.tolist()
    extent = input.shape[dim]
    if isinstance(cuts, int):
        require(cuts > 0, "number of sections must be larger than 0, got {}", cuts)
        size, rest = divmod(extent, cuts)
        cuts = [i * size + min(i, rest) for i in range(1, cuts)]
    bounds = zip([0, *cuts], [*cuts, extent], strict=True)
    return tuple([_along(input, dim, slice(i, j)) for i, j in bounds])
