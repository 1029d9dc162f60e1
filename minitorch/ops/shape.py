"""Operations that only rearrange: the same elements under other indices, most without a copy.

The ops marked @view_op share their argument's memory, as NumPy's views do. Their derivatives put
the gradient's elements back where they came from.
PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..tensor import wrap
from .declare import composite, functions, op, view_op
from .dims import axes, sizes
from .index import unindex
from .op import zeros


def _misfit(input, shape) -> RuntimeError:
    """PyTorch's words for the elements of `input` not filling `shape`."""
    shape = sizes(shape)
    known = 1
    for n in shape:
        known *= n if n != -1 else 1
    if shape.count(-1) > 1:
        return RuntimeError("only one dimension can be inferred")
    if any(n < -1 for n in shape):
        return RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 in shape and not known:
        return RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
            "dimension size -1 can be any value and is ambiguous"
        )
    if input.size % known if -1 in shape else input.size != known:
        return RuntimeError(f"shape '{list(shape)}' is invalid for input of size {input.size}")
    return RuntimeError(
        "view size is not compatible with input tensor's size and stride (at least one dimension "
        "spans across two contiguous subspaces). Use .reshape(...) instead."
    )


@view_op(numpy=np.reshape)
def reshape(input, *shape):
    """The same elements in another shape, -1 for one extent to be found; a view where possible.

    Raises RuntimeError if the elements do not fill the shape. Mirrors torch.reshape.
    """
    try:
        return input.reshape(*shape)
    except ValueError:
        raise _misfit(input, shape) from None


@view_op(function=False, method=False)
def _view(input, *shape):
    try:
        return input.reshape(*shape, copy=False)
    except ValueError:
        raise _misfit(input, shape) from None


for reshaping in (reshape, _view):
    reshaping.derivatives(input=lambda grad, input_shape: np.reshape(grad, input_shape))


@composite(function=False)
def view(input, *shape, dtype=None):
    """The same memory in another shape, or its bits as another dtype: view(dtype).

    Raises RuntimeError where that would take a copy. Bits have no gradient. Mirrors
    torch.Tensor.view.
    """
    if dtype is None and type(shape[0]) is not dtypes.dtype:
        return _view(input, *shape)
    dtype = dtype or shape[0]
    try:
        result = wrap(input.array.view(dtype.numpy))
    except ValueError as error:
        raise RuntimeError(f"cannot view {input.dtype} as {dtype}: {error}") from None
    result._storage = input._storage
    return result


@composite
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions `start_dim` to `end_dim` as one. Mirrors torch.flatten."""
    if input.ndim == 0:
        return reshape(input, 1)
    first, last = axes(start_dim, input.ndim)[0], axes(end_dim, input.ndim)[0]
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    return reshape(input, (*shape[:first], shape[first : last + 1].numel(), *shape[last + 1 :]))


@composite
def unflatten(input, dim, sizes):
    """Dimension `dim` as several, of `sizes`. Mirrors torch.unflatten."""
    dim = axes(dim, input.ndim)[0]
    return reshape(input, (*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


@composite(function=False)
def view_as(input, other):
    """`view` in the shape of `other`. Mirrors torch.Tensor.view_as."""
    return input.view(other.shape)


@composite(function=False)
def reshape_as(input, other):
    """`reshape` to the shape of `other`. Mirrors torch.Tensor.reshape_as."""
    return reshape(input, other.shape)


# Order of dimensions


@view_op
def transpose(input, dim0, dim1):
    """Dimensions `dim0` and `dim1` swapped, as a view. Mirrors torch.transpose."""
    if input.ndim == 0:
        axes(dim0, 0), axes(dim1, 0)  # only 0 and -1 will do
        return input[...]
    return input.swapaxes(dim0, dim1)


transpose.derivatives(input=lambda grad, dim0, dim1: transpose(grad, dim0, dim1))


@view_op
def permute(input, *dims):
    """The dimensions in the order `dims`, as a view. Mirrors torch.permute."""
    dims = sizes(dims)
    if len(dims) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(dims)}"
        )
    return input.transpose(dims)


permute.derivatives(
    input=lambda grad, dims: permute(grad, *np.argsort([d % len(grad.shape) for d in sizes(dims)]))
)


@composite
def movedim(input, source, destination):
    """Dimensions `source` moved to the places `destination`. Mirrors torch.movedim."""
    source, destination = axes(source, input.ndim), axes(destination, input.ndim)
    rest = [d for d in range(input.ndim) if d not in source]
    for to, d in sorted(zip(destination, source, strict=True)):
        rest.insert(to, d)
    return permute(input, rest)


@composite
def swapdims(input, dim0, dim1):
    """Another name of `transpose`. Mirrors torch.swapdims."""
    return transpose(input, dim0, dim1)


@composite(numpy=np.swapaxes)
def swapaxes(input, axis0, axis1):
    """Another name of `transpose`. Mirrors torch.swapaxes."""
    return transpose(input, axis0, axis1)


@composite
def t(input):
    """The transpose of a matrix; a vector stays itself. Mirrors torch.t."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, -1)


