"""Bringing the arguments of an elementwise operation to one type: PyTorch's promotion rules.

Invariant: `promote` is the only place where the arguments of an operation change their types; the
rules themselves are in dtypes.py. PyTorch: aten/src/ATen/native/TypeProperties.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from . import errors
from .op import Op

_NUMBERS = (bool, int, float, complex, np.generic)
WEAK = "fdFD"  # NumPy's codes of the types beside which it lets a Python number keep the type


def promote(op: Op, args: tuple) -> tuple:
    """`args` with all tensors of one dtype, the one PyTorch's rules give. The one place for it.

    Python numbers stay numbers: NumPy lets them take part as weakly as PyTorch does.
    """
    args = _together(args)
    taking_part = [v for n, v in zip(op.parameters, args, strict=False) if n in op.promoted]
    kinds = {v.array.dtype if isinstance(v, Tensor) else type(v) for v in taking_part}
    kinds -= {int, float, type(None)}
    if len(kinds) == 1 and (code := getattr(kinds.pop(), "char", "?")) in WEAK and code in op.codes:
        return args  # one floating type, and numbers that it takes in: nothing to do
    tensors, numbers = [], []
    for value in taking_part:
        if value is None:
            continue
        if isinstance(value, Tensor):
            tensors.append((value.dtype, value.array.ndim))
        elif hasattr(value, "astype") and not isinstance(value, np.generic):
            tensors.append((dtypes.of(value), value.ndim))
        elif isinstance(value, _NUMBERS):
            numbers.append(value)
        else:
            raise errors.not_a_tensor(op, args.index(value), value)
    common = dtypes.combine(tensors, numbers)
    if op.floating and common.category < dtypes.FLOATING:
        common = dtypes.get_default_dtype()
    if common.category not in op.kinds:
        raise NotImplementedError(f"\"{op.name}\" not implemented for '{common.legacy_name}'")
    weak = common.numpy.char in WEAK or (op.exact and common.category == dtypes.FLOATING)
    return tuple(
        _as_type(value, common, weak) if name in op.promoted else value
        for name, value in zip(op.parameters, args, strict=False)
    )


def _together(args: tuple) -> tuple:
    """`args` with the tensors without dimensions of the CPU moved to where the others are."""
    on_cpu = [isinstance(v, Tensor) and type(v.array) is np.ndarray for v in args]
    elsewhere = [v for v, here in zip(args, on_cpu, strict=True) if isinstance(v, Tensor) > here]
    if not elsewhere or True not in on_cpu:
        return args
    return tuple(
        v.to(elsewhere[0].device) if here and v.array.ndim == 0 else v
        for v, here in zip(args, on_cpu, strict=True)
    )


def _as_type(value, common: dtypes.dtype, weak: bool):
    """A tensor or an array of type `common`; a number too, unless it may stay what it is."""
    if isinstance(value, Tensor):
        return value if value.array.dtype == common.numpy else value.to(common)
    if hasattr(value, "astype") and not isinstance(value, np.generic):
        return value.astype(common.numpy, copy=False)
    if value is None or weak:
        return value.item() if isinstance(value, np.generic) else value
    return np.array(value).astype(common.numpy)[()]  # integers wrap around as PyTorch's do
