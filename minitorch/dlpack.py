"""DLPack: handing memory to other array libraries, and taking theirs, without a copy.

The protocol is two methods, `__dlpack_device__` (where the memory is) and `__dlpack__` (a capsule
around a C structure: pointer, shape, strides, type); NumPy speaks it for us. What NumPy lacks is
bfloat16. For that the tensor travels as int16, and one byte of the structure, the type's code, is
changed on the way. PyTorch: torch/utils/dlpack.py, aten/src/ATen/DLConvertor.cpp.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import dtypes
from .tensor import Tensor, wrap

CPU, CUDA = 1, 2  # DLDeviceType
_INT, _BFLOAT = 0, 4  # DLDataTypeCode


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    ]  # shape, strides and offset follow


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32 * 2),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


def _tensor_in(capsule) -> _DLTensor:
    """The structure inside a capsule, of DLPack's version 1 or of the time before."""
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    label = name(capsule)
    address = pointer(capsule, label)
    if label == b"dltensor_versioned":
        return _Versioned.from_address(address).tensor
    return _DLTensor.from_address(address)


def to_capsule(tensor: Tensor, **options) -> Any:
    """What `tensor.__dlpack__()` returns. Raises BufferError for one that requires grad."""
    if tensor.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    options.pop("stream", None)  # a CPU has none
    array = tensor.array
    if tensor.dtype is not dtypes.bfloat16:
        return array.__dlpack__(**options)
    capsule = array.view(np.int16).__dlpack__(**options)
    _tensor_in(capsule).code = _BFLOAT
    return capsule


class _AsInt16:
    """Somebody's bfloat16 memory, presented to NumPy as int16."""

    def __init__(self, owner):
        self.owner = owner

    def __dlpack_device__(self):
        return self.owner.__dlpack_device__()

    def __dlpack__(self, **options):
        capsule = self.owner.__dlpack__(**options)
        _tensor_in(capsule).code = _INT
        return capsule


def from_dlpack(ext_tensor, *, device=None, copy=None) -> Tensor:
    """A tensor that shares the memory of an object of any library that has `__dlpack__`.

    `copy=True` copies it instead. Mirrors torch.from_dlpack (torch/utils/dlpack.py).
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise AttributeError(
            f"from_dlpack needs an object with __dlpack__, got {type(ext_tensor).__name__}; a bare "
            "capsule does not say on which device it lives: hand over the tensor itself"
        )
    kind, _ = ext_tensor.__dlpack_device__()
    if kind == CUDA:
        import cupy

        array = cupy.from_dlpack(ext_tensor)
    elif kind != CPU:
        raise RuntimeError(
            f"from_dlpack: memory on a DLPack device of type {kind}, not CPU or CUDA"
        )
    else:
        bfloat = _tensor_in(ext_tensor.__dlpack__()).code == _BFLOAT
        array = np.from_dlpack(_AsInt16(ext_tensor) if bfloat else ext_tensor)
        array = array.view(dtypes.bfloat16.numpy) if bfloat else array
    dtypes.of(array)  # raises for a type that tensors do not have
    tensor = wrap(array.copy() if copy else array)
    return tensor if device is None else tensor.to(device)
