"""The same values elsewhere: copied, as another type, on another device, outside of the graph.

PyTorch: aten/src/ATen/native/TensorConversions.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes
from ..dispatch import inplace
from ..dispatch.declare import composite, functions, op
from ..kernels.cpu.half import astype
from ..tensor import Tensor, wrap


@op
def clone(input, *, memory_format=None):
    """A copy that gradients flow through. Mirrors torch.clone."""
    return input.copy(order="K")


clone.derivatives(input=lambda grad: grad)


@op(function=False, method=False)
def _contiguous(input):
    return input.copy(order="C")


_contiguous.derivatives(input=lambda grad: grad)


@composite(function=False)
def contiguous(input, memory_format=None):
    """The tensor itself if its memory is in order, otherwise a copy that is."""
    return input if input.array.flags.c_contiguous else _contiguous(input)


@composite
def detach(input):
    """The same memory outside of the graph; autograd still notices changes in place.

    Mirrors torch.detach.
    """
    result = wrap(input.array)
    result._storage = input._storage
    return result


@composite(function=False)
def detach_(input):
    """Take the tensor itself out of the graph: it becomes a leaf. Mirrors torch.detach_."""
    if input._view is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    input._node, input._requires_grad = None, False
    return input


@op(function=False, method=False)
def to_copy(input, kind):
    return astype(input, kind)


to_copy.derivatives(input=lambda grad: grad)  # the engine gives it the type of the input


@op(function=False, method=False)
def to_device(input, device):
    return devices.moved(input, device)


to_device.derivatives(input=lambda grad, input_device: to_device(grad, input_device))


@composite(method=False, function=False)
def as_type(input, dtype: dtypes.dtype):
    """`input` itself if it has this dtype, otherwise a converted copy."""
    dtype = dtypes.as_dtype(dtype)
    if input.array.dtype == dtype.numpy:
        return input
    if dtype.category < dtypes.FLOATING:  # no gradient comes back through integers
        with devices.guard(input.array):
            return wrap(input.array.astype(dtype.numpy))
    return to_copy(input, dtype.numpy)


@composite(function=False)
def to(input, *args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None):
    """Converted to a dtype, a device or another tensor's both; itself if nothing changes.

    to(dtype), to(device), to(device, dtype), to(other). Mirrors torch.Tensor.to.
    """
    flags = [arg for arg in args if isinstance(arg, bool)]  # non_blocking, copy
    copy = flags[1] if len(flags) > 1 else copy
    for arg in args:
        if isinstance(arg, (dtypes.dtype, type)):
            dtype = arg
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, devices.device, int)) and not isinstance(arg, bool):
            device = arg
    result = input if dtype is None else as_type(input, dtype)
    if device is not None and result.device != (device := devices.check(device)):
        return to_device(result, device)
    return clone(input) if copy and result is input else result


@composite(function=False)
def type_as(input, other):
    """Converted to the dtype of `other`. Mirrors torch.Tensor.type_as."""
    return to(input, other.dtype)


@composite(function=False)
def cpu(input, memory_format=None):
    """On the CPU; itself if it is there. Mirrors torch.Tensor.cpu."""
    return to(input, "cpu")


@composite(function=False)
def cuda(input, device=None, non_blocking=False, memory_format=None):
    """On a GPU. Mirrors torch.Tensor.cuda."""
    if device is not None and devices.device(device).type != "cuda":
        raise RuntimeError(f"Invalid device, must be cuda device: {device}")
    return to(input, "cuda" if device is None else device)


@composite(function=False)
def pin_memory(input, device=None):
    """In page-locked memory of the host, from where copies to a GPU need not wait; itself if it is
    there. Raises RuntimeError without a GPU, or for a tensor on one. Mirrors
    torch.Tensor.pin_memory.
    """
    if type(input.array) is not np.ndarray:
        raise RuntimeError(
            f"cannot pin a tensor on {input.device}: only dense CPU tensors can be pinned"
        )
    if devices.is_pinned(input.array):
        return input
    return wrap(devices.pinned(input.array)).requires_grad_(input._requires_grad)


@composite(function=False)
def is_pinned(input, device=None):
    """Whether it is in page-locked memory. Mirrors torch.Tensor.is_pinned."""
    return type(input.array) is np.ndarray and devices.is_pinned(input.array)


def _conversion(name: str, dtype: dtypes.dtype) -> None:
    def convert(self, memory_format=None):
        return as_type(self, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"Converted to {dtype.name}."
    setattr(Tensor, name, convert)


_CONVERSIONS = dtypes.ALIASES | {"bfloat16": dtypes.bfloat16}
_CONVERSIONS |= {"byte": dtypes.uint8, "char": dtypes.int8}
for _name, _dtype in _CONVERSIONS.items():
    _conversion(_name, _dtype)


# In place


@composite(function=False)
def copy_(self, src, non_blocking=False):
    """Overwrite the tensor with `src`, broadcast and converted. Mirrors torch.Tensor.copy_."""
    src = src if isinstance(src, Tensor) else functions["as_tensor"](src)
    if inplace.is_tracked((self, src)):
        return inplace.update(self, _replace, to(src, self.device, self.dtype))
    inplace.check_writable(self, False, (src,))
    if not inplace.other_fits(src.array, self.array):
        raise RuntimeError(
            f"output with shape {list(self.shape)} doesn't match the broadcast shape of the source "
            f"{list(src.shape)}"
        )
    devices.overwrite(self.array, src.array)
    self._storage.version += 1
    return self


@op(function=False, method=False, node="Copy")
def _replace(input, src):
    return np.copy(np.broadcast_to(src, input.shape), order="C")


_replace.derivatives(input=lambda grad: np.zeros_like(grad), src=lambda grad: grad)


@composite(function=False)
def fill_(self, value):
    """Set every element to `value`. Mirrors torch.Tensor.fill_."""
    if not isinstance(value, Tensor):
        value = wrap(dtypes.fitting(value, self.dtype))
    elif value.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} "
            "dimensions."
        )
    return copy_(self, value)


@composite(function=False)
def apply_(self, callable):
    """Replace each element, one by one, by callable(element). Mirrors torch.Tensor.apply_."""
    if self.requires_grad:
        raise RuntimeError(
            "Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead."
        )
    inplace.check_writable(self, False)
    if type(self.array) is not np.ndarray:
        raise TypeError("apply_ is only implemented on CPU tensors")
    self.array[...] = np.reshape([callable(x) for x in self.array.flat], self.array.shape)
    self._bump_version()
    return self


@composite
def fill(input, value):
    """A copy with every element `value`, a number or a 0-d tensor. Mirrors torch.fill."""
    return fill_(clone(input), value)


@composite
def zero_(self):
    """Set every element to 0. Mirrors torch.Tensor.zero_."""
    return fill_(self, 0)
