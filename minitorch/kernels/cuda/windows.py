"""Windows over one to three dimensions, as windows.cuh has them: 18 numbers in device memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...cuda import runtime
from .launch import empty


def on_device(*sizes) -> Any:
    """input, kernel, stride, padding, dilation and output sizes, made three-dimensional."""
    return _on_device(runtime.current(), *map(tuple, sizes))


@functools.lru_cache(maxsize=1024)
def _on_device(device: int, *sizes):
    fill = (1, 1, 1, 0, 1, 1)  # of the dimensions that are not there
    rows = [(value,) * (3 - len(size)) + size for value, size in zip(fill, sizes, strict=True)]
    return runtime.library().asarray(np.array(rows, np.int32))


def each(value, n: int) -> tuple[int, ...]:
    """One number for each of n dimensions."""
    return (value,) * n if isinstance(value, int) else tuple(value)


def by_parts(function, z):
    """A linear `function`, whose kernel knows only real numbers, of both parts of z."""
    real = function(z.real)
    out = empty(real.shape, z.dtype)
    out.real, out.imag = real, function(z.imag)
    return out
