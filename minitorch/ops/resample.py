"""Taking weighted elements along a dimension: what interpolation and most paddings are.

Entry i of the result is the sum over taps of weight[i] * input[place[i]]: one tap repeats or
mirrors elements, two interpolate linearly, four by a cubic. Its derivative adds each gradient back
to the places it came from, and is linear again.
PyTorch: aten/src/ATen/native/UpSample.h, ReflectionPad.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..dispatch.declare import op


@op(method=False, function=False, alone=True)
def _resample(input, dim, taps):
    """taps: (places, weights) pairs of vectors; weights None means ones."""
    column = (-1, *[1] * (input.ndim - dim - 1))
    out = None
    for places, weights in taps:
        part = input.take(np.asarray(places, like=input), axis=dim)
        if weights is not None:
            part = part * np.asarray(weights, like=input).reshape(column)
        out = part if out is None else out + part
    return out.astype(input.dtype, copy=False)


@op(method=False, function=False, alone=True)
def _resample_back(grad_out, dim, taps, size):
    rows = np.moveaxis(grad_out, dim, 0)
    shape = (size, *rows.shape[1:])
    rows = rows.reshape(len(rows), -1)
    out = 0
    for places, weights in taps:
        part = rows if weights is None else rows * np.asarray(weights, like=rows)[:, None]
        places = np.asarray(places, like=rows)
        out = out + kernels.embedding_backward(part, places, size)
    return np.moveaxis(out.reshape(shape), 0, dim).astype(grad_out.dtype, copy=False)


_resample.derivatives(
    input=lambda grad, input_shape, dim, taps: _resample_back(grad, dim, taps, input_shape[dim])
)
_resample_back.derivatives(grad_out=lambda grad, dim, taps: _resample(grad, dim, taps))
