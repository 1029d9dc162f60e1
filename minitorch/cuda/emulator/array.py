"""Arrays of an emulated GPU: NumPy's memory behind CuPy's manners.

What CuPy refuses is refused here too, or programs that work in the emulator would fail on a GPU:
host and device arrays in one call, an implicit copy to the host, an array of a device that is not
the current one, what NumPy has and CuPy has not (lacking.py). And as in CuPy, reductions give
arrays without dimensions, never numbers.
Invariant: a device array never shares memory with an array of the host; `base` is the array that
owns the memory, as CuPy's is.
CuPy: cupy/_core/core.pyx.
"""

from __future__ import annotations

import math

import numpy as np

from . import lacking
from .device import Device, get_allocator
from .shadow import Shadow, checked


class ndarray:
    """An array in the memory of an emulated GPU. Stands for cupy.ndarray."""

    __slots__ = ("__weakref__", "_host", "_shadow", "_taken", "base", "device")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape, dtype=np.float64, memptr=None, strides=None, order="C"):
        self._taken = False
        if memptr is None:
            self._host = run(np.empty, shape, dtype, order)
        else:
            owner, offset = memptr.array, memptr.offset
            memory = owner._host.ravel("K").view(np.uint8)  # in the order in which it lies there
            self._host = np.ndarray(shape, dtype, memory, offset, strides)
        self.base = None  # CuPy does not note it either, where it is told the address
        self.device = Device() if memptr is None else memptr.array.device
        self._shadow = memptr.array._shadow if memptr else _shadow(self._host)
        if memptr is None:
            self._take()

    def _take(self):
        """Have its bytes counted, unless there are not so many."""
        get_allocator()(self._host.nbytes)
        self._taken = True

    def __del__(self):
        if self._taken:
            self.device.memory.give(self._host.nbytes)

    # NumPy's functions, called with arrays of this kind

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        lacking.check_ufunc(ufunc, method, inputs, options, out)
        if out is not None:
            options["out"] = _on_host(out)
            _mark(out)
        if method == "at":
            _mark(inputs[0])
        result = run(getattr(ufunc, method), *_on_host(inputs), **options)
        if out is None:
            return _on_device(result, inputs)
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function, types, args, options):
        lacking.check_function(function, args, options)
        if function in (np.array, np.asarray, np.ascontiguousarray):  # the way to the device
            args = tuple([a._host if isinstance(a, ndarray) else a for a in args])
            return _on_device(np.array(function(*args, **options)))
        made = call(function, *args, **options)
        if function in (np.empty, np.empty_like):
            made._shadow = _shadow(made._host)
        return made

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # What it is

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: Flags(self._host.flags))
    data = property(lambda self: MemoryPointer(self))
    T = property(lambda self: self.transpose())
    mT = property(lambda self: call(np.matrix_transpose, self))

    def get(self, stream=None, order="C", out=None, blocking=True) -> np.ndarray:
        """A copy on the host, or in `out`."""
        if out is None:
            return self._host.copy()
        if out.dtype != self.dtype or out.shape != self.shape or not out.flags.c_contiguous:
            raise ValueError("get() takes a contiguous `out` of the same shape and dtype")
        out[...] = self._host
        return out

    def set(self, host: np.ndarray, stream=None) -> None:
        """Fill it with a host array of its shape and dtype."""
        if not isinstance(host, np.ndarray) or host.dtype != self.dtype or host.shape != self.shape:
            raise ValueError("set() takes a NumPy array of the same shape and dtype")
        self[...] = _on_device(host)

    def item(self):
        return self._host.item()

    def tolist(self):
        return self._host.tolist()

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __complex__(self):
        return complex(self._host)

    def __repr__(self):
        return repr(self._host)

    def __format__(self, spec):
        return format(self._host, spec)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def __reduce__(self):
        return _from_host, (self.get(),)  # the device is forgotten: CuPy's way

    @property
    def real(self):
        return call(np.real, self)

    @real.setter
    def real(self, value):
        _on_host(self).real = _on_host(value)
        _mark(self)

    @property
    def imag(self):
        return call(np.imag, self)

    @imag.setter
    def imag(self, value):
        _on_host(self).imag = _on_host(value)
        _mark(self)

    def _set_shape_and_strides(self, shape, strides, update_c: bool, update_f: bool) -> None:
        self._host = np.lib.stride_tricks.as_strided(self._host, shape, strides)

    # Its elements

    def __contains__(self, value):
        raise TypeError("CuPy's arrays have no `in`")

    def __getitem__(self, index):
        index = _index(index)
        part = self._host[index]
        if isinstance(part, np.generic):  # CuPy's is a view without dimensions
            part = self._host[(*index, ...) if isinstance(index, tuple) else (index, ...)]
        with self.device:
            return _on_device(part, (self,))

    def __setitem__(self, index, value):
        index = _index(index)
        _on_host(self)[index] = _on_host(value)
        if self._shadow is not None:
            self._shadow.mark(self._host, index)


class Flags:
    """Of NumPy's flags those that CuPy has."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata = flags.owndata

    def __getitem__(self, name):
        return getattr(self, name.lower())


class MemoryPointer:
    """Where an array's memory is. Stands for cupy.cuda.MemoryPointer."""

    def __init__(self, array: ndarray, offset: int | None = None):
        self.array = array if array.base is None else array.base
        start = self.array._host.ctypes.data
        self.offset = array._host.ctypes.data - start if offset is None else offset
        self.ptr = start + self.offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.array, self.offset + offset)


