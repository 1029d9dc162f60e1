"""Diagonals and triangles of matrices.

PyTorch: aten/src/ATen/native/TensorShape.cpp, TriangularOps.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes
from ..dispatch.declare import composite, op, view_op
from ..dispatch.dims import axis
from ..dispatch.errors import require
from ..tensor import wrap
from .index import put_back


@view_op(numpy=np.diagonal)
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonals of the matrices in `dim1` and `dim2`, as a view whose last dimension they are.

    `offset` above the main one. Mirrors torch.diagonal.
    """
    dim1, dim2 = axis(dim1, input.ndim), axis(dim2, input.ndim)
    require(dim1 != dim2, "diagonal dimensions cannot be identical {}, {}", dim1, dim2)
    out = np.diagonal(input, offset, dim1, dim2)
    if type(out) is np.ndarray:  # NumPy has made it read-only
        out.flags.writeable = input.flags.writeable
    return out


diagonal.derivatives(
    input=lambda grad, input_shape, offset, dim1, dim2: put_back(
        grad, input_shape, diagonal.op, (offset, dim1, dim2)
    )
)


@composite
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Matrices in `dim1` and `dim2` with the last dimension of `input` as their diagonals.

    Mirrors torch.diag_embed.
    """
    dims = axis(dim1, input.ndim + 1), axis(dim2, input.ndim + 1)
    require(dims[0] != dims[1], "diagonal dimensions cannot be identical {}, {}", dim1, dim2)
    shape = list(input.shape[:-1])
    for d in sorted(dims):
        shape.insert(d, input.shape[-1] + abs(offset))
    return put_back(input, tuple(shape), diagonal.op, (offset, *dims))


def _triangle(half: str, twin, kept: str, compare) -> None:
    def mask(row, offset, col, like):
        return compare(
            np.arange(row, like=like)[:, None], np.arange(-offset, col - offset, like=like)
        )

    def triangle(input, diagonal=0):
        require(input.ndim > 1, "{}: input tensor must have at least 2 dimensions", half)
        *_, row, col = input.shape
        if input.size <= 4096:
            out = np.where(mask(row, diagonal, col, input), input, input.dtype.type(0))
            return out.astype(input.dtype, copy=False)  # CuPy's where makes float32 of bfloat16
        out = np.zeros_like(input, order="C")
        for i in range(0, row, 64):  # of 64 rows, the diagonal crosses few columns
            j = min(i + 64, row)
            left, right = min(max(i + diagonal, 0), col), min(max(j + diagonal, 0), col)
            crossed = mask(j - i, i + diagonal - left, right - left, input)
            beside = slice(0, left) if half == "tril" else slice(right, col)
            out[..., i:j, beside] = input[..., i:j, beside]
            np.copyto(out[..., i:j, left:right], input[..., i:j, left:right], where=crossed)
        return out

    def indices(row, col, offset=0, *, dtype=dtypes.int64, layout=None, device=None):
        require(row >= 0 <= col, "row and col must be non-negative, got {} and {}", row, col)
        found = np.stack(np.nonzero(mask(row, offset, col, np.empty(0)))).astype(dtype.numpy)
        return wrap(devices.moved(found, devices.check(device)))

    triangle.__name__, indices.__name__ = half, half + "_indices"
    triangle.__doc__ = (
        f"Matrices with only what is on and {kept} the diagonal, `diagonal` above the main one. "
        f"Mirrors torch.{half}."
    )
    indices.__doc__ = f"Where {half} leaves a (row, col) matrix as it is: (2, n). As in torch."
    composite(indices, method=False)
    call = op(triangle, inplace=True, numpy=twin, alone=True)
    call.derivatives(input=lambda grad, diagonal: call(grad, diagonal))


_triangle("triu", np.triu, "above", np.less_equal)
_triangle("tril", np.tril, "below", np.greater_equal)
