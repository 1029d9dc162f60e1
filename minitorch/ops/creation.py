"""Tensors from values, shapes and ranges. PyTorch: aten/src/ATen/native/TensorFactories.cpp."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np

from .. import devices, dtypes
from ..tensor import Tensor, wrap
from .declare import composite
from .dims import sizes


def _finish(array, dtype, device, requires_grad=False) -> Tensor:
    devices.check(device)
    if dtype is not None:
        array = np.asarray(array, dtypes.as_dtype(dtype).numpy)
    tensor = wrap(array)
    if requires_grad:
        tensor.requires_grad = True
    return tensor


def _array_of(data, dtype):
    """Nested sequences, numbers, arrays and tensors as a new array of PyTorch's type for them.

    With a `dtype` it has NumPy's type for them: the caller converts.
    """
    if isinstance(data, Tensor):
        return np.array(data.array, copy=True)
    if isinstance(data, (np.ndarray, np.generic)):
        return np.array(data)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    kinds = _kinds(data)
    common = functools.reduce(dtypes.promote_types, kinds or {dtypes.get_default_dtype()})
    try:
        data = _items(data) if _holds_tensors(data) else data
        return np.array(data, common.numpy if dtype is None else None)
    except ValueError as error:
        raise ValueError(
            f"expected a nested sequence in which all sequences at one level have the same length: "
            f"{error}"
        ) from None
    except OverflowError as error:
        raise ValueError(f"Overflow: {error}") from None


_NUMBERS = {bool, int, float, complex}


def _kinds(data) -> set[dtypes.dtype]:
    """The dtypes of the numbers in `data`: by default, but those of NumPy and tensors their own."""
    if isinstance(data, (list, tuple)):
        types = set(map(type, data))
        if types <= _NUMBERS:
            return {dtypes.of_number(t()) for t in types}
        return set().union(*map(_kinds, data))
    if isinstance(data, Tensor):
        return {data.dtype}
    if type(data) in _NUMBERS:
        return {dtypes.of_number(data)}
    if isinstance(data, str):
        raise ValueError("too many dimensions 'str'")
    array = np.asarray(data)
    if array.dtype.kind == "O":
        raise TypeError(f"can't make a tensor of {data!r}: expected numbers in nested sequences")
    return {dtypes.of(array)}


def _holds_tensors(data) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def _items(data):
    if isinstance(data, Tensor):
        return data.tolist()
    return [_items(d) for d in data] if isinstance(data, (list, tuple)) else data


@composite(method=False)
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A new tensor with a copy of `data`: a number, nested sequences, an array or a tensor.

    Floats become the default dtype, integers int64, unless `dtype` says otherwise. Raises
    ValueError for ragged sequences, TypeError for what is no number. Mirrors torch.tensor.
    """
    return _finish(_array_of(data, dtype), dtype, device, requires_grad)


@composite(method=False)
def as_tensor(data, dtype=None, device=None):
    """`data` as a tensor, sharing the memory of arrays and tensors where the dtype allows it.

    Mirrors torch.as_tensor.
    """
    if isinstance(data, Tensor):
        return data.to(device, dtype) if device or dtype else data
    if isinstance(data, np.ndarray):
        dtypes.of(data)
        return _finish(data, dtype, device)
    return tensor(data, dtype=dtype, device=device)


@composite(method=False)
def from_numpy(array):
    """A tensor that shares the memory of a NumPy array. Mirrors torch.from_numpy."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    if any(step < 0 for step in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    dtypes.of(array)
    return wrap(array)


def _numpy_type(dtype, like=None):
    if dtype is not None:
        return dtypes.as_dtype(dtype).numpy
    return dtypes.get_default_dtype().numpy if like is None else like.array.dtype


def _shape(size: tuple) -> tuple[int, ...]:
    shape = sizes(size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
    return shape


def _factory(name: str, make, meaning: str):
    """`name`(*size), `name`_like(tensor) and Tensor.new_`name`(*size) from one NumPy function."""

    def plain(*size, dtype=None, device=None, requires_grad=False, out=None, **layout):
        if "size" in layout:
            size = (layout.pop("size"),)
        array = make(_shape(size), _numpy_type(dtype))
        if out is not None:
            return out.copy_(wrap(array))
        return _finish(array, None, device, requires_grad)

    def like(input, *, dtype=None, device=None, requires_grad=False, memory_format=None):
        array = make(input.array.shape, _numpy_type(dtype, input))
        return _finish(array, None, device, requires_grad)

    def new(self, *size, dtype=None, device=None, requires_grad=False):
        array = make(_shape(size), _numpy_type(dtype, self))
        return _finish(array, None, device, requires_grad)

    variants = ((plain, name, "of a shape"), (like, name + "_like", "of another tensor's shape"))
    for function, its_name, what in variants:
        function.__name__ = function.__qualname__ = its_name
        function.__doc__ = f"A tensor {what}, {meaning}. Mirrors torch.{its_name}."
        numpy = getattr(np, its_name) if function is like else ()
        composite(function, method=False, numpy=numpy)
    new.__name__ = "new_" + name
    new.__doc__ = f"A tensor of this one's dtype, {meaning}. Mirrors torch.Tensor.new_{name}."
    setattr(Tensor, new.__name__, new)


_factory("zeros", np.zeros, "all 0")
_factory("ones", np.ones, "all 1")
_factory("empty", np.empty, "with whatever the memory holds")


def _full_type(fill_value, dtype):
    return (dtype or dtypes.of_number(fill_value)).numpy


@composite(method=False)
def full(size, fill_value, *, dtype=None, device=None, requires_grad=False):
    """A tensor of shape `size`, every element `fill_value`. Mirrors torch.full."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    array = np.full(_shape((size,)), fill_value, _full_type(fill_value, dtype))
    return _finish(array, None, device, requires_grad)


