"""The types of elements, and the rules by which two of them become one.

Why: NumPy and PyTorch name their types alike but combine them differently (NumPy: int32 array +
float32 array is float64; PyTorch: float32). A `dtype` here is PyTorch's object around NumPy's.
Invariant: `combine` is the only place that decides what several types become.
PyTorch: c10/core/ScalarType.h (promoteTypes), aten/src/ATen/native/TypeProperties.cpp.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

_bfloat16: Any = None
_float_limits: Any = np.finfo
try:  # NumPy has no bfloat16; ml_dtypes adds one that its ufuncs understand.
    import ml_dtypes

    _bfloat16, _float_limits = ml_dtypes.bfloat16, ml_dtypes.finfo
except ImportError:  # then asking for bfloat16 is an error that names the package
    pass

BOOL, INTEGER, FLOATING, COMPLEX = range(4)  # the categories of promotion, lowest first


class dtype:
    """An element type, such as `float32`. Mirrors torch.dtype.

    `numpy` is NumPy's own type; `category` one of BOOL, INTEGER, FLOATING, COMPLEX; `name` the
    bare name. Printed as PyTorch prints its own ("torch.float32"), so that what is printed agrees.
    """

    __slots__ = ("_numpy", "category", "itemsize", "legacy_name", "name")

    def __init__(self, name: str, numpy_type, category: int, itemsize: int, legacy_name: str):
        self.name = name
        self._numpy = None if numpy_type is None else np.dtype(numpy_type)
        self.category = category
        self.itemsize = itemsize
        self.legacy_name = legacy_name  # "Float" as in torch.FloatTensor

    @property
    def numpy(self) -> np.dtype:
        if self._numpy is None:
            raise TypeError(f"{self.name} needs the package ml_dtypes: pip install ml_dtypes")
        return self._numpy

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOATING

    @property
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    @property
    def is_signed(self) -> bool:
        return self.name not in ("bool", "uint8")

    def __repr__(self) -> str:
        return "torch." + self.name

    def __reduce__(self):
        return _by_name, (self.name,)


def _by_name(name: str) -> dtype:
    return next(d for d in ALL if d.name == name)


bool_ = dtype("bool", np.bool_, BOOL, 1, "Bool")
uint8 = dtype("uint8", np.uint8, INTEGER, 1, "Byte")
int8 = dtype("int8", np.int8, INTEGER, 1, "Char")
int16 = dtype("int16", np.int16, INTEGER, 2, "Short")
int32 = dtype("int32", np.int32, INTEGER, 4, "Int")
int64 = dtype("int64", np.int64, INTEGER, 8, "Long")
float16 = dtype("float16", np.float16, FLOATING, 2, "Half")
bfloat16 = dtype("bfloat16", _bfloat16, FLOATING, 2, "BFloat16")
float32 = dtype("float32", np.float32, FLOATING, 4, "Float")
float64 = dtype("float64", np.float64, FLOATING, 8, "Double")
complex64 = dtype("complex64", np.complex64, COMPLEX, 8, "ComplexFloat")
complex128 = dtype("complex128", np.complex128, COMPLEX, 16, "ComplexDouble")

ALL: tuple[dtype, ...] = (bool_, uint8, int8, int16, int32, int64)
ALL += (float16, bfloat16, float32, float64, complex64, complex128)

# PyTorch's other names. They shadow Python's own, so they live in a table until `minitorch` itself.
ALIASES = {"bool": bool_, "short": int16, "int": int32, "long": int64, "half": float16}
ALIASES |= {"float": float32, "double": float64, "cfloat": complex64, "cdouble": complex128}

_of_numpy = {d._numpy: d for d in ALL if d._numpy is not None}

_default = float32


def get_default_dtype() -> dtype:
    """The dtype of new floating tensors: float32 unless changed (torch.get_default_dtype)."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make `d`, a floating dtype, the one of new tensors. Mirrors torch.set_default_dtype.

    Raises TypeError if `d` is not a floating dtype.
    """
    global _default
    if not isinstance(d, dtype) or d.category != FLOATING:
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    _default = d


_OF_PYTHON = {float: float64, int: int64, bool: bool_, complex: complex128}


def as_dtype(given) -> dtype:
    """`given` as a dtype: it may be one, or Python's float, int, bool or complex.

    Raises TypeError for anything else.
    """
    if isinstance(given, dtype):
        return given
    try:
        return _OF_PYTHON[given]
    except (KeyError, TypeError):
        raise TypeError(f"dtype must be a torch.dtype, not {given!r}") from None


def of(array) -> dtype:
    """The dtype of an array."""
    try:
        return _of_numpy[array.dtype]
    except KeyError:
        raise TypeError(
            f"can't convert an array of NumPy type {array.dtype} to a tensor; the supported types "
            f"are: {', '.join(d.name for d in ALL)}"
        ) from None


def of_number(value) -> dtype:
    """The dtype that a Python number takes part with: bool, int64, the default, or its complex."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return complex128 if _default is float64 else complex64
    raise TypeError(f"expected a number, got {type(value).__name__}")


