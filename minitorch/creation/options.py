"""What all functions that make tensors share: dtype=, device=, requires_grad=, out=.

PyTorch: c10/core/TensorOptions.h.
"""

from __future__ import annotations

import functools
import inspect

import numpy as np

from .. import devices, dtypes
from ..dispatch.declare import composite
from ..dispatch.dims import sizes
from ..dispatch.out import fill
from ..tensor import Tensor, wrap


def numpy_type(dtype, like=None):
    """NumPy's type for `dtype`; by default that of the tensor `like`, or the default dtype's."""
    if dtype is not None:
        return dtypes.as_dtype(dtype).numpy
    return dtypes.get_default_dtype().numpy if like is None else like.array.dtype


def shape_of(size: tuple) -> tuple[int, ...]:
    """zeros(2, 3), zeros((2, 3)) and zeros(size) all as (2, 3). RuntimeError if one is negative."""
    shape = sizes(size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
    return shape


def finish(array, dtype, device, requires_grad=False) -> Tensor:
    """The tensor of `array`, converted if a dtype is given, as a leaf of the graph."""
    if dtype is not None:
        array = array.astype(dtypes.as_dtype(dtype).numpy, copy=False)
    tensor = wrap(devices.moved(array, devices.check(device)))
    if requires_grad:
        tensor.requires_grad = True
    return tensor


def creation(make=None, *, name="", **entry):
    """Make a function that returns an array one that creates a tensor, with PyTorch's options.

    device, requires_grad, out, pin_memory; layout and memory_format are accepted: there is one.
    """
    if make is None:
        return functools.partial(creation, name=name, **entry)

    anywhere = "like" in inspect.signature(make).parameters  # else it is made on the CPU, and moved

    @functools.wraps(make)
    def create(
        *args,
        device=None,
        requires_grad=False,
        out=None,
        layout=None,
        pin_memory=False,
        memory_format=None,
        **options,
    ):
        if out is not None:
            return fill(out, lambda: wrap(make(*args, **options)), (), {})
        if args and isinstance(args[0], Tensor):  # zeros_like(x), x.new_zeros()
            device = args[0].device if device is None else device
            with devices.guard(args[0].array):
                return finish(make(*args, **options), None, device, requires_grad)
        where = devices.check(device)
        if anywhere and where is not devices.CPU:
            options["like"] = like = devices.prototype(where)
            with devices.guard(like):
                return finish(make(*args, **options), None, where, requires_grad)
        made = wrap(devices.moved(make(*args, **options), where))
        if requires_grad:
            made.requires_grad = True
        return made.pin_memory() if pin_memory else made

    create.__name__ = create.__qualname__ = name or make.__name__
    return composite(create, method=entry.pop("method", False), **entry)


def number(value):
    """The Python number of a tensor or NumPy scalar of one element; other numbers as they are."""
    return value.item() if isinstance(value, (Tensor, np.generic)) else value
