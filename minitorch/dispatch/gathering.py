"""What a ufunc makes of many elements: reduce, accumulate and at, on a GPU as well.

NumPy's ufuncs all have these methods, CuPy's hardly any: there kernels do it. Each function here is
NumPy's own on the CPU. CuPy: cupy/_core/_kernel.pyx (class ufunc).
"""

from __future__ import annotations

import numpy as np

from .. import kernels


def extreme(ufunc, array, axes, keepdim=False):
    """np.maximum.reduce, or np.minimum.reduce."""
    if type(array) is np.ndarray:
        return ufunc.reduce(array, axes, None, None, keepdim)
    found = np.amax if ufunc is np.maximum else np.amin
    return found(array, axis=axes, keepdims=keepdim)


def accumulate(ufunc, array, axis: int, dtype=None):
    """ufunc.accumulate, of add, multiply, maximum, minimum or logaddexp."""
    if type(array) is np.ndarray or array.dtype.kind == "c":
        return ufunc.accumulate(array, axis, dtype)
    array = array.astype(dtype or array.dtype, copy=False)
    return kernels.find("accumulate", array)(array, ufunc.__name__, axis)


def at(ufunc, vector, numbers, values) -> None:
    """ufunc.at: vector[numbers] = ufunc(vector[numbers], values), also where a number repeats."""
    if type(vector) is np.ndarray:
        ufunc.at(vector, numbers, values)
    elif vector.dtype.kind == "c" and ufunc is np.add:
        at(ufunc, vector.real, numbers, np.real(values))
        at(ufunc, vector.imag, numbers, np.imag(values))
    else:
        values = np.asarray(values, like=vector).astype(vector.dtype, copy=False)
        values = np.broadcast_to(values, numbers.shape).reshape(-1, 1)
        scatter = kernels.find("scatter", vector)
        scatter(vector[:, None], numbers.reshape(-1), values, ufunc.__name__)
