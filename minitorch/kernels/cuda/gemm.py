"""One call of cuBLAS for a batch of products: cublasGemmStridedBatchedEx, through ctypes.

cuBLAS wants matrices column by column, as Fortran stores them. Read that way, memory that holds
`out` row by row holds its transpose, and out = a @ b becomes out.T = b.T @ a.T: the same call with
the operands swapped and nothing moved. A matrix that is transposed already is announced as such;
only one whose rows and columns both have gaps is copied. Sums are in float32 for the half
precisions. PyTorch: at::cuda::blas::bgemm (aten/src/ATen/cuda/CUDABlas.cpp).
"""

from __future__ import annotations

import ctypes
import functools
from math import prod
from typing import Any

import numpy as np

from ...cuda import runtime
from .launch import contiguous, empty

# cudaDataType and cublasComputeType_t, and what alpha and beta are stored as
_TYPES = {
    "float32": (0, 68, np.float32),
    "float64": (1, 70, np.float64),
    "float16": (2, 68, np.float32),
    "bfloat16": (14, 68, np.float32),
    "complex64": (4, 68, np.complex64),
    "complex128": (5, 70, np.complex128),
}
_DEFAULT_ALGORITHM = -1


def is_there(array) -> bool:
    """Whether cuBLAS can be called for this array: not in the emulator."""
    return array.dtype.name in _TYPES and hasattr(array.device, "cublas_handle")


def handle(array) -> int:
    """cuBLAS's handle of the array's GPU: CuPy has made it."""
    return array.device.cublas_handle


@functools.cache
def library() -> Any:
    """cuBLAS, as ctypes sees it: the one that CuPy uses."""
    from cuda import pathfinder  # it comes with CuPy

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def batched(a, b):
    """a @ b for (..., n, k) and (..., k, m) of one type, broadcast against each other."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (n, k), m = a.shape[-2:], b.shape[-1]
    if 0 in (*batch, n, k, m):
        return np.zeros_like(a, shape=(*batch, n, m), order="C")
    out = empty((*batch, n, m), a.dtype)
    a, b = (x if _layout(x) else contiguous(x.copy()) for x in (a, b))
    a, b = (
        x if x.shape[:-2] == batch else np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b)
    )
    if _evenly_spaced(a) and _evenly_spaced(b):
        _call(a, b, out, prod(batch))
    else:
        for outer in np.ndindex(*batch[:-1]):
            _call(a[outer], b[outer], out[outer], batch[-1])
    return out


def _evenly_spaced(x) -> bool:
    """Whether one step leads from each matrix of the batch to the next."""
    return all(x.strides[i] == x.strides[i + 1] * x.shape[i + 1] for i in range(x.ndim - 3))


def _layout(x) -> tuple[int, int] | None:
    """(0, elements from row to row) or, if the columns have no gaps, (1, from column to column).

    None if neither rows nor columns are without gaps.
    """
    n, k = x.shape[-2:]
    row, column = (stride // x.itemsize for stride in x.strides[-2:])
    if (column == 1 or k == 1) and (row >= k or n == 1):
        return 0, max(row, k)
    if (row == 1 or n == 1) and (column >= n or k == 1):
        return 1, max(column, n)
    return None


def _call(a, b, out, count: int) -> None:
    """out = a @ b for `count` matrices, which begin at these arrays' first."""
    kind, compute, scalar = _TYPES[out.dtype.name]
    operands: list[Any] = []
    transposed = []
    for x in (b, a):
        turned, leading = _layout(x)  # type: ignore[misc]
        step = ctypes.c_longlong(x.strides[-3] // x.itemsize)
        operands += [ctypes.c_void_p(x.data.ptr), kind, leading, step]
        transposed.append(turned)
    one, zero = (np.array(v, scalar).ctypes for v in (1, 0))
    n, m, k = out.shape[-2], out.shape[-1], a.shape[-1]
    context = ctypes.c_void_p(handle(a))
    stream = ctypes.c_void_p(runtime.library().cuda.get_current_stream().ptr)
    library().cublasSetStream_v2(context, stream)
    status = library().cublasGemmStridedBatchedEx(
        *(context, *transposed, m, n, k),
        *(one.data_as(ctypes.c_void_p), *operands, zero.data_as(ctypes.c_void_p)),
        *(ctypes.c_void_p(out.data.ptr), kind, m, ctypes.c_longlong(n * m)),
        *(count, compute, _DEFAULT_ALGORITHM),
    )
    if status:
        raise RuntimeError(f"CUBLAS error: status {status} of cublasGemmStridedBatchedEx")
