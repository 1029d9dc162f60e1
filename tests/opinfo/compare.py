"""Whether two results are the same; if not, in what they differ.

Tolerances: a few units in the last place of each element, and of the largest number there is in
the result or the gradients (sums cancel).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

import minitorch
from minitorch import devices

from .twins import numpy_of

# dtype -> (relative and absolute tolerance, unit in the last place)
TOLERANCE = {"float64": (1e-7, 2.2e-16), "float32": (2e-5, 1.2e-7)}
TOLERANCE |= {"float16": (4e-3, 1e-3), "bfloat16": (2e-2, 8e-3)}
TOLERANCE |= {"complex128": TOLERANCE["float64"], "complex64": TOLERANCE["float32"]}


def flat(result) -> list:
    """A result as a list: one tensor, several, or Python values."""
    if isinstance(result, (tuple, list)) and not isinstance(result, (torch.Size, minitorch.Size)):
        return [item for part in result for item in flat(part)]
    return [result]


def dtypes_of(result) -> set:
    return {value.dtype for value in flat(result) if is_tensor(value)}


def is_tensor(value) -> bool:
    return isinstance(value, (torch.Tensor, minitorch.Tensor))


def array_of(tensor) -> np.ndarray:
    if isinstance(tensor, minitorch.Tensor):
        return devices.moved(tensor.array, devices.CPU)
    if tensor._is_zerotensor():  # PyTorch has zeros without memory
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return numpy_of(tensor.detach().resolve_conj().resolve_neg())


class Result(NamedTuple):
    """A result, and what is unique of it: eigenvectors, for one, may have either sign."""

    raw: Any
    unique: Any


def difference(got, expected, overrides=(0.0, 0.0), values=True) -> str | None:
    """None if `got` is what PyTorch's `expected` is: nested alike, same types, shapes, values."""
    if isinstance(expected, Result):
        wrong = difference(got.raw, expected.raw, overrides, values)
        if wrong is None or expected.unique is expected.raw:
            return wrong
        return difference(got.raw, expected.raw, values=False) or difference(
            got.unique, expected.unique, overrides, values
        )
    for name in _fields(expected):
        if not hasattr(got, name):
            return f"the result has no field .{name}"
    got, expected = flat(got), flat(expected)
    if len(got) != len(expected):
        return f"got {len(got)} results, expected {len(expected)}"
    largest = max([_largest(b) for b in expected if is_tensor(b)], default=0.0) if values else 0.0
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        wrong = _difference(a, b, overrides, values, largest)
        if wrong:
            return wrong if len(got) == 1 else f"result {number}: {wrong}"
    return None


def _fields(value) -> list[str]:
    """The names in a named tuple: .values and .indices of max."""
    if not isinstance(value, tuple) or type(value) in (tuple, torch.Size):
        return []
    ordinary = {*dir(tuple), "n_fields", "n_sequence_fields", "n_unnamed_fields"}
    return [name for name in dir(value) if name[0] != "_" and name not in ordinary]


def _difference(got, expected, overrides, values, largest) -> str | None:
    if not is_tensor(expected):
        return _python_difference(got, expected, values)
    if not isinstance(got, minitorch.Tensor):
        return f"got {got!r}, expected a tensor: {short(expected)}"
    if got.dtype.name != str(expected.dtype).removeprefix("torch."):
        return f"got dtype {got.dtype}, expected {expected.dtype}"
    a, b = array_of(got), array_of(expected)
    if a.shape != b.shape:
        return f"got shape {a.shape}, expected {b.shape}"
    if not values or a.size == 0:
        return None
    name = got.dtype.name
    if name not in TOLERANCE:
        same = a == b
    else:
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        a, b = a.astype(wide), b.astype(wide)
        with np.errstate(all="ignore"):
            tolerance, unit = TOLERANCE[name]
            atol = max(tolerance, 16 * unit * largest, overrides[1])
            same = _close(a, b, max(tolerance, overrides[0]), atol)
    if np.all(same):
        return None
    wrong = np.argwhere(~np.asarray(same))
    where = tuple(int(i) for i in wrong[0])
    return (
        f"{len(wrong)} of {a.size} elements differ, first at {list(where)}: "
        f"got {_number(a[where])}, expected {_number(b[where])}\n"
        f"      got      {short(got)}\n      expected {short(expected)}"
    )


def _largest(tensor) -> float:
    array = array_of(tensor)
    if array.dtype.name not in TOLERANCE:
        return 0.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0))


def _close(a, b, rtol, atol):
    if a.dtype.kind == "c":  # infinities and nans part by part
        return _close(a.real, b.real, rtol, atol) & _close(a.imag, b.imag, rtol, atol) | (
            np.isfinite(b) & (np.abs(a - b) <= atol + rtol * np.abs(b))
        )
    return np.isclose(a, b, rtol, atol, equal_nan=True)


def _python_difference(got, expected, values) -> str | None:
    if isinstance(expected, torch.Size):
        return None if tuple(got) == tuple(expected) else f"got {got!r}, expected {expected!r}"
    if type(got) is not type(expected):
        return f"got {got!r}, expected {expected!r}"
    if isinstance(expected, (float, complex)):
        same = bool(_close(np.array(got), np.array(expected), 1e-6, 1e-6))
    else:
        same = got == expected
    return None if same or not values else f"got {got!r}, expected {expected!r}"


# Showing


def short(value, limit: int = 8) -> str:
    """A value in one line: float64[2, 3] = [1.0, ...]."""
    if is_tensor(value):
        if value.ndim > 64 or getattr(value, "layout", None) is torch.sparse_coo:
            return f"a tensor {tuple(value.shape)}"
        array = array_of(value)
        dtype = str(value.dtype).removeprefix("torch.")
        steps = tuple(value.stride())
        odd = "" if value.is_contiguous() or not array.size else f" strides {list(steps)}"
        grad = " grad" if value.requires_grad and value.grad_fn is None else ""
        elements = array.ravel()[:limit].tolist()
        text = ", ".join(_number(e) for e in elements) + (", ..." if array.size > limit else "")
        return f"{dtype}{list(array.shape)}{odd}{grad} = [{text}]"
    if isinstance(value, (list, tuple)) and any(is_tensor(v) for v in value):
        return "[" + ", ".join(short(v, 6) for v in value) + "]"
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return repr(value)


def _number(value) -> str:
    if isinstance(value, complex):
        return f"{value.real:.5g}{value.imag:+.5g}j"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def call_text(sample) -> str:
    """The arguments of a sample, as in a call."""
    parts = [short(sample.input), *[short(a) for a in sample.args]]
    parts += [f"{k}={short(v)}" for k, v in sample.kwargs.items()]
    return ", ".join(parts)
