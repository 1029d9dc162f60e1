"""Taking elements by index, and the reverse: putting a gradient back where they came from.

x[1:3], x[None], x[..., 0] are views; x[[0, 2]], x[mask] copy. The derivative of taking is
`unindex`, whose derivative is taking: that is why both are ops.
PyTorch: torch/csrc/autograd/python_variable_indexing.cpp, aten/src/ATen/native/Indexing.cpp.
"""

from __future__ import annotations

import warnings

import numpy as np

from .. import kernels
from ..autograd.grad_mode import mode
from ..tensor import Tensor, wrap
from . import errors, inplace
from .declare import composite, functions, op, view_op
from .dims import axes
from .op import zeros

_SIMPLE = (int, slice, type(None), type(Ellipsis))


def _plain(index):
    """`index` with arrays for Tensors and lists, and integers for 0-d integer ones."""
    if isinstance(index, tuple):
        return tuple([_plain(i) for i in index])
    if isinstance(index, _SIMPLE):
        if isinstance(index, slice):
            if any(isinstance(n, Tensor) for n in (index.start, index.stop, index.step)):
                parts = (index.start, index.stop, index.step)
                index = slice(*[int(n) if isinstance(n, Tensor) else n for n in parts])
            if index.step is not None and index.step <= 0:
                raise ValueError("step must be greater than zero")
        return index
    if isinstance(index, Tensor):
        index = index.array
    elif isinstance(index, list):
        index = np.array([i.array if isinstance(i, Tensor) else i for i in index])
        index = index.astype(np.int64) if index.size == 0 else index
    if isinstance(index, (np.ndarray, np.generic)):
        if index.dtype == np.uint8 and isinstance(index, np.ndarray):  # booleans of old
            warnings.warn(
                "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
                "instead.",
                stacklevel=3,
            )
            index = index.astype(bool)
        if index.dtype.kind not in "biu":
            raise IndexError(
                "tensors used as indices must be long, int, byte or bool tensors, "
                f"got {index.dtype}"
            )
        return int(index) if index.ndim == 0 and index.dtype.kind != "b" else index
    return index


def _is_basic(index) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(i, _SIMPLE) and not isinstance(i, bool) for i in parts)


def _apart(index: tuple) -> tuple[tuple, tuple]:
    """A mixture of integers and arrays as two indices, to be taken one after the other.

    To NumPy an integer is one of the arrays, whose common dimension moves to the front when a slice
    stands between them; in PyTorch the integers are taken first.
    """
    if not any(type(i) is int for i in index):
        return (), index
    first: list = []
    second: list = []
    for i in index:
        if isinstance(i, np.ndarray):
            first += [slice(None)] * (i.ndim if i.dtype == bool else 1)
            second.append(i)
        else:
            first.append(i)
            if type(i) is not int:
                second.append(i if i is Ellipsis else slice(None))
    return tuple(first), tuple(second)


def _is_mask(index) -> bool:
    return isinstance(index, np.ndarray) and index.dtype.kind == "b"


@view_op(function=False, method=False)
def getitem(input, index):
    out = input[index]
    if isinstance(out, np.generic):  # one element: NumPy makes it a number, a view is wanted
        out = input[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    return out


getitem.derivatives(input=lambda grad, input_shape, index: unindex(grad, index, input_shape))


@op(function=False, method=False)
def unindex(grad, index, shape, unique=False):
    """Zeros of `shape`, with `grad` added at `index`. `unique`: it names no element twice."""
    once = unique or _is_basic(index) or _is_mask(index)
    if not once and isinstance(index, np.ndarray) and grad.ndim > index.ndim:  # whole rows
        return kernels.embedding_backward(grad, index % shape[0], shape[0], None).reshape(shape)
    out = np.zeros(shape, grad.dtype)
    if once:
        out[index] = grad
    else:
        np.add.at(out, index, grad)
    return out


unindex.derivatives(grad=lambda grad, index: grad[index])


def _getitem(self, index):
    index = _plain(index)
    if type(index) is tuple and not _is_basic(index):
        first, index = _apart(index)
        if first:
            self = getitem(self, first)
    return getitem(self, index)


def _setitem(self, index, value):
    """self[index] = value, followed by autograd."""
    index = _plain(index)
    if type(index) is tuple and not _is_basic(index):
        first, index = _apart(index)
        if first:
            return _setitem(getitem(self, first), index, value)
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(value, self.array.dtype))
    value = _without_leading_ones(value, self.array, index)
    tracked = mode.enabled and (self._requires_grad or value._requires_grad)
    inplace.check_writable(self, tracked)
    before = inplace.alias(self) if tracked else None
    try:
        self.array[index] = value.array
    except (ValueError, IndexError) as error:
        if isinstance(error, IndexError):
            raise errors.translate(error, put.op, [self]) from error
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(self.array[index].shape)}"
        ) from error
    self._storage.version += 1
    if before is not None:
        out = wrap(self.array)
        put.op.record((before, index, value.to(self.dtype), out), out)
        inplace.move_in_graph(self, out._node)


def _without_leading_ones(value: Tensor, array, index) -> Tensor:
    """PyTorch drops leading dimensions of extent 1 where the value has more than its place."""
    shape = value.array.shape
    if not shape or shape[0] != 1:
        return value
    try:
        extra = len(shape) - array[index].ndim
    except IndexError:
        return value  # the assignment will say so
    while extra > 0 and shape[0] == 1:
        shape, extra = shape[1:], extra - 1
    return value if len(shape) == value.ndim else value.reshape(shape)


