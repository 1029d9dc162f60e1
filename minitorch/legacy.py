"""The constructors of old: torch.Tensor(2, 3), torch.FloatTensor([1.0]), tensor.new(...).

Why: many scripts still use them. Integers are a shape of uninitialised memory, a sequence is
values, and the type is in the name. `minitorch.tensor`, `zeros` and the like have replaced them.
PyTorch: torch/csrc/utils/tensor_new.cpp, torch/csrc/tensor/python_tensor.cpp.
"""

from __future__ import annotations

import numpy as np

from . import cuda, devices, dtypes
from .tensor import Size, Tensor, wrap


def construct(args: tuple, dtype: dtypes.dtype, device=None) -> Tensor:
    """What torch.FloatTensor(*args) makes, for any dtype.

    Nothing or a shape: uninitialised. A sequence or an array: its values. A tensor: its memory.
    Raises TypeError for anything else, also for a tensor of another dtype.
    """
    where = devices.check(device)
    if where.type != "cpu" and not (args and isinstance(args[0], Tensor)):
        return construct(args, dtype, "cpu").to(where)
    if args and isinstance(args[0], Size):
        args = tuple(args[0])
    if all(type(n) is int for n in args):
        return wrap(np.empty(args or 0, dtype.numpy))
    if len(args) > 1:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"new() takes a shape, or one sequence of values; got ({kinds})")
    (data,) = args
    if isinstance(data, Tensor):
        if data.dtype is not dtype:
            raise TypeError(f"expected a tensor of {dtype} (got one of {data.dtype})")
        return data.detach()
    if isinstance(data, (int, float, complex)) or data is None:
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return wrap(np.empty(0, dtype.numpy)).new_tensor(data)


class tensortype(type):
    """The type of torch.FloatTensor and its kin: isinstance asks for the dtype."""

    dtype: dtypes.dtype
    is_cuda: bool

    def __instancecheck__(cls, instance) -> bool:
        found = isinstance(instance, Tensor) and instance.dtype is cls.dtype
        return found and instance.is_cuda == cls.is_cuda

    def __call__(cls, *args, device=None):
        if cls.is_cuda and not cuda.is_available():
            raise TypeError(f"type {cls.__module__}.{cls.__name__} not available: there is no GPU")
        return construct(args, cls.dtype, device or ("cuda" if cls.is_cuda else None))


def _types(module: str) -> dict[str, tensortype]:
    """FloatTensor, LongTensor, ... as they are called in `module`."""
    options = {"__module__": module, "is_cuda": module == "torch.cuda"}
    return {
        (name := d.legacy_name + "Tensor"): tensortype(name, (), {**options, "dtype": d})
        for d in dtypes.ALL
    }


TYPES = _types("torch")
vars(cuda).update(_types("torch.cuda"))


def new(self, *args, device=None):
    """The old constructor with this tensor's dtype: of a shape, or of values. See `construct`."""
    return construct(args, self.dtype, device)


setattr(Tensor, "new", new)  # noqa: B010 (so that a type checker lets it pass)


def set_default_tensor_type(t) -> None:
    """Make torch.DoubleTensor, or its name, the type of new tensors; set_default_dtype is newer.

    Mirrors torch.set_default_tensor_type.
    """
    if isinstance(t, str):
        t = TYPES.get(t.removeprefix("torch."), t)
    if not isinstance(t, tensortype) or t.is_cuda:
        raise TypeError(f"invalid type object: {t}; there are torch.FloatTensor and its kin")
    dtypes.set_default_dtype(t.dtype)


def set_default_device(device) -> None:
    """Choose where new tensors are, on this thread; None: the CPU. Mirrors torch's function."""
    devices.set_default(device)


def get_default_device() -> devices.device:
    """Where new tensors are. Mirrors torch.get_default_device."""
    return devices.check(None)
