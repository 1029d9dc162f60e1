"""assert_close: whether two values are nearly equal, and if not, where and by how much.

Containers are first taken apart into pairs, with the keys that lead to each; a pair is then
compared as what it is: None, booleans, numbers, or anything that can be made a tensor.
PyTorch: torch/testing/_comparison.py.
"""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap

# (rtol, atol) where none are given; integers and booleans must be equal.
_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}


class _Options(NamedTuple):
    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_stride: bool

    def tolerances(self, *kinds) -> tuple[float, float]:
        """(rtol, atol): those given, or the larger ones of the two types'."""
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        pairs = [_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds]
        return max(r for r, _ in pairs), max(a for _, a in pairs)


def assert_close(
    actual,
    expected,
    *,
    allow_subclasses=True,
    rtol=None,
    atol=None,
    equal_nan=False,
    check_device=True,
    check_dtype=True,
    check_layout=True,
    check_stride=False,
    msg=None,
):
    """Raises AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Takes tensors and what can be made one, numbers, booleans, None, and sequences and mappings of
    them. `rtol`, `atol`: both or neither; by default they depend on the dtype. `equal_nan`: nan
    equals nan. `check_*`: whether that attribute must agree as well. `msg`: the message, or a
    function of the one that would have been. Raises TypeError for what cannot be compared,
    ValueError for one tolerance without the other. Mirrors torch.testing.assert_close.
    """
    __tracebackhide__ = True
    if (rtol is None) != (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}."
        )
    options = _Options(
        allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_stride
    )
    try:
        for path, a, b in list(_pairs(actual, expected, ())):
            problem = _mismatch(a, b, options)
            if problem is not None:
                raise _Different(problem, path)
    except _Different as different:
        text, path = different.args
        if path:
            text += f"\n\nThe failure occurred for item {''.join(str([key]) for key in path)}"
        text = msg(text) if callable(msg) else text if msg is None else msg
        raise AssertionError(text) from None


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=""):
    """The older assert_close, which looks at values alone. Mirrors torch.testing.assert_allclose.

    Deprecated: warns with FutureWarning.
    """
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12. Please use "
        "`torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual = actual if isinstance(actual, Tensor) else _as_tensor(actual)
    if not isinstance(expected, Tensor):
        expected = wrap(np.asarray(expected, actual.dtype.numpy))
    if rtol is None and atol is None:
        older = {dtypes.float16: (1e-3, 1e-3), dtypes.float32: (1e-4, 1e-5)}
        older[dtypes.float64] = (1e-5, 1e-8)
        pairs = [older.get(t.dtype, (0.0, 0.0)) for t in (actual, expected)]
        rtol, atol = max(r for r, _ in pairs), max(a for _, a in pairs)
    assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=True,
        check_dtype=False,
        msg=msg or None,
    )


class _Different(Exception):
    """(What is different, the keys that lead there)."""


def _pairs(actual, expected, path: tuple):
    """(path, actual, expected) for all that is to be compared inside of two values."""
    both = (actual, expected)
    if all(isinstance(v, Sequence) and not isinstance(v, str) for v in both):
        if len(actual) != len(expected):
            raise _Different(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", path
            )
        for i in range(len(actual)):
            yield from _pairs(actual[i], expected[i], (*path, i))
    elif all(isinstance(v, Mapping) for v in both):
        missing, additional = set(expected) - set(actual), set(actual) - set(expected)
        if missing or additional:
            raise _Different(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing)}\n"
                f"Additional keys in the actual mapping: {sorted(additional)}",
                path,
            )
        for key in sorted(actual, key=str):
            yield from _pairs(actual[key], expected[key], (*path, key))
    else:
        yield path, actual, expected


_NUMBERS = (int, float, complex, np.number)


