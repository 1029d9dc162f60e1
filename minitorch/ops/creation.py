"""Tensors from values, shapes and ranges. PyTorch: aten/src/ATen/native/TensorFactories.cpp."""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import devices, dtypes
from ..tensor import Tensor, wrap
from .declare import composite
from .dims import sizes
from .out import fill
from .views import strided


def _numpy_type(dtype, like=None):
    if dtype is not None:
        return dtypes.as_dtype(dtype).numpy
    return dtypes.get_default_dtype().numpy if like is None else like.array.dtype


def _shape(size: tuple) -> tuple[int, ...]:
    shape = sizes(size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
    return shape


def _finish(array, dtype, device, requires_grad=False) -> Tensor:
    devices.check(device)
    if dtype is not None:
        array = np.asarray(array, dtypes.as_dtype(dtype).numpy)
    tensor = wrap(array)
    if requires_grad:
        tensor.requires_grad = True
    return tensor


def _creation(make=None, *, name="", **entry):
    """Make a function that returns an array one that creates a tensor, with PyTorch's options.

    device, requires_grad, out; layout, pin_memory and memory_format are accepted: there is one.
    """
    if make is None:
        return functools.partial(_creation, name=name, **entry)

    @functools.wraps(make)
    def create(
        *args,
        device=None,
        requires_grad=False,
        out=None,
        layout=None,
        pin_memory=False,
        memory_format=None,
        **options,
    ):
        if out is not None:
            return fill(out, lambda: wrap(make(*args, **options)), (), {})
        return _finish(make(*args, **options), None, device, requires_grad)

    create.__name__ = create.__qualname__ = name or make.__name__
    return composite(create, method=entry.pop("method", False), **entry)


# From values


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


@_creation
def tensor(data, *, dtype=None):
    """A new tensor with a copy of `data`: a number, nested sequences, an array or a tensor.

    Floats become the default dtype, integers int64, unless `dtype` says otherwise. Raises
    ValueError for ragged sequences, TypeError for what is no number. Mirrors torch.tensor.
    """
    array = _array_of(data, dtype)
    return array if dtype is None else array.astype(dtypes.as_dtype(dtype).numpy, copy=False)


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
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """`obj` as a tensor that shares its memory, unless a conversion or `copy` asks for new one.

    Raises ValueError where `copy` is False but memory cannot be shared. Mirrors torch.asarray.
    """
    if not isinstance(obj, Tensor) and not isinstance(obj, np.ndarray) and _is_buffer(obj):
        obj = frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())
    made = as_tensor(obj, dtype, device)
    shared = isinstance(obj, (Tensor, np.ndarray)) and np.may_share_memory(
        made.array, getattr(obj, "array", obj)
    )
    if copy is False and not shared:
        raise ValueError("cannot make a tensor of this without copying it, as copy=False asks")
    made = made.clone() if copy and shared else made
    return made.requires_grad_() if requires_grad else made


def _is_buffer(obj) -> bool:
    return isinstance(obj, (bytes, bytearray, memoryview))


@composite(method=False)
def from_numpy(ndarray):
    """A tensor that shares the memory of a NumPy array. Mirrors torch.from_numpy."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    dtypes.of(ndarray)
    return wrap(ndarray)


@composite(method=False)
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A vector that shares the memory of `buffer`: `count` elements from byte `offset` on.

    Raises ValueError where there are not so many. Mirrors torch.frombuffer.
    """
    return _finish(np.frombuffer(buffer, dtype.numpy, count, offset), None, None, requires_grad)


@_creation(function=False, method=True)
def new_tensor(self, data, *, dtype=None):
    """`tensor` with this tensor's dtype. Mirrors torch.Tensor.new_tensor."""
    return _array_of(data, dtype or self.dtype).astype(_numpy_type(dtype, self), copy=False)


@_creation
def scalar_tensor(s, *, dtype=None):
    """A 0-d tensor of the default dtype. Mirrors torch.scalar_tensor."""
    return np.array(_number(s), _numpy_type(dtype))


# Of a shape


def _factory(name: str, meaning: str) -> None:
    """`name`(*size), `name`_like(tensor) and Tensor.new_`name`(*size) from NumPy's functions."""
    make, make_like = getattr(np, name), getattr(np, name + "_like")

    def plain(*size, dtype=None, **named):
        if not size and not named:
            raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
        return make(_shape(size or (named.pop("size"),)), _numpy_type(dtype), **named)

    def like(input, *, dtype=None):
        return make_like(input.array, _numpy_type(dtype, input))

    def new(self, *size, dtype=None, **named):
        return make(_shape(size or (named.pop("size"),)), _numpy_type(dtype, self), **named)

    plain.__doc__ = f"A tensor of a shape, {meaning}. Mirrors torch.{name}."
    like.__doc__ = f"A tensor like another one, {meaning}. Mirrors torch.{name}_like."
    new.__doc__ = f"A tensor of this one's dtype, {meaning}. Mirrors torch.Tensor.new_{name}."
    _creation(plain, name=name)
    _creation(like, name=name + "_like", numpy=make_like)
    _creation(new, name="new_" + name, function=False, method=True)


