"""How a tensor looks when it is printed.

Why: a tensor's repr is the first thing anybody sees of a framework, and a doctest or a log written
under PyTorch should read the same here, to the last space.
Invariant: a large tensor is cut down to its edges before anything is formatted, so printing costs
the same for a thousand elements and for a billion. All numbers of a tensor share one format.
PyTorch: torch/_tensor_str.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np

from minitorch import devices, dtypes


@dataclasses.dataclass
class _Options:
    precision: int = 4  # digits after the point
    threshold: float = 1000  # more elements than this are summarised
    edgeitems: int = 3  # what a summary keeps at either end of a dimension
    linewidth: int = 80
    sci_mode: bool | None = None  # None: decided by the values


_PROFILES: dict[str, dict] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are printed. Mirrors torch.set_printoptions.

    An option left out keeps its value, except sci_mode, which goes back to None (chosen by the
    values), as in PyTorch. `profile` is "default", "short" or "full"; the other options override
    it. Raises ValueError for another profile.
    """
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"unknown profile {profile!r}: expected one of {', '.join(_PROFILES)}")
    changes: dict[str, Any] = dict(_PROFILES[profile]) if profile else {}
    given = {"precision": precision, "threshold": threshold}
    given |= {"edgeitems": edgeitems, "linewidth": linewidth}
    changes |= {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict:
    """The present options, ready for `set_printoptions(**options)`."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options):
    """Change the options for a with-block: `with printoptions(precision=2): print(x)`."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_repr(tensor) -> str:
    """The text that `print(tensor)` shows, for any shape and dtype. Mirrors torch.Tensor.__repr__.

    Reads the tensor's array, dtype, device, grad_fn and requires_grad. A subclass prints under its
    own name; nn.Parameter puts its "Parameter containing:" in front of what this returns.
    """
    array, dtype = tensor.array, tensor.dtype
    name = type(tensor).__name__
    start = "tensor(" if name in ("Tensor", "Parameter") else f"{name}("
    text = start + ("[]" if array.size == 0 else _array_text(array, indent=len(start)))

    suffixes = []
    if (device := str(tensor.device)) != "cpu":
        suffixes.append(f"device='{device}'")
    if (array.size == 0 and array.ndim != 1) or (array.size and not _options.edgeitems):
        suffixes.append(f"size={tuple(array.shape)}")
    if not _dtype_is_obvious(dtype, array.size == 0):
        suffixes.append(f"dtype={dtype}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _append_suffixes(text, suffixes, indent=len(start)) + ")"


def _dtype_is_obvious(dtype, empty: bool) -> bool:
    """Whether typing the printed numbers into `tensor(...)` would give this dtype anyway."""
    default = dtypes.get_default_dtype()
    if dtype is default or empty:  # an empty tensor shows no element to tell its type by
        return dtype is default
    if dtype.is_complex:
        return dtype is (dtypes.complex128 if default is dtypes.float64 else dtypes.complex64)
    return dtype in (dtypes.int64, dtypes.bool_)


def _append_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    column = len(text) - text.rfind("\n") + 1  # 2 more than is printed: room for ", " to come
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text


def _array_text(array: np.ndarray, indent: int) -> str:
    """The nested brackets of a non-empty array whose first bracket stands in column `indent`."""
    cut = (False,) * array.ndim
    if array.size > _options.threshold and array.ndim:
        if not _options.edgeitems:
            return "[...]"
        cut = tuple(n > 2 * _options.edgeitems for n in array.shape)
        with devices.guard(array):
            array = _edges(array, cut)
    flat = devices.moved(array, devices.CPU).reshape(-1)
    if np.iscomplexobj(flat):
        cells, width = _complex_cells(flat)
    else:
        cells, width = _real_cells(flat)
    per_line = max(1, (_options.linewidth - indent - max(array.ndim - 1, 0)) // (width + 2))
    return _brackets(cells, array.shape, cut, indent, per_line)


def _edges(array: np.ndarray, cut: tuple[bool, ...]) -> np.ndarray:
    """The first and last `edgeitems` along each dimension that is cut."""
    for axis, is_cut in enumerate(cut):
        if is_cut:
            first, last = [slice(None)] * axis, [slice(None)] * axis
            first.append(slice(_options.edgeitems))
            last.append(slice(-_options.edgeitems, None))
            array = np.concatenate((array[tuple(first)], array[tuple(last)]), axis)
    return array


def _brackets(cells: list[str], shape, cut, indent: int, per_line: int) -> str:
    """Lay the formatted elements out, one pair of brackets per dimension."""
    if not shape:
        return cells[0]
    margin = "\n" + " " * (indent + 1)
    if len(shape) == 1:
        if cut[0]:
            cells = [*cells[: shape[0] // 2], " ...", *cells[shape[0] // 2 :]]
        lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "[" + ("," + margin).join(lines) + "]"
    size = len(cells) // shape[0]
    blocks = [
        _brackets(cells[i : i + size], shape[1:], cut[1:], indent + 1, per_line)
        for i in range(0, len(cells), size)
    ]
    if cut[0]:
        blocks.insert(len(blocks) // 2, "...")
    # Matrices are separated by an empty line, blocks of matrices by two, and so on.
    return "[" + ("," + "\n" * (len(shape) - 2) + margin).join(blocks) + "]"


def _real_cells(flat: np.ndarray) -> tuple[list[str], int]:
    """The elements of a 1-d array as right-aligned text, and their common width."""
    if flat.dtype.kind in "biu":
        cells = [str(value) for value in flat.tolist()]
        width = max(map(len, cells))
    else:
        cells, width = _float_cells(flat.astype(np.float64))
    return [cell.rjust(width) for cell in cells], width


def _float_cells(flat: np.ndarray) -> tuple[list[str], int]:
    """Float64 elements in the one notation that suits them all, and the column's width.

    Whole numbers are shown as `3.`, others with `precision` digits; a wide range of magnitudes, or
    very large or small ones, in scientific notation. Zeros, nan and inf have no say, neither in the
    notation nor in the width (PyTorch's rule: so -0.0000 may stick out of its column).
    """
    says = np.isfinite(flat) & (flat != 0)
    deciding = flat[says]
    whole = True
    scientific: bool | None = False
    if deciding.size:
        whole = bool((deciding == np.floor(deciding)).all())
        scientific = _options.sci_mode
        if scientific is None:
            sizes = np.abs(deciding)
            low, high = sizes.min(), sizes.max()
            with np.errstate(over="ignore"):
                scientific = high / low > 1000 or high > 1e8 or low < 1e-4
    if scientific:
        form = f"{{:.{_options.precision}e}}"
    else:
        form = "{:.0f}" if whole else f"{{:.{_options.precision}f}}"
    cells = [form.format(value) for value in flat.tolist()]
    if whole and not scientific:  # the point tells a whole float from an int
        finite = np.isfinite(flat).tolist()
        cells = [cell + "." if ok else cell for cell, ok in zip(cells, finite, strict=True)]
    width = max((len(cell) for cell, counts in zip(cells, says, strict=True) if counts), default=1)
    return cells, width


def _complex_cells(flat: np.ndarray) -> tuple[list[str], int]:
    """Complex elements as `1.0000+2.0000j`; the real and imaginary parts each have a notation."""
    real, real_width = _real_cells(np.real(flat))
    imag, imag_width = _float_cells(np.imag(flat).astype(np.float64))
    signed = [i if i.startswith("-") else "+" + i for i in imag]
    cells = [r + i + "j" for r, i in zip(real, signed, strict=True)]
    return cells, real_width + imag_width + 1