def fitting(value, dtype: dtype) -> np.ndarray:
    """A Python number as a 0-d array of `dtype`. RuntimeError if it is too large for it.

    A negative number wraps around in an unsigned type, and infinity is no overflow, as in PyTorch.
    """
    if isinstance(value, complex) and not value.imag:
        value = value.real
    low, high = _limits(dtype)
    if isinstance(value, complex):
        fits = dtype.category in (BOOL, COMPLEX)
    elif dtype.category == INTEGER:
        fits = (0 if low == -high and isinstance(value, float) else low) <= value <= high
    else:
        fits = low <= value <= high or value - value != 0  # infinity, or not a number
    if not fits:
        raise RuntimeError(f"value cannot be converted to type {dtype} without overflow: {value}")
    return np.asarray(value).astype(dtype.numpy)


@functools.cache
def _limits(dtype: dtype) -> tuple[float, float]:
    """The smallest and the largest number that `fitting` lets pass; -255 and 255 of uint8."""
    if dtype.category == INTEGER:
        limits = np.iinfo(dtype.numpy)
        return limits.min or -limits.max, limits.max
    if dtype.category == FLOATING:
        return -finfo(dtype).max, finfo(dtype).max
    return -np.inf, np.inf


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that holds both, by PyTorch's table. Mirrors torch.promote_types."""
    if a is b:
        return a
    if a.category < b.category:
        a, b = b, a
    if a.category == COMPLEX:
        return complex128 if float64 in (a, b) or complex128 in (a, b) else complex64
    if a.category > b.category:
        return a  # a float with an integer stays that float: float16 + int64 is float16
    if a.category == FLOATING:
        if a.itemsize == b.itemsize:
            return float32  # float16 and bfloat16 hold neither of each other
        return a if a.itemsize > b.itemsize else b
    if uint8 in (a, b) and int8 in (a, b):
        return int16
    return a if a.itemsize > b.itemsize else b


def complex_of(real: dtype) -> dtype:
    """The complex dtype whose parts are of the floating dtype `real`."""
    return complex128 if real is float64 else complex64


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether results of dtype `from_` may be stored as `to`. Mirrors torch.can_cast.

    Not if that loses the imaginary part, the fraction, or all but the truth.
    """
    return from_.category <= to.category


class finfo:
    """The limits of a floating dtype (by default the default one). Mirrors torch.finfo.

    bits, eps, max, min, smallest_normal (also called tiny), resolution; dtype is a name. Raises
    TypeError for other dtypes.
    """

    def __init__(self, type: dtype | None = None):
        type = type or _default
        if type.category < FLOATING:
            raise TypeError(f"torch.finfo() requires a floating point input type, not {type}")
        limits = _float_limits(type.numpy)
        self.dtype = _of_numpy[np.dtype(limits.dtype)].name  # of a complex type's parts
        self.bits = int(limits.bits)
        self.eps, self.min, self.max = float(limits.eps), float(limits.min), float(limits.max)
        self.smallest_normal = self.tiny = float(limits.smallest_normal)
        self.resolution = float(f"1e-{limits.precision}")

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: bits, min, max; dtype is a name. Mirrors torch.iinfo.

    Raises TypeError for other dtypes.
    """

    def __init__(self, type: dtype):
        if type.category != INTEGER:
            raise TypeError(f"torch.iinfo() requires an integer input type, not {type}")
        limits = np.iinfo(type.numpy)
        self.dtype = type.name
        self.bits, self.min, self.max = int(limits.bits), int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def combine(tensors: list[tuple[dtype, int]], numbers: list) -> dtype:
    """The result type of an operation on `tensors` ((dtype, number of dimensions) pairs) and Python
    `numbers`. A lower rank (a number, then a 0-d tensor) only counts where its category is higher.
    """
    with_dims = zero_dim = from_numbers = None
    for d, ndim in tensors:
        if ndim:
            with_dims = d if with_dims is None else promote_types(with_dims, d)
        else:
            zero_dim = d if zero_dim is None else promote_types(zero_dim, d)
    for number in numbers:
        d = of_number(number)
        from_numbers = d if from_numbers is None else promote_types(from_numbers, d)
    result = None
    for lower in (with_dims, zero_dim, from_numbers):
        if lower is None:
            continue
        if result is None:
            result = lower
        elif lower.category > result.category:
            # A complex number makes float64 complex128, but leaves float32 at complex64.
            if lower.category == COMPLEX and result.category == FLOATING:
                result = complex128 if result is float64 else complex64
            else:
                result = lower
    if result is None:
        raise TypeError("expected at least one tensor or number")
    return result


def common_type(arrays) -> np.dtype:
    """NumPy's type for `arrays` brought together, as by cat and stack."""
    kinds = {a.dtype for a in arrays}
    if len(kinds) == 1:
        return kinds.pop()
    return combine([(of(a), a.ndim) for a in arrays], []).numpy