# Dimensions of extent 1, and stretched ones


@view_op(numpy=np.expand_dims)
def unsqueeze(input, dim):
    """A dimension of extent 1 put in before `dim`, as a view. Mirrors torch.unsqueeze."""
    limit = input.ndim + 1
    if not -limit <= dim < limit:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got "
            f"{dim})"
        )
    return input[(slice(None),) * (dim % limit) + (None,)]


unsqueeze.derivatives(input=lambda grad, input_shape: np.reshape(grad, input_shape))


@view_op(numpy=np.squeeze)
def squeeze(input, dim=None):
    """Without the dimensions of extent 1 (those in `dim`), as a view. Mirrors torch.squeeze."""
    dims = [d for d in axes(dim, input.ndim) if input.shape[d] == 1] if dim != () else []
    return input.squeeze(tuple(dims))


squeeze.derivatives(input=lambda grad, input_shape: np.reshape(grad, input_shape))


@view_op(function=False)
def expand(input, *shape):
    """Stretched to `shape` without a copy; -1 keeps an extent. Mirrors torch.Tensor.expand."""
    shape = sizes(shape)
    added = len(shape) - input.ndim
    if added < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({input.ndim})"
        )
    full = tuple(
        input.shape[i - added] if n == -1 and i >= added else n for i, n in enumerate(shape)
    )
    try:
        out = np.broadcast_to(input, full)
    except ValueError:
        pairs = zip(full[added:], input.shape, strict=True)
        i, n, m = next((i, n, m) for i, (n, m) in enumerate(pairs) if m not in (n, 1))
        raise RuntimeError(
            f"The expanded size of the tensor ({n}) must match the existing size ({m}) at "
            f"non-singleton dimension {i + added}.  Target sizes: {list(shape)}.  Tensor sizes: "
            f"{list(input.shape)}"
        ) from None
    out.flags.writeable = input.flags.writeable  # where nothing was stretched, it can be changed
    return out


expand.derivatives(input=lambda grad: grad)  # the engine sums over what was stretched


@composite(numpy=np.broadcast_to)
def broadcast_to(input, shape):
    """Another name of `expand`. Mirrors torch.broadcast_to."""
    return expand(input, tuple(shape))


@composite(function=False)
def expand_as(input, other):
    """`expand` to the shape of `other`. Mirrors torch.Tensor.expand_as."""
    return expand(input, other.shape)


@composite(method=False)
def broadcast_tensors(*tensors):
    """All `tensors` expanded to their common shape. Mirrors torch.broadcast_tensors."""
    shape = np.broadcast_shapes(*[tuple(t.shape) for t in tensors])
    return tuple(expand(t, shape) for t in tensors)


@op(function=False)
def repeat(input, *repeats):
    """A copy repeated `repeats` times along each dimension. Mirrors torch.Tensor.repeat."""
    return np.tile(input, sizes(repeats))


def _repeat_by_input(grad, input_shape, repeats):
    repeats = sizes(repeats)
    shape = (1,) * (len(repeats) - len(input_shape)) + tuple(input_shape)
    pairs = [n for pair in zip(repeats, shape, strict=True) for n in pair]
    total = np.sum(np.reshape(grad, pairs), axis=tuple(range(0, len(pairs), 2)))
    return np.reshape(total, input_shape)


repeat.derivatives(input=_repeat_by_input)


# Putting together and taking apart


@op(method=False, numpy=np.concatenate)
def cat(tensors, dim=0):
    """`tensors` one after the other along `dim`, promoted to one dtype. Mirrors torch.cat."""
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    common = dtypes.common_type(tensors)
    # PyTorch passes over 1-d tensors without elements, whatever the shape of the others.
    arrays = [a for a in tensors if a.shape != (0,)] or tensors[:1]
    shapes = {a.shape[: dim % a.ndim] + a.shape[dim % a.ndim + 1 :] for a in arrays if a.ndim}
    if len(shapes) > 1:
        raise RuntimeError(
            f"Sizes of tensors must match except in dimension {dim}. Got shapes "
            f"{[list(a.shape) for a in arrays]}"
        )
    if arrays[0].ndim == 0:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    return np.concatenate(arrays, axes(dim, arrays[0].ndim)[0], dtype=common, casting="unsafe")


@cat.joint_derivative("tensors")
def _cat_backward(grad, wanted, tensors_shape, dim):
    grads, start = [], 0
    for shape, want in zip(tensors_shape, wanted, strict=True):
        extent = 0 if shape == (0,) else shape[dim]
        piece = narrow(grad, dim, start, extent) if want else None
        if want and shape == (0,):
            piece = np.reshape(piece, (0,))
        grads.append(piece)
        start += extent
    return grads


functions["concat"] = functions["concatenate"] = cat


