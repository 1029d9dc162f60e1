"""Taking elements by index, and the reverse: putting a gradient back where they came from.

x[1:3], x[None], x[..., 0] are views; x[[0, 2]], x[mask] copy. The derivative of taking, in whatever
way, is `put_back`, whose derivative is taking: that is why both are ops.
PyTorch: torch/csrc/autograd/python_variable_indexing.cpp, aten/src/ATen/native/Indexing.cpp.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from .. import devices, dtypes, kernels
from ..autograd.grad_mode import announced_later
from ..dispatch import errors, inplace
from ..dispatch.declare import composite, functions, op, view_op
from ..dispatch.gathering import at
from ..tensor import Tensor, wrap


@op(function=False, method=False, alone=True)
def put_back(grad, shape, view, args, overlaps=False):
    """Zeros of `shape`, with `grad` added where view(zeros, *args) looks.

    `overlaps`: it may look at an element more than once.
    """
    out = np.zeros_like(grad, shape=shape, order="C")
    if overlaps:
        numbers = view.forward(np.arange(out.size, like=out).reshape(shape), *args)
        at(np.add, out.reshape(-1), numbers.reshape(-1), grad.reshape(-1))
    else:
        view.forward(out, *args)[...] = grad
    return out


put_back.derivatives(grad=lambda grad, view, args: view(grad, *args))


# What an index is made of


def _part(i):
    """One part of an index: integers, slices, None and ... as they are, the rest as arrays."""
    if i is None or i is Ellipsis or type(i) is int:
        return i
    if isinstance(i, slice):
        parts = [None if n is None else operator.index(n) for n in (i.start, i.stop, i.step)]
        if parts[2] is not None and parts[2] <= 0:
            raise ValueError("step must be greater than zero")
        return slice(*parts)
    if isinstance(i, Tensor):
        i = i.array
    elif isinstance(i, (bool, list, tuple, range)):
        i = np.array(i if isinstance(i, bool) else [getattr(n, "array", n) for n in i])
        i = i.astype(np.int64) if i.size == 0 else i
    if isinstance(i, np.integer):
        return int(i)
    if isinstance(i, np.generic) or not hasattr(i, "dtype"):
        if isinstance(i, str):
            raise TypeError(f"a tensor is indexed by numbers, not by a string: {i!r}")
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            f"valid indices (got {type(i).__name__})"
        )
    if i.dtype == np.uint8:  # booleans of old
        warnings.warn(
            "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
            "instead.",
            stacklevel=4,
        )
        return i.astype(bool)
    if i.dtype not in _INDICES:
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return int(i) if i.ndim == 0 and i.dtype != bool else i


_SIMPLE = {int, slice, type(None), type(Ellipsis)}  # parts that are no arrays
_INDICES = (np.int64, np.int32, np.bool_)
_NESTED = (list, tuple, range, slice, Tensor, np.ndarray, type(None), type(Ellipsis))


def _split(index) -> tuple[tuple, tuple | None]:
    """`index` as two, to be taken one after the other: what makes a view, and what copies.

    To NumPy an integer beside arrays is one of them, whose common dimension moves to the front when
    a slice stands between them; in PyTorch the integers are taken first.
    """
    if type(index) is list and any(isinstance(i, _NESTED) for i in index):
        index = tuple(index)  # x[[0, 1], [1, 2]], as it was once written
    parts = [_part(i) for i in index] if isinstance(index, tuple) else [_part(index)]
    if all([type(i) in _SIMPLE for i in parts]):
        return tuple(parts), None
    if not any([type(i) is int for i in parts]):
        return (), tuple(parts)
    first: list = []
    second: list = []
    for i in parts:
        if type(i) not in _SIMPLE:
            first += [slice(None)] * (i.ndim if i.dtype == bool else 1)
            second.append(i)
        else:
            first.append(i)
            if type(i) is not int:
                second.append(i if i is Ellipsis else slice(None))
    return tuple(first), tuple(second)


# Taking


def _basic(name: str):
    """The view x[index], of integers, slices, None and ...; `name` is what PyTorch calls it."""

    @view_op(function=False, method=False, node=name)
    def getitem(input, index):
        out = input[index]
        # One element: NumPy makes it a number, a view is wanted.
        return input[(*index, ...)] if isinstance(out, np.generic) else out

    getitem.derivatives(
        input=lambda grad, input_shape, index: put_back(grad, input_shape, getitem.op, (index,))
    )
    return getitem


# PyTorch takes an index part by part, and names the node after the last.
_BASIC = {int: _basic("Select"), slice: _basic("Slice"), type(None): _basic("Unsqueeze")}
_BASIC[type(Ellipsis)] = _basic("Alias")
_WHOLE = slice(None)


def _view(self, index: tuple):
    last: Any = Ellipsis
    for i in index:
        if i is not Ellipsis and i != _WHOLE:
            last = i
    return _BASIC[type(last)](self, index)


@op(function=False, method=False, node="Index")
def take_at(input, index):
    """The elements at `index`, a tuple with arrays in it: a copy."""
    if type(input) is not np.ndarray:
        index = tuple([np.asarray(i, like=input) if hasattr(i, "dtype") else i for i in index])
    if len(index) == 1 and index[0].dtype != bool and input.ndim:
        return np.take(input, index[0], axis=0)  # the same, but quicker
    out = input[index]
    return out if out.flags.c_contiguous else out.copy()


take_at.derivatives(input=lambda grad, input_shape, index: unindex(grad, index, input_shape))


@op(function=False, method=False, alone=True)
def unindex(grad, index, shape, unique=False):
    """Zeros of `shape`, with `grad` added at `index`. `unique`: it names no element twice."""
    if type(grad) is not np.ndarray:
        index = tuple([np.asarray(i, like=grad) if hasattr(i, "dtype") else i for i in index])
    rows, out = index[0], np.zeros_like(grad, shape=shape, order="C")
    if unique or (len(index) == 1 and rows.dtype == bool):
        out[index] = grad
    elif len(index) > 1 or grad.ndim <= rows.ndim:
        numbers = np.arange(out.size, like=out).reshape(shape)[index]
        at(np.add, out.reshape(-1), numbers.reshape(-1), grad.reshape(-1))
    else:
        rows = rows.reshape(-1) % max(shape[0], 1)
        grad = grad.reshape(len(rows), out[:1].size)
        return kernels.embedding_backward(grad, rows, shape[0], None).reshape(shape)
    return out


unindex.derivatives(grad=lambda grad, index: grad[index])


def _getitem(self, index):
    if type(index) is int:  # short ways for the most common
        return _BASIC[int](self, (index,))
    if index is None:
        return functions["unsqueeze"](self, 0)
    first, second = _split(index)
    if first or second is None:
        self = _view(self, first)
    return self if second is None else take_at(self, second)


# Assigning


def _setitem(self, index, value):
    """self[index] = value, followed by autograd."""
    first, second = _split(index)
    if second is not None and first:
        self = _view(self, first)
    index = first if second is None else second
    if not isinstance(value, Tensor):
        plain = isinstance(value, (bool, int, float, complex))
        value = dtypes.fitting(value, self.dtype) if plain else np.asarray(value, self.array.dtype)
        value = wrap(value)
    if type(self.array) is np.ndarray:
        return _assign(self, index, value, second is not None)
    with devices.guard(self.array):
        index = tuple([np.asarray(i, like=self.array) if hasattr(i, "dtype") else i for i in index])
        _assign(self, index, value.to(self.device), second is not None)


def _assign(self, index, value, advanced: bool) -> None:
    """self[index] = value, where `index` is simple, or has arrays (`advanced`)."""
    tracked = inplace.is_tracked((self, value))
    try:
        place = self.array[index if advanced or Ellipsis in index else (*index, ...)]
        value = _without_leading_ones(value, place)
        part = place if not advanced and index != (Ellipsis,) else None
        inplace.check_writable(self, tracked, (value,), part)
        before = inplace.alias(self) if tracked else None
        self.array[index] = value.array
    except IndexError as error:
        raise errors.translate(error, index_put.op, [self]) from error
    except ValueError as error:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(place.shape)}"
        ) from error
    self._storage.version += 1
    if before is not None:
        out = wrap(self.array)
        with announced_later():
            index_put.op.record((before, index, value.to(self.dtype), False, out), out)
            inplace.move_in_graph(self, out._node)


def _without_leading_ones(value: Tensor, place) -> Tensor:
    """PyTorch drops leading dimensions of extent 1 where the value has more than its place."""
    shape = value.array.shape
    while len(shape) > place.ndim and shape[0] == 1:
        shape = shape[1:]
    return value if len(shape) == value.ndim else value.reshape(shape)


@op(inplace=True)
def index_put(input, indices, values, accumulate=False):
    """`input` with `values` at the elements that the tuple of tensors `indices` names.

    `accumulate`: added to what is there; then an element may be named twice. Mirrors
    torch.index_put.
    """
    indices = tuple(indices)
    out = np.copy(input)
    if accumulate:
        if type(out) is np.ndarray:
            np.add.at(out, indices, values)
        else:
            numbers = np.arange(out.size, like=out).reshape(out.shape)[indices]
            values = np.broadcast_to(values, numbers.shape)
            at(np.add, out.reshape(-1), numbers.reshape(-1), values.reshape(-1))
    else:
        out[indices] = values
    return out


index_put.derivatives(
    input=lambda grad, indices, accumulate: grad if accumulate else index_put(grad, indices, 0),
    values=lambda grad, indices: grad[tuple(indices)],
)

setattr(Tensor, "__getitem__", _getitem)  # noqa: B010 (so that a type checker lets it pass)
setattr(Tensor, "__setitem__", _setitem)  # noqa: B010


# Where something is


@composite(out=True)
@devices.on_its_device
def nonzero(input, *, as_tuple=False):
    """The indices of the elements that are not 0: (n, dimensions), or a tuple of vectors.

    Mirrors torch.nonzero.
    """
    found = np.nonzero(np.atleast_1d(input.array))
    if as_tuple:
        return tuple([wrap(i.copy()) for i in found])
    return wrap(np.stack(found).T if input.ndim else found[0][:0].reshape(len(found[0]), 0))