_factory("zeros", "all 0")
_factory("ones", "all 1")
_factory("empty", "with whatever the memory holds")


@_creation
def full(size, fill_value, *, dtype=None):
    """A tensor of shape `size`, every element `fill_value`. Mirrors torch.full."""
    if isinstance(size, int):
        raise TypeError("full(): argument 'size' (position 1) must be tuple of ints, not int")
    value = _number(fill_value)
    return np.full(_shape((size,)), value, (dtype or dtypes.of_number(value)).numpy)


@_creation(numpy=np.full_like)
def full_like(input, fill_value, *, dtype=None):
    """`full` with the shape and dtype of `input`. Mirrors torch.full_like."""
    return np.full_like(input.array, _number(fill_value), _numpy_type(dtype, input))


@_creation(function=False, method=True)
def new_full(self, size, fill_value, *, dtype=None):
    """`full` with this tensor's dtype. Mirrors torch.Tensor.new_full."""
    return np.full(_shape((size,)), _number(fill_value), _numpy_type(dtype, self))


def _strided(size, stride, kind):
    extent = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    steps = [n * kind.itemsize for n in stride]
    return strided(np.empty(0 if 0 in size else extent, kind), size, steps)


@_creation
def empty_strided(size, stride, *, dtype=None):
    """Uninitialised memory, `stride` elements from one index to the next. Mirrors
    torch.empty_strided."""
    return _strided(size, stride, _numpy_type(dtype))


@_creation(function=False, method=True)
def new_empty_strided(self, size, stride, *, dtype=None):
    """`empty_strided` with this tensor's dtype. Mirrors torch.Tensor.new_empty_strided."""
    return _strided(size, stride, _numpy_type(dtype, self))


@_creation
def empty_permuted(size, physical_layout, *, dtype=None):
    """Uninitialised memory with its dimensions in the order `physical_layout`, outermost first.

    Mirrors torch.empty_permuted.
    """
    array = np.empty([size[d] for d in physical_layout], _numpy_type(dtype))
    return array.transpose(np.argsort(physical_layout))


# Of a range


def _number(value):
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


@_creation
def arange(start, end=None, step=1, *, dtype=None):
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
        return _counted(start, step, i, dtype.numpy)
    return (i * int(step) + int(start)).astype(dtype.numpy)


@_creation
def range(start, end=None, step=1, *, dtype=None):
    """As `arange`, but with `end`, and of the default dtype. Mirrors torch.range."""
    start, end, step = [
        _number(v) for v in ((0, start, step) if end is None else (start, end, step))
    ]
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError("step must be nonzero, and lead from the lower bound to the upper one")
    i = np.arange(math.floor((end - start) / step) + 1)
    return (start + step * i).astype(_numpy_type(dtype))


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
    wide = kind.type if kind.kind == "c" else wide
    return (start + wide(step) * i).astype(kind)


def _even(start, end, steps: int, dtype):
    """`steps` numbers from `start` to `end`, with PyTorch's rounding.

    It counts from both ends towards the middle, in the type of the result; integers in float64,
    whose fraction is then cut off.
    """
    kind = _numpy_type(dtype)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = [np.array(_number(v)).astype(kind).item() for v in (start, end)]
    counting = np.dtype(np.float64) if kind.kind in "iu" else kind
    step = counting.type(end - start) / counting.type(max(steps - 1, 1))
    step = step.item() if kind.kind == "c" else float(step)
    i = np.arange(steps)
    first = _multiply_add(start, step, i, counting)
    last = _multiply_add(end, -step, steps - 1 - i, counting)
    return np.where(i < max(steps // 2, 1), first, last), kind


@_creation
def linspace(start, end, steps, *, dtype=None):
    """`steps` evenly spaced values from `start` to `end`, both included. Mirrors torch.linspace."""
    values, kind = _even(start, end, steps, dtype)
    return values.astype(kind)


@_creation
def logspace(start, end, steps, base=10.0, *, dtype=None):
    """`base` to the power of evenly spaced values, both ends included. Mirrors torch.logspace."""
    values, kind = _even(start, end, steps, dtype)
    return np.power(base, values).astype(kind)


@_creation
def eye(n, m=None, *, dtype=None):
    """The identity matrix (n, m). Mirrors torch.eye."""
    if n < 0 or (m or 0) < 0:
        raise RuntimeError(f"n and m must be greater or equal to 0, got {n} and {m}")
    return np.eye(n, m, dtype=_numpy_type(dtype))


# What is asked of tensors


@composite(method=False)
def is_tensor(obj) -> bool:
    """Whether `obj` is a Tensor. Mirrors torch.is_tensor."""
    return isinstance(obj, Tensor)


@composite(method=False)
def numel(input) -> int:
    """The number of elements. Mirrors torch.numel."""
    return input.numel()


@composite(method=False)
def is_floating_point(input) -> bool:
    """Whether the dtype is a floating one. Mirrors torch.is_floating_point."""
    return input.is_floating_point()


@composite
def is_nonzero(input) -> bool:
    """Whether the one element is not 0; RuntimeError for more or none. Mirrors torch.is_nonzero."""
    return bool(input)
