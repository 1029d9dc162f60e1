"""Fused kernels: `kernels.softmax_forward(x, -1)` runs the implementation of the device of x.

What NumPy expresses badly lives below, once for each device, under one name and signature: in
`cpu` for NumPy arrays, in `cuda` for CuPy's. An op calls the name here; the type of the first array
decides. For a NumPy array that is one comparison of types, then the function itself.

A device is a module that provides (some of) these functions, registered with the type of its
arrays by `register`. A kernel that the device lacks raises NotImplementedError naming both.
PyTorch: aten/src/ATen/native/DispatchStub.h, and the dispatcher above it.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import cpu
from .cpu import LARGE, get_num_threads, pointwise, set_num_threads

if TYPE_CHECKING:  # for readers and type checkers: the signatures are the CPU's
    from .cpu import *  # noqa: F403

__all__ = [*cpu.__all__, "register"]

_devices: dict[type, tuple[str, ModuleType]] = {}


def register(array_type: type, device: str, module: ModuleType) -> None:
    """Lets `module` provide the kernels for arrays of `array_type`, on the device named so."""
    _devices[array_type] = device, module


def _dispatched(name: str):
    """The function that looks at its first array and calls the device's kernel of that name."""
    on_cpu = getattr(cpu, name)

    @functools.wraps(on_cpu)
    def kernel(array, *args, **kwargs) -> Any:
        if type(array) is np.ndarray:
            return on_cpu(array, *args, **kwargs)
        return find(name, array)(array, *args, **kwargs)

    return kernel


def find(name: str, array: Any):
    """The function that implements the kernel for the type of `array`."""
    for array_type in type(array).__mro__:
        if array_type in _devices:
            device, module = _devices[array_type]
            try:
                return getattr(module, name)
            except AttributeError:
                raise NotImplementedError(
                    f"the kernel {name} has no implementation for device '{device}'"
                ) from None
    if isinstance(array, np.generic):  # the scalars that NumPy makes of arrays without dimensions
        return lambda scalar, *args, **kwargs: getattr(cpu, name)(
            np.asarray(scalar), *args, **kwargs
        )
    raise NotImplementedError(
        f"the kernel {name} has no implementation for arrays of type {type(array).__name__}"
    )


register(np.ndarray, "cpu", cpu)
for _name in cpu.__all__:
    if _name not in ("LARGE", "get_num_threads", "pointwise", "set_num_threads"):
        globals()[_name] = _dispatched(_name)
