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


def check_array(op, args: tuple) -> None:
    """TypeError unless there is an array among `args`: for calls without any Tensor."""
    if not args or not (hasattr(args[0], "dtype") or _holds_array(args)):
        raise _not_a_tensor(op, 0, args[0] if args else None)


def _holds_array(value) -> bool:
    return hasattr(value, "dtype") or (
        type(value) in (list, tuple) and any(_holds_array(v) for v in value)
    )


def _not_a_tensor(op, position: int, value) -> TypeError:
    return TypeError(
        f"{op.name}(): argument '{op.parameters[position]}' (position {position + 1}) must be "
        f"Tensor, not {type(value).__name__}"
    )


def only_tensors(op, then=None):
    """A check of arguments: TypeError for a number that `op` does not take. `then` is another."""
    positions = [i for i, name in enumerate(op.promoted) if name not in op.numbers]

    def check(*args):
        for i in positions:
            if i < len(args) and not hasattr(args[i], "dtype"):
                raise _not_a_tensor(op, i, args[i])
        if then is not None:
            then(*args)

    return check


def require(condition, message: str, *values, error: type[Exception] = RuntimeError) -> None:
    """Raise `error`, its `message` formatted with `values`, unless `condition` holds."""
    if not condition:
        raise error(message.format(*values))