@op(function=False, method=False)
def put(input, index, value):
    """`input` with `value` at `index`."""
    out = np.array(input)
    out[index] = value
    return out


put.derivatives(
    input=lambda grad, index: put(grad, index, 0), value=lambda grad, index: grad[index]
)

setattr(Tensor, "__getitem__", _getitem)  # noqa: B010 (so that a type checker lets it pass)
setattr(Tensor, "__setitem__", _setitem)  # noqa: B010


# Along one dimension


def _check_index(name: str, input, dim: int, index) -> None:
    """Raise unless `index` suits gather and its kin: unlike x[index], not counted from the end."""
    if index.dtype.kind != "i":
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise RuntimeError(
            f"{name}: Index tensor must have the same number of dimensions as input tensor: "
            f"{index.ndim} and {input.ndim}"
        )
    extent = input.shape[dim] if input.ndim else 1
    if index.size and not 0 <= index.min() <= index.max() < extent:
        wrong = index[(index < 0) | (index >= extent)].flat[0]
        raise RuntimeError(
            f"{name}: index {wrong} is out of bounds for dimension {dim} with size {extent}"
        )


@op
def gather(input, dim, index, *, sparse_grad=False):
    """out[i][j] = input[index[i][j]][j] for dim 0; out has the shape of `index`.

    Mirrors torch.gather.
    """
    dim = axes(dim, input.ndim)[0] if input.ndim else 0
    _check_index("gather", input, dim, index)
    if input.ndim == 0 or index.ndim == 0:
        return np.reshape(np.atleast_1d(input)[np.atleast_1d(index)], index.shape)
    return input[_grid(index, dim)]


def _grid(index, dim: int) -> tuple:
    """NumPy's index for "element index[i][j] of dimension dim, otherwise at i, j"."""
    last = index.ndim - 1
    grid = [np.arange(n).reshape(-1, *(1,) * (last - d)) for d, n in enumerate(index.shape)]
    grid[dim] = index
    return tuple(grid)


gather.derivatives(
    input=lambda grad, input_shape, dim, index: scatter_add(
        zeros(input_shape, grad), dim, index, grad
    )
)


@op(inplace=True)
def scatter_add(input, dim, index, src):
    """A copy of `input` with src[i][j] added at [index[i][j]][j], for dim 0.

    Mirrors torch.scatter_add.
    """
    dim = axes(dim, input.ndim)[0] if input.ndim else 0
    _check_index("scatter_add", input, dim, index)
    out = np.array(input)
    if input.ndim == 0:
        return out + np.sum(src, dtype=input.dtype)
    part = src[tuple(slice(n) for n in index.shape)]
    np.add.at(out, _grid(index, dim), part)
    return out


scatter_add.derivatives(
    input=lambda grad: grad,
    src=lambda grad, dim, index, src_shape: _fitted(grad, dim, index, src_shape),
)


def _fitted(grad, dim, index, shape):
    taken = gather(grad, dim, index)
    if taken.shape == tuple(shape):
        return taken
    return unindex(taken, tuple(slice(n) for n in index.shape), shape)


@op
def index_select(input, dim, index):
    """The slices of `input` along `dim` that `index`, a vector, names. Mirrors torch.index_select.

    Raises IndexError for one that is not there.
    """
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    dim, index = axes(dim, input.ndim)[0] if input.ndim else 0, np.atleast_1d(index)
    extent = input.shape[dim] if input.ndim else 1
    if index.size and not 0 <= index.min() <= index.max() < extent:
        raise IndexError(
            f"index out of range in self: the indices go from {index.min()} to {index.max()}, "
            f"dimension {dim} has size {extent}"
        )
    return np.take(input, index, axis=dim) if input.ndim else np.array(input)


def _index_select_by_input(grad, input_shape, dim, index):
    dim = axes(dim, len(input_shape))[0] if input_shape else 0
    return unindex(grad, (slice(None),) * dim + (index,), input_shape)


index_select.derivatives(input=_index_select_by_input)


@composite(numpy=np.take_along_axis)
def take_along_dim(input, indices, dim=None):
    """Elements at `indices` along `dim`, both broadcast otherwise. Mirrors torch.take_along_dim."""
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    dim = axes(dim, input.ndim)[0]
    indices = functions["where"](indices < 0, indices + input.shape[dim], indices)
    shape = list(
        np.broadcast_shapes(*[(*t.shape[:dim], 1, *t.shape[dim + 1 :]) for t in (input, indices)])
    )
    whole = [*shape[:dim], input.shape[dim], *shape[dim + 1 :]]
    index = [*shape[:dim], indices.shape[dim], *shape[dim + 1 :]]
    return gather(input.expand(whole), dim, indices.expand(index))


@composite
def masked_select(input, mask):
    """The elements where `mask` is True, as a vector. Mirrors torch.masked_select."""
    input, mask = functions["broadcast_tensors"](input, mask)
    return input[mask]


@composite
def nonzero(input, *, as_tuple=False):
    """The indices of the elements that are not 0: (n, dimensions), or a tuple of vectors.

    Mirrors torch.nonzero.
    """
    found = np.nonzero(np.atleast_1d(input.array))
    if as_tuple:
        return tuple(wrap(i) for i in found)
    return wrap(np.stack(found, 1) if input.ndim else np.zeros((len(found[0]), 0), np.int64))