@op(method=False, numpy=np.stack)
def stack(tensors, dim=0):
    """`tensors` of one shape along a new `dim`, promoted to one dtype. Mirrors torch.stack."""
    shapes = [a.shape for a in tensors]
    if len(set(shapes)) > 1:
        other = next(i for i, s in enumerate(shapes) if s != shapes[0])
        raise RuntimeError(
            f"stack expects each tensor to be equal size, but got {list(shapes[0])} at entry 0 and "
            f"{list(shapes[other])} at entry {other}"
        )
    if not shapes:
        raise RuntimeError("stack expects a non-empty TensorList")
    common = dtypes.common_type(tensors)
    return np.stack(tensors, axes(dim, len(shapes[0]) + 1)[0], dtype=common, casting="unsafe")


@stack.joint_derivative("tensors")
def _stack_backward(grad, wanted, dim):
    return list(unbind(grad, dim))


@view_op
def narrow(input, dim, start, length):
    """`length` elements of `dim` from `start` on, as a view. Mirrors torch.narrow."""
    dim = axes(dim, input.ndim)[0]
    extent = input.shape[dim]
    start = start + extent if start < 0 else start
    if length < 0 or not 0 <= start <= extent - length:
        raise RuntimeError(
            f"start ({start}) + length ({length}) exceeds dimension size ({extent})."
        )
    return input[(slice(None),) * dim + (slice(start, start + length),)]


def _narrow_by_input(grad, input_shape, dim, start, length):
    dim = axes(dim, len(input_shape))[0]
    start = start + input_shape[dim] if start < 0 else start
    index = (slice(None),) * dim + (slice(start, start + length),)
    return unindex(grad, index, input_shape)


narrow.derivatives(input=_narrow_by_input)


def _sections(extent: int, size_or_sections) -> list[int]:
    """The extents of the pieces: equal ones of the given size, the last shorter; or as listed."""
    size = size_or_sections
    if isinstance(size, int):
        if size < 0 or (size == 0 and extent):
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        count = max(-(-extent // size), 1) if size else 1
        return [min(size, extent - i * size) for i in range(count)]
    if sum(size) != extent:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {extent} (input tensor's size "
            f"at dimension), but got split_sizes={list(size)}"
        )
    return list(size)


@view_op(many=True)
def split(tensor, split_size_or_sections, dim=0):
    """Pieces along `dim` of one extent, or of a list of them, as views. Mirrors torch.split."""
    dim = axes(dim, tensor.ndim)[0]
    sections = _sections(tensor.shape[dim], split_size_or_sections)
    pieces, start = [], 0
    for n in sections:
        pieces.append(tensor[(slice(None),) * dim + (slice(start, start + n),)])
        start += n
    return pieces


def _all_of(grads: list, shapes) -> list:
    """`grads` with zeros in place of those that did not arrive."""
    known = next(g for g in grads if g is not None)
    return [zeros(shape, known) if g is None else g for g, shape in zip(grads, shapes, strict=True)]


@split.joint_derivative("tensor")
def _split_backward(grads, wanted, tensor_shape, split_size_or_sections, dim):
    dim = axes(dim, len(tensor_shape))[0]
    before, after = tensor_shape[:dim], tensor_shape[dim + 1 :]
    sections = _sections(tensor_shape[dim], split_size_or_sections)
    return [cat(_all_of(grads, [(*before, n, *after) for n in sections]), dim)]


@composite
def chunk(input, chunks, dim=0):
    """At most `chunks` pieces of equal extent along `dim` (the last may be shorter), as views.

    Mirrors torch.chunk.
    """
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    extent = input.shape[dim]
    return split(input, max(-(-extent // chunks), 1), dim)


@view_op(many=True, numpy=np.unstack)
def unbind(input, dim=0):
    """The slices along `dim`, without that dimension, as views. Mirrors torch.unbind."""
    dim = axes(dim, input.ndim)[0]
    return [input[(slice(None),) * dim + (i, ...)] for i in range(input.shape[dim])]


@unbind.joint_derivative("input")
def _unbind_backward(grads, wanted, input_shape, dim):
    dim = axes(dim, len(input_shape))[0]
    shape = tuple(input_shape[:dim]) + tuple(input_shape[dim + 1 :])
    return [stack(_all_of(grads, [shape] * len(grads)), dim)]


@op(numpy=np.flip)
def flip(input, *dims):
    """A copy with the order along `dims` reversed. Mirrors torch.flip."""
    return np.flip(input, axes(sizes(dims), input.ndim) if dims else ()).copy()


flip.derivatives(input=lambda grad, dims: flip(grad, *dims))


# Triangles


@op(inplace=True)
def triu(input, diagonal=0):
    """(..., n, m) with 0 below the diagonal, `diagonal` above the main one. Mirrors torch.triu."""
    return np.triu(input, diagonal)


@op(inplace=True)
def tril(input, diagonal=0):
    """(..., n, m) with 0 above the diagonal, `diagonal` above the main one. Mirrors torch.tril."""
    return np.tril(input, diagonal)


triu.derivatives(input=lambda grad, diagonal: triu(grad, diagonal))
tril.derivatives(input=lambda grad, diagonal: tril(grad, diagonal))