def _mismatch(actual, expected, options: _Options) -> str | None:
    """What is wrong with this pair; None if nothing is."""
    both = (actual, expected)
    if actual is None or expected is None:
        same = actual is expected
        return None if same else f"None mismatch: {actual} is not {expected}"
    if all(isinstance(v, (bool, np.bool_)) for v in both):
        same = bool(actual) is bool(expected)
        return None if same else f"Booleans mismatch: {actual} is not {expected}"
    if all(isinstance(v, _NUMBERS) for v in both):
        a, b = (v.item() if isinstance(v, np.number) else v for v in both)
        return _number_mismatch(a, b, options)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (options.allow_subclasses or type(actual) is type(expected)):
        try:
            first, second = (_as_tensor(v) for v in both)
        except (TypeError, ValueError, RuntimeError):
            pass
        else:
            return _tensor_mismatch(first, second, options)
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


def _as_tensor(value) -> Tensor:
    from ..creation import as_tensor

    return value if isinstance(value, Tensor) else as_tensor(value)


def _number_mismatch(actual, expected, options: _Options) -> str | None:
    # As in PyTorch, the types of two numbers are compared if they stand for themselves.
    if options.check_dtype and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    if actual == expected:
        return None
    if options.equal_nan and cmath.isnan(actual) and cmath.isnan(expected):
        return None
    rtol, atol = options.tolerances(*[dtypes.as_dtype(type(v)) for v in (actual, expected)])
    difference = abs(actual - expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return None
    return _scalar_message(actual, expected, rtol, atol)


def _scalar_message(actual, expected, rtol: float, atol: float) -> str:
    difference = abs(actual - expected)
    relative = float("inf") if expected == 0 else difference / abs(expected)
    exact = rtol == 0 == atol
    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\n"
        f"Expected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_allowed(atol, exact)}\n"
        f"Relative difference: {relative}{_allowed(rtol, exact)}"
    )


def _allowed(tolerance: float, exact: bool) -> str:
    return "" if exact else f" (up to {tolerance} allowed)"


def _tensor_mismatch(actual: Tensor, expected: Tensor, options: _Options) -> str | None:
    checks = {"shape": True, "stride()": options.check_stride, "device": options.check_device}
    for name, checked in (checks | {"dtype": options.check_dtype}).items():
        a, b = (t.stride() if name == "stride()" else getattr(t, name) for t in (actual, expected))
        if checked and a != b:
            return f"The values for attribute '{name}' do not match: {a} != {b}."
    rtol, atol = options.tolerances(actual.dtype, expected.dtype)
    common = dtypes.promote_types(actual.dtype, expected.dtype).numpy
    a, b = actual.array.astype(common), expected.array.astype(common)
    close = _is_close(a, b, rtol, atol, options.equal_nan)
    if close.all():
        return None
    if not a.shape:
        return _scalar_message(a.item(), b.item(), rtol, atol)
    return _array_message(a, b, close, rtol, atol)


def _is_close(a, b, rtol: float, atol: float, equal_nan: bool):
    """|a - b| <= atol + rtol * |b|, true for equal infinities."""
    close = a == b
    if equal_nan:
        close |= (a != a) & (b != b)
    if rtol or atol:
        difference = np.abs(a - b) if a.dtype != bool else a != b
        close |= np.isfinite(difference) & (difference <= atol + rtol * np.abs(b))
    return close


def _array_message(a, b, close, rtol: float, atol: float) -> str:
    if a.dtype.kind in "biu":
        a, b = a.astype(np.int64), b.astype(np.int64)
    difference = np.abs(a - b)
    relative: Any = difference / np.abs(b)
    exact = rtol == 0 == atol
    wrong = int(close.size - close.sum())
    lines = [
        f"Tensor-likes are not {'equal' if exact else 'close'}!",
        "",
        f"Mismatched elements: {wrong} / {close.size} ({wrong / close.size:.1%})",
    ]
    named = (("absolute", difference, atol), ("relative", relative, rtol))
    for name, values, tolerance in named:
        values = np.where(close, 0, values)
        at = int(np.argmax(values))
        index = tuple(int(i) for i in np.unravel_index(at, values.shape))
        lines.append(
            f"Greatest {name} difference: {values.flat[at].item()} at index {index}"
            + _allowed(tolerance, exact)
        )
    return "\n".join(lines)
