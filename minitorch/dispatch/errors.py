"""NumPy's complaints in PyTorch's words and exception types."""

from __future__ import annotations

import re

from ..tensor import Tensor


class Intended(ValueError):
    """A ValueError where PyTorch raises one too: `translate` leaves it a ValueError."""


def translate(error: Exception, op, inputs: list) -> Exception:
    """The exception that PyTorch raises where NumPy raised `error` in `op` of `inputs`."""
    message = str(error)
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    found = {str(t.device) for t in tensors}
    if len(found) > 1:
        return RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(sorted(found))}! (in {op.name.lstrip('_')})"
        )
    if message.startswith("Implicit conversion to a NumPy array"):  # CuPy's, of its arrays
        return RuntimeError(
            f"{op.name}: an argument is on a GPU, and the tensor on {', '.join(found)}: expected "
            "all tensors to be on the same device (indices may also be on the CPU)"
        )
    axis = re.search(r"axis (-?\d+) is out of bounds for array of dimension (\d+)", message)
    if axis:
        dim, ndim = int(axis[1]), max(int(axis[2]), 1)
        return IndexError(
            f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
            f"but got {dim})"
        )
    if isinstance(error, IndexError):
        return IndexError(_index(message))
    if "could not be broadcast" in message or "shape mismatch" in message:
        matrices = 2 if op.name == "matmul" else 0  # only the dimensions before them broadcast
        return RuntimeError(_sizes(tensors, message, matrices))
    name = op.name.lstrip("_")
    if name not in message.partition(" ")[0]:  # it may begin with it: "exp() takes 1 ..."
        message = f"{name}: {message}"
    if isinstance(error, ValueError):
        return ValueError(message) if isinstance(error, Intended) else RuntimeError(message)
    if isinstance(error, TypeError):
        return TypeError(message)
    return error


def _index(message: str) -> str:
    """What is wrong with an index, of which NumPy says `message`."""
    many = re.search(r"array is (\d+)-dimensional, but (\d+) were", message)
    if many:
        return f"too many indices for tensor of dimension {many[1]}: {many[2]} were given"
    mask = re.search(r"along axis (\d+); size of axis is (\d+) but .* is (\d+)", message)
    if mask:
        return (
            f"The shape of the mask at dimension {mask[1]} ({mask[3]}) does not match the shape of "
            f"the indexed tensor there ({mask[2]}): a mask has the tensor's extents"
        )
    return message.replace("axis", "dimension").replace("indexing arrays", "indexing tensors")


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
    """TypeError unless the first of `args` is, or holds, an array: for calls without a Tensor."""
    if not args or not _holds_array(args[0]):
        raise not_a_tensor(op, 0, args[0] if args else None)


def _holds_array(value) -> bool:
    return hasattr(value, "dtype") or (
        type(value) in (list, tuple) and any(_holds_array(v) for v in value)
    )


def not_a_tensor(op, position: int, value) -> TypeError:
    return TypeError(
        f"{op.name}(): argument '{op.parameters[position]}' (position {position + 1}) must be "
        f"Tensor, not {type(value).__name__}; torch.tensor() makes one"
    )


def not_all_tensors(values) -> TypeError:
    """The error for a list in which something is no Tensor."""
    i = next(i for i, value in enumerate(values) if not isinstance(value, Tensor))
    return TypeError(
        f"expected Tensor as element {i} in argument 0, but got {type(values[i]).__name__}; "
        "torch.tensor() makes one"
    )


def only_tensors(op, then=None):
    """A check of arguments: TypeError for a number that `op` does not take. `then` is another."""
    positions = [i for i, name in enumerate(op.promoted) if name not in op.numbers]

    def check(*args):
        for i in positions:
            if i < len(args) and not hasattr(args[i], "dtype"):
                raise not_a_tensor(op, i, args[i])
        if then is not None:
            then(*args)

    return check


def require(condition, message: str, *values, error: type[Exception] = RuntimeError) -> None:
    """Raise `error`, its `message` formatted with `values`, unless `condition` holds."""
    if not condition:
        raise error(message.format(*values))
