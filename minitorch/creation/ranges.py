"""Numbers in sequence: arange, linspace, logspace, to the last digit as PyTorch counts them.

PyTorch: aten/src/ATen/native/RangeFactories.cpp, cpu/RangeFactoriesKernel.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from .options import creation, number, numpy_type


@creation
def arange(start, end=None, step=1, *, dtype=None, like=None):
    """start, start + step, ... below `end`; arange(end) starts at 0. Mirrors torch.arange."""
    if end is None:
        start, end = 0, start
    limits = [number(v) for v in (start, end, step)]
    if dtype is None:
        floating = any(isinstance(v, float) for v in limits)
        dtype = dtypes.get_default_dtype() if floating else dtypes.int64
    if not all(map(math.isfinite, limits)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    start, end, step = map(int, limits) if dtype is dtypes.int64 else limits
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    length = math.ceil((end - start) / step)
    if dtype.category >= dtypes.FLOATING:  # on the CPU, whose rounding it is
        return _counted(start, step, np.arange(length), dtype.numpy)
    i = np.arange(length, like=like)
    return (i * int(step) + int(start)).astype(dtype.numpy)


@creation
def range(start, end=None, step=1, *, dtype=None):
    """As `arange`, but with `end`, and of the default dtype. Mirrors torch.range."""
    start, end, step = [
        number(v) for v in ((0, start, step) if end is None else (start, end, step))
    ]
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError("step must be nonzero, and lead from the lower bound to the upper one")
    i = np.arange(math.floor((end - start) / step) + 1)
    return (start + step * i).astype(numpy_type(dtype))


def _counted(start, step, i, kind):
    """start + step * i, rounded to `kind` where PyTorch rounds.

    It counts 32 bytes of results at a time, from a first one that is rounded already; what is left
    after the last 64 bytes is counted one by one.
    """
    lanes = 32 // kind.itemsize
    whole = len(i) // (2 * lanes) * (2 * lanes)
    first = _multiply_add(start, step, i[:whole:lanes], kind).astype(np.float64)
    blocks = _multiply_add(first[:, None], step, np.arange(lanes), kind)
    return np.concatenate([blocks.reshape(-1), _multiply_add(start, step, i[whole:], kind)])


def _multiply_add(start, step, i, kind):
    """start + step * i as `kind`, with one rounding, as the processor's instruction for it has."""
    wide = np.longdouble if kind == np.float64 else np.float64
    wide = kind.type if kind.kind == "c" else wide
    return (start + wide(step) * i).astype(kind)


def _even(start, end, steps: int, dtype):
    """`steps` numbers from `start` to `end`, with PyTorch's rounding.

    It counts from both ends towards the middle, in the type of the result; integers in float64,
    whose fraction is then cut off.
    """
    kind = numpy_type(dtype)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = [np.array(number(v)).astype(kind).item() for v in (start, end)]
    counting = np.dtype(np.float64) if kind.kind in "iu" else kind
    step = counting.type(end - start) / counting.type(max(steps - 1, 1))
    step = step.item() if kind.kind == "c" else float(step)
    i = np.arange(steps)
    first = _multiply_add(start, step, i, counting)
    last = _multiply_add(end, -step, steps - 1 - i, counting)
    return np.where(i < max(steps // 2, 1), first, last), kind


@creation
def linspace(start, end, steps, *, dtype=None):
    """`steps` evenly spaced values from `start` to `end`, both included. Mirrors torch.linspace."""
    values, kind = _even(start, end, steps, dtype)
    return values.astype(kind)


@creation
def logspace(start, end, steps, base=10.0, *, dtype=None):
    """`base` to the power of evenly spaced values, both ends included. Mirrors torch.logspace."""
    values, kind = _even(start, end, steps, dtype)
    return np.power(base, values).astype(kind)