def run(function, *args, **options):
    """What NumPy's `function` returns. Where the host has no memory for it, nor has the device."""
    try:
        return function(*args, **options)
    except MemoryError as error:
        if len(error.args) == 2:  # NumPy's own, about an array of this shape and type
            shape, dtype = error.args
            get_allocator()(math.prod(shape) * dtype.itemsize)
        raise


def call(function, *args, **options):
    """`function` of NumPy, on device arrays and numbers; its arrays are made on the device."""
    result = run(function, *_on_host(args), **_on_host(options))
    name = getattr(function, "__name__", "")
    if name not in _MAKERS:  # the first one is read, the others may be `out`
        _mark((args[name not in _CHANGERS :], options))
    if name == "diagonal":  # read-only only in NumPy
        result.flags.writeable = True
    elif name == "count_nonzero":  # in NumPy it is a number
        result = np.asarray(result)
    elif name in lacking.WIDENING and result.dtype.name == "bfloat16":
        result = result.astype(np.float32)
    return _on_device(result, (*args, *options.values()))


# Functions that write to their first argument, and those that read none.
_CHANGERS = (
    "copyto fill fill_diagonal nan_to_num partition place put put_along_axis putmask sort".split()
)
_MAKERS = "empty_like full_like ones_like zeros_like".split()
_VIEWS = "diagonal ravel reshape squeeze swapaxes transpose view".split()


def _method(name: str):
    method = getattr(np.ndarray, name)

    def forward(self, *args, **options):
        lacking.check_options(name, options)
        if name[:2] == "__":
            lacking.check_operands(name, args)
        if name in _VIEWS:  # no kernel runs, so it does not matter which device is the current one
            with self.device:
                return call(method, self, *args, **options)
        return call(method, self, *args, **options)

    forward.__name__ = name
    return forward


_METHODS = (
    "all any argmax argmin argpartition argsort astype clip compress conj conjugate copy cumprod "
    "cumsum diagonal dot fill flatten max mean min nonzero partition prod put ravel repeat reshape "
    "round searchsorted sort squeeze std sum swapaxes take trace transpose var view"
)
_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor".split()
for _name in _METHODS.split():
    setattr(ndarray, _name, _method(_name))
for _name in ["lt", "le", "eq", "ne", "ge", "gt", "neg", "pos", "abs", "invert", *_OPERATORS]:
    setattr(ndarray, f"__{_name}__", _method(f"__{_name}__"))
for _name in _OPERATORS:
    setattr(ndarray, f"__r{_name}__", _method(f"__r{_name}__"))


def _in_place(name: str):
    method = getattr(np.ndarray, name)

    def change(self, other):
        method(_on_host(self), _on_host(other))
        _mark(self)
        return self

    change.__name__ = name
    return change


for _name in _OPERATORS:
    if hasattr(np.ndarray, f"__i{_name}__"):
        setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))


# Between host and device


def _on_host(value):
    """`value` with NumPy arrays for device arrays. TypeError for what was on the host before."""
    if isinstance(value, ndarray):
        if value.device.id != Device().id:
            raise ValueError(
                f"The device where the array resides ({value.device.id}) is different from the "
                f"current device ({Device().id}). Peer access is unavailable between these devices."
            )
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")
    if type(value) in (tuple, list):
        return type(value)([_on_host(v) for v in value])
    return {k: _on_host(v) for k, v in value.items()} if type(value) is dict else value


def _mark(value) -> None:
    """Note that the device arrays in `value` are written."""
    if isinstance(value, ndarray):
        if value._shadow is not None:
            value._shadow.mark(value._host)
    elif type(value) in (tuple, list, dict):
        for part in value.values() if type(value) is dict else value:
            _mark(part)


def _index(index):
    """An index with NumPy arrays for device arrays; CuPy copies those of the host."""
    if isinstance(index, tuple):
        return tuple([_index(i) for i in index])
    return index if isinstance(index, np.ndarray) else _on_host(index)


def _on_device(result, sources=()):
    """`result` with device arrays for NumPy's; one that shares a source's memory is its view."""
    if isinstance(result, (np.ndarray, np.generic)):
        made = object.__new__(ndarray)
        made._host = np.asarray(result)
        made.device = Device()
        made.base = _owner(made._host, sources)
        made._shadow = None if made.base is None else made.base._shadow
        made._taken = False
        if made.base is None:
            made._take()
        return made
    if isinstance(result, (tuple, list)):
        parts = [_on_device(r, sources) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def _shadow(host: np.ndarray) -> Shadow | None:
    """For an array made empty: what notes which of its elements are written, if that is checked."""
    return Shadow(host) if checked() and host.nbytes else None


def _owner(host: np.ndarray, sources) -> ndarray | None:
    """The array among `sources` whose memory `host` looks into."""
    if host.base is None:
        return None
    for source in sources:
        if type(source) in (tuple, list):
            found = _owner(host, source)
            if found is not None:
                return found
        elif isinstance(source, ndarray):
            owner = source if source.base is None else source.base
            if np.may_share_memory(owner._host, host):
                return owner
    return None


def _from_host(array) -> ndarray:
    return _on_device(np.array(array))
