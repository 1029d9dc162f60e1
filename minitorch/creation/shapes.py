"""Tensors of a given shape: zeros, ones, uninitialised memory, one value everywhere.

PyTorch: aten/src/ATen/native/TensorFactories.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..dispatch.memory import strided
from .options import creation, number, numpy_type, shape_of


def _full(shape, value, kind, like=None):
    """np.full, which with like= passes CuPy an argument that it does not know."""
    array = np.empty(shape, kind, like=like)
    array.fill(value)
    return array


def _ones(shape, kind, like=None):
    return _full(shape, 1, kind, like)


def _factory(name: str, meaning: str) -> None:
    """`name`(*size), `name`_like(tensor) and Tensor.new_`name`(*size) from NumPy's functions."""
    make, make_like = getattr(np, name), getattr(np, name + "_like")
    make = _ones if make is np.ones else make

    def plain(*size, dtype=None, like=None, **named):
        if not size and not named:
            raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
        return make(shape_of(size or (named.pop("size"),)), numpy_type(dtype), like=like, **named)

    def like(input, *, dtype=None):
        return make_like(input.array, numpy_type(dtype, input))

    def new(self, *size, dtype=None, **named):
        shape, kind = shape_of(size or (named.pop("size"),)), numpy_type(dtype, self)
        return make(shape, kind, like=self.array, **named)

    plain.__doc__ = f"A tensor of a shape, {meaning}. Mirrors torch.{name}."
    like.__doc__ = f"A tensor like another one, {meaning}. Mirrors torch.{name}_like."
    new.__doc__ = f"A tensor of this one's dtype, {meaning}. Mirrors torch.Tensor.new_{name}."
    creation(plain, name=name)
    creation(like, name=name + "_like", numpy=make_like)
    creation(new, name="new_" + name, function=False, method=True)


_factory("zeros", "all 0")
_factory("ones", "all 1")
_factory("empty", "with whatever the memory holds")


@creation
def full(size, fill_value, *, dtype=None, like=None):
    """A tensor of shape `size`, every element `fill_value`. Mirrors torch.full."""
    if isinstance(size, int):
        raise TypeError("full(): argument 'size' (position 1) must be tuple of ints, not int")
    value = number(fill_value)
    dtype = dtype or dtypes.of_number(value)
    return _full(shape_of((size,)), dtypes.fitting(value, dtype)[()], dtype.numpy, like)


@creation(numpy=np.full_like)
def full_like(input, fill_value, *, dtype=None):
    """`full` with the shape and dtype of `input`. Mirrors torch.full_like."""
    value = dtypes.fitting(number(fill_value), dtype or input.dtype)
    return np.full_like(input.array, value[()], numpy_type(dtype, input))


@creation(function=False, method=True)
def new_full(self, size, fill_value, *, dtype=None):
    """`full` with this tensor's dtype. Mirrors torch.Tensor.new_full."""
    value = dtypes.fitting(number(fill_value), dtype or self.dtype)
    return _full(shape_of((size,)), value[()], numpy_type(dtype, self), self.array)


def _strided(size, stride, kind):
    extent = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    steps = [n * kind.itemsize for n in stride]
    return strided(np.empty(0 if 0 in size else extent, kind), size, steps)


@creation
def empty_strided(size, stride, *, dtype=None):
    """Uninitialised memory, `stride` elements from one index to the next. Mirrors
    torch.empty_strided."""
    return _strided(size, stride, numpy_type(dtype))


@creation(function=False, method=True)
def new_empty_strided(self, size, stride, *, dtype=None):
    """`empty_strided` with this tensor's dtype. Mirrors torch.Tensor.new_empty_strided."""
    return _strided(size, stride, numpy_type(dtype, self))


@creation
def empty_permuted(size, physical_layout, *, dtype=None):
    """Uninitialised memory with its dimensions in the order `physical_layout`, outermost first.

    Mirrors torch.empty_permuted.
    """
    array = np.empty([size[d] for d in physical_layout], numpy_type(dtype))
    return array.transpose(np.argsort(physical_layout))


@creation
def eye(n, m=None, *, dtype=None, like=None):
    """The identity matrix (n, m). Mirrors torch.eye."""
    for name, extent in (("n", n), ("m", m)):
        if extent is not None and extent < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {extent}")
    m = n if m is None else m
    matrix = np.zeros((n, m), numpy_type(dtype), like=like)
    matrix.reshape(-1)[: m * m : m + 1] = 1
    return matrix
