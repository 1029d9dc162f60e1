"""NumPy's complaints in PyTorch's words and exception types."""

from __future__ import annotations

import re

from ..tensor import Tensor


def translate(error: Exception, op, inputs: list) -> Exception:
    """The exception that PyTorch raises where NumPy raised `error` in `op` of `inputs`."""
    message = str(error)
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    found = {str(t.device) for t in tensors}
    if len(found) > 1:
        return RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(sorted(found))}! (in {op.name})"
        )
    axis = re.search(r"axis (-?\d+) is out of bounds for array of dimension (\d+)", message)
    if axis:
        dim, ndim = int(axis[1]), max(int(axis[2]), 1)
        return IndexError(
            f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
            f"but got {dim})"
        )
    if isinstance(error, IndexError):
        return IndexError(message.replace("axis", "dimension"))
    if "could not be broadcast" in message or "shape mismatch" in message:
        matrices = 2 if op.name == "matmul" else 0  # only the dimensions before them broadcast
        return RuntimeError(_sizes(tensors, message, matrices))
    if isinstance(error, ValueError):
        return RuntimeError(f"{op.name}: {message}")
    if isinstance(error, TypeError):
        return TypeError(f"{op.name}: {message}")
    return error


def _sizes(tensors: list[Tensor], message: str, leave_out: int = 0) -> str:
    """Which sizes do not match, and where."""
    shapes = [t.array.shape[: t.array.ndim - leave_out] for t in tensors]
    if len(shapes) == 2:
        a, b = shapes
        ndim = max(len(a), len(b))
        for dim in reversed(range(ndim)):
            n = a[dim - ndim + len(a)] if dim >= ndim - len(a) else 1
            m = b[dim - ndim + len(b)] if dim >= ndim - len(b) else 1
            if n != m and 1 not in (n, m):
                return (
                    f"The size of tensor a ({n}) must match the size of tensor b ({m}) at "
                    f"non-singleton dimension {dim}"
                )
    return f"shapes {' and '.join(str(list(s)) for s in shapes)} do not go together: {message}"
