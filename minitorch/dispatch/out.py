"""Results put into memory that is there already: out=.

PyTorch: aten/src/ATen/native/Resize.cpp (resize_output), TensorIterator.
"""

from __future__ import annotations

import warnings

import numpy as np

from .. import devices
from ..autograd.grad_mode import mode
from ..tensor import Tensor
from .inplace import check_writable, write


def fill(out, operation, args: tuple, options: dict):
    """`operation(*args, **options)`, its result put into `out`: a tensor, or a tuple of them.

    As in PyTorch `out` takes on the result's shape, keeps its own dtype, and autograd stays out of
    it: RuntimeError if something requires grad, or if `out` is not where the operands are. Returns
    `out`.
    """
    targets = out if isinstance(out, (tuple, list)) else (out,)
    asked = [t for t in (*args, *options.values(), *targets) if isinstance(t, Tensor)]
    if mode.enabled and any(t._requires_grad for t in asked):
        raise RuntimeError(
            f"{operation.__name__}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    result = operation(*args, **options)
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(targets):
        raise TypeError(f"{operation.__name__}(): out must be {len(results)} tensors")
    for target, value in zip(targets, results, strict=True):
        if not devices.together(target.array, value.array):
            check_devices(target, (*args, *options.values()))
        if target.array.shape != value.array.shape:
            if target.array.size:
                warnings.warn(
                    f"An output with one or more elements was resized since it had shape "
                    f"{list(target.shape)}, which does not match the required output shape "
                    f"{list(value.shape)}. Give it that shape, or out.resize_(0) first.",
                    stacklevel=3,
                )
            with devices.guard(target.array):
                target.array = np.empty_like(target.array, shape=value.array.shape)
        check_writable(target, False, asked)
        write(target, value.array)
    return (
        out if len(targets) == 1 else type(result)(*targets) if hasattr(result, "_fields") else out
    )


def check_devices(out: Tensor, operands: tuple) -> None:
    """RuntimeError unless `operands` may go to the device of `out`: numbers, also the CPU's 0-d."""
    for t in operands:
        if isinstance(t, (tuple, list)):
            check_devices(out, tuple(t))
        elif isinstance(t, Tensor) and t.device != out.device and (t.is_cuda or t.array.ndim):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{t.device} and {out.device} (out)!"
            )