@composite(method=False, numpy=np.full_like)
def full_like(input, fill_value, *, dtype=None, device=None, requires_grad=False):
    """`full` with the shape and dtype of `input`. Mirrors torch.full_like."""
    array = np.full(input.array.shape, fill_value, _numpy_type(dtype, input))
    return _finish(array, None, device, requires_grad)


@composite(function=False)
def new_full(self, size, fill_value, *, dtype=None, device=None, requires_grad=False):
    """`full` with this tensor's dtype. Mirrors torch.Tensor.new_full."""
    return full(size, fill_value, dtype=dtype or self.dtype, requires_grad=requires_grad)


@composite(function=False)
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """`tensor` with this tensor's dtype. Mirrors torch.Tensor.new_tensor."""
    return tensor(data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@composite(method=False)
def arange(start, end=None, step=1, *, dtype=None, device=None, requires_grad=False):
    """start, start + step, ... below `end`; arange(end) starts at 0. Mirrors torch.arange."""
    if end is None:
        start, end = 0, start
    limits = [_number(v) for v in (start, end, step)]
    if dtype is None:
        floating = any(isinstance(v, float) for v in limits)
        dtype = dtypes.get_default_dtype() if floating else dtypes.int64
    if not all(map(math.isfinite, limits)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    start, end, step = map(int, limits) if dtype is dtypes.int64 else limits
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    i = np.arange(math.ceil((end - start) / step))
    if dtype.category >= dtypes.FLOATING:
        return _finish(_counted(start, step, i, dtype.numpy), None, device, requires_grad)
    i *= int(step)
    i += int(start)
    return _finish(i, dtype, device, requires_grad)


def _number(value):
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def _counted(start, step, i, kind):
    """start + step * i, rounded to `kind` where PyTorch rounds.

    It counts 32 bytes of results at a time, from a first one that is rounded already; what is left
    after the last 64 bytes is counted one by one.
    """
    lanes = 32 // kind.itemsize
    whole = len(i) // (2 * lanes) * (2 * lanes)
    first = _multiply_add(start, step, i[:whole:lanes], kind).astype(np.float64)
    blocks = _multiply_add(first[:, None], step, np.arange(lanes), kind)
    return np.concatenate([blocks.reshape(-1), _multiply_add(start, step, i[whole:], kind)])


def _multiply_add(start, step, i, kind):
    """start + step * i as `kind`, with one rounding, as the processor's instruction for it has."""
    wide = np.longdouble if kind == np.float64 else np.float64
    return (start + wide(step) * i).astype(kind)


@composite(method=False)
def linspace(start, end, steps, *, dtype=None, device=None, requires_grad=False):
    """`steps` evenly spaced values from `start` to `end`, both included. Mirrors torch.linspace."""
    kind = _numpy_type(dtype)
    start, end = [np.array(_number(v)).astype(kind).item() for v in (start, end)]
    # PyTorch counts from both ends towards the middle, in the type of the result; integers in
    # float64, whose fraction is then cut off.
    counting = np.dtype(np.float64) if kind.kind in "iu" else kind
    step = float(counting.type(end - start) / counting.type(max(steps - 1, 1)))
    i = np.arange(steps)
    first = _multiply_add(start, step, i, counting)
    last = _multiply_add(end, -step, steps - 1 - i, counting)
    array = np.where(i < max(steps // 2, 1), first, last)
    return _finish(array.astype(kind), None, device, requires_grad)


@composite(method=False)
def eye(n, m=None, *, dtype=None, device=None, requires_grad=False):
    """The identity matrix (n, m). Mirrors torch.eye."""
    return _finish(np.eye(n, m, dtype=_numpy_type(dtype)), None, device, requires_grad)


@composite(method=False)
def is_tensor(obj) -> bool:
    """Whether `obj` is a Tensor. Mirrors torch.is_tensor."""
    return isinstance(obj, Tensor)


@composite(method=False)
def numel(input) -> int:
    """The number of elements. Mirrors torch.numel."""
    return operator.index(input.numel())


@composite(method=False)
def is_floating_point(input) -> bool:
    """Whether the dtype is a floating one. Mirrors torch.is_floating_point."""
    return input.is_floating_point()


@composite
def equal(input, other) -> bool:
    """Whether two tensors have the same shape and elements. Mirrors torch.equal."""
    return bool(np.array_equal(input.array, other.array))


@composite
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Where |input - other| <= atol + rtol * |other|. Mirrors torch.isclose."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    return wrap(np.isclose(input.array, other.array, rtol, atol, equal_nan))


@composite
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether `isclose` holds everywhere. Mirrors torch.allclose."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())
