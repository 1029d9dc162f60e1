"""The memory behind tensors: what it is, and tensors that are given another one, or another size.

PyTorch: torch/storage.py, aten/src/ATen/native/Resize.cpp.
"""

from __future__ import annotations

import numpy as np

from . import devices
from .dispatch.declare import composite
from .dispatch.dims import sizes
from .dispatch.errors import require
from .dispatch.memory import address, owner, strided
from .tensor import wrap


class UntypedStorage:
    """The memory that a tensor and its views share, as bytes. Mirrors torch.UntypedStorage.

    To look at, not to compute with: which memory it is, and how large.
    """

    def __init__(self, array):
        self.array = owner(array)

    def data_ptr(self) -> int:
        return address(self.array)

    def nbytes(self) -> int:
        return self.array.nbytes

    size = __len__ = nbytes

    @property
    def device(self):
        return wrap(self.array).device

    def __eq__(self, other) -> bool:
        return isinstance(other, UntypedStorage) and self.array is other.array

    __hash__ = object.__hash__


@composite(function=False, aliases=("storage",))
def untyped_storage(self):
    """The memory behind the tensor. Mirrors torch.Tensor.untyped_storage."""
    return UntypedStorage(self.array)


@composite(function=False)
def storage_offset(self) -> int:
    """Elements of the memory that come before the first of the tensor's."""
    array = self.array
    return (address(array) - address(owner(array))) // array.itemsize


@composite(method=False)
def is_storage(obj) -> bool:
    """Whether `obj` is the memory of a tensor. Mirrors torch.is_storage."""
    return isinstance(obj, UntypedStorage)


@composite(function=False)
def is_set_to(self, tensor) -> bool:
    """Whether both are the same memory in the same form. Mirrors torch.Tensor.is_set_to."""
    a, b = self.array, tensor.array
    same = owner(a) is owner(b) and address(a) == address(b)
    return same and a.shape == b.shape and a.strides == b.strides


@composite(function=False)
def set_(self, source):
    """Make this tensor look at the memory of `source`. Mirrors torch.Tensor.set_."""
    require(source.dtype is self.dtype, "Could not set tensor to one of another dtype")
    self.array, self._storage = source.array, source._storage
    return self


@composite(function=False)
def resize_(self, *size, memory_format=None):
    """Give the tensor the shape `size` in place: of the same memory if that is large enough.

    What lies behind the old elements is undefined. Mirrors torch.Tensor.resize_.
    """
    require(not self._requires_grad, "cannot resize variables that require grad")
    shape, array = sizes(size), self.array
    if shape == array.shape:
        return self
    steps = np.empty(shape, array.dtype).strides
    try:
        self.array = strided(array, shape, steps)
    except (ValueError, TypeError):  # the memory ends before
        with devices.guard(array):
            self.array = np.zeros(shape, array.dtype, like=array)
            self.array.reshape(-1)[: array.size] = array.reshape(-1)[: self.array.size]
    return self


@composite
def resize_as_(self, other, memory_format=None):
    """`resize_` to the shape of `other`. Mirrors torch.Tensor.resize_as_."""
    return resize_(self, other.shape)
