"""Tensors from what is there already: numbers, nested sequences, arrays, buffers.

PyTorch: torch/csrc/utils/tensor_new.cpp.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import dtypes
from ..dispatch.declare import composite
from ..tensor import Tensor, wrap
from .options import creation, finish, number, numpy_type


def _array_of(data, dtype):
    """Nested sequences, numbers, arrays and tensors as a new array of PyTorch's type for them.

    With a `dtype` it has NumPy's type for them: the caller converts.
    """
    if isinstance(data, Tensor):
        return data.array.copy(order="K")
    if isinstance(data, (np.ndarray, np.generic)):
        return np.array(data)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    kinds = _kinds(data)
    common = functools.reduce(dtypes.promote_types, kinds or {dtypes.get_default_dtype()})
    try:
        data = _items(data) if _holds_tensors(data) else data
        return np.array(data, common.numpy if dtype is None else None)
    except ValueError as error:
        raise ValueError(
            f"expected a nested sequence in which all sequences at one level have the same length: "
            f"{error}"
        ) from None
    except OverflowError as error:
        raise ValueError(f"Overflow: {error}") from None


_NUMBERS = {bool, int, float, complex}


def _kinds(data) -> set[dtypes.dtype]:
    """The dtypes of the numbers in `data`: by default, but those of NumPy and tensors their own."""
    if isinstance(data, (list, tuple)):
        types = set(map(type, data))
        if types <= _NUMBERS:
            return {dtypes.of_number(t()) for t in types}
        return set().union(*map(_kinds, data))
    if isinstance(data, Tensor):
        return {data.dtype}
    if type(data) in _NUMBERS:
        return {dtypes.of_number(data)}
    if isinstance(data, str):
        raise ValueError("too many dimensions 'str'")
    array = np.asarray(data)
    if data is None:
        raise RuntimeError("Could not infer dtype of NoneType: expected numbers, got None")
    if array.dtype.kind == "O":
        raise TypeError(f"can't make a tensor of {data!r}: expected numbers in nested sequences")
    return {dtypes.of(array)}


def _holds_tensors(data) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def _items(data):
    if isinstance(data, Tensor):
        return data.tolist()
    return [_items(d) for d in data] if isinstance(data, (list, tuple)) else data


@creation
def tensor(data, *, dtype=None):
    """A new tensor with a copy of `data`: a number, nested sequences, an array or a tensor.

    Floats become the default dtype, integers int64, unless `dtype` says otherwise. Raises
    ValueError for ragged sequences, TypeError for what is no number. Mirrors torch.tensor.
    """
    array = _array_of(data, dtype)
    if dtype is None:
        return array
    dtype = dtypes.as_dtype(dtype)
    known = array.dtype == dtype.numpy or isinstance(data, (Tensor, np.ndarray, np.generic))
    if dtype.category == dtypes.INTEGER and array.size and not known:
        for value in (array.min(), array.max()):
            dtypes.fitting(value.item(), dtype)
    return array.astype(dtype.numpy, copy=False)


@composite(method=False)
def as_tensor(data, dtype=None, device=None):
    """`data` as a tensor, sharing the memory of arrays and tensors where the dtype allows it.

    Mirrors torch.as_tensor.
    """
    if isinstance(data, Tensor):
        return data.to(device, dtype) if device or dtype else data
    if isinstance(data, np.ndarray):
        dtypes.of(data)
        return finish(np.asarray(data), dtype, device)  # a memmap is an array like others
    return tensor(data, dtype=dtype, device=device)


@composite(method=False)
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """`obj` as a tensor that shares its memory, unless a conversion or `copy` asks for new one.

    Raises ValueError where `copy` is False but memory cannot be shared. Mirrors torch.asarray.
    """
    if not isinstance(obj, Tensor) and not isinstance(obj, np.ndarray) and _is_buffer(obj):
        obj = frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())
    made = as_tensor(obj, dtype, device)
    source = getattr(obj, "array", obj)
    shared = made.array is source
    if isinstance(source, np.ndarray) and made.is_cpu:
        shared = np.may_share_memory(made.array, source)
    if copy is False and not shared:
        raise ValueError("cannot make a tensor of this without copying it, as copy=False asks")
    made = made.clone() if copy and shared else made
    return made.requires_grad_() if requires_grad else made


def _is_buffer(obj) -> bool:
    return isinstance(obj, (bytes, bytearray, memoryview))


@composite(method=False)
def from_numpy(ndarray):
    """A tensor that shares the memory of a NumPy array. Mirrors torch.from_numpy."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    dtypes.of(ndarray)
    return wrap(ndarray)


@composite(method=False)
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A vector that shares the memory of `buffer`: `count` elements from byte `offset` on.

    Raises ValueError where there are not so many. Mirrors torch.frombuffer.
    """
    return finish(np.frombuffer(buffer, dtype.numpy, count, offset), None, None, requires_grad)


@creation(function=False, method=True)
def new_tensor(self, data, *, dtype=None):
    """`tensor` with this tensor's dtype. Mirrors torch.Tensor.new_tensor."""
    return _array_of(data, dtype or self.dtype).astype(numpy_type(dtype, self), copy=False)


@creation
def scalar_tensor(s, *, dtype=None):
    """A 0-d tensor of the default dtype. Mirrors torch.scalar_tensor."""
    return np.array(number(s), numpy_type(dtype))
