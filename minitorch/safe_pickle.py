"""Pickles of tensors and plain data, read by a machine that cannot do harm.

Why: a pickle is a program for a little stack machine, and Python's own machine can be told to
import and call anything: whoever reads a stranger's pickle runs a stranger's code.
Invariant: reading runs no code. The machine here (`_run`) has no import: the names in a file are
looked up in `_NAMES`, and whatever is not there is refused. Each function there checks its
arguments, for the file chooses those too. What `dumps` writes, `loads` and torch.load can read.
A tensor's elements are not in the pickle: it is a call of `_rebuild_tensor_v2` on a reference to a
storage, a piece of memory that is kept elsewhere (serialization.py) and known by a key.
PyTorch: torch/_weights_only_unpickler.py, torch/_utils.py (the `_rebuild` functions).
"""

from __future__ import annotations

import io
import pickle
import pickletools
import reprlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from pickle import PicklingError, UnpicklingError
from typing import Any, NamedTuple

import numpy as np

from . import devices, dtypes
from .tensor import Size, Storage, Tensor, wrap


class LoadedStorage(NamedTuple):
    array: np.ndarray  # 1-d
    shared: Storage  # the version counter that all its views have in common


class SavedStorage(NamedTuple):
    key: str
    dtype: dtypes.dtype
    content: memoryview  # bytes


def loads(program: bytes, load_storage: Callable[..., LoadedStorage]) -> Any:
    """The object that a pickle describes.

    `load_storage` is called with a storage's dtype, key, location and number of elements, whenever
    a tensor refers to it. Raises UnpicklingError for names and instructions that are not allowed,
    naming them, and for pickles that are damaged.
    """
    try:
        return _run(program, load_storage)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnpicklingError(f"cannot make sense of the pickle: {error}") from error


def dumps(obj) -> tuple[bytes, Collection[SavedStorage]]:
    """The pickle of an object, and the storages that it refers to.

    Raises PicklingError for what `loads` would refuse.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(obj)
    return file.getvalue(), pickler.storages.values()


# What the functions check


def _expect(value: Any, *types: type) -> Any:
    if type(value) not in types:
        names = " or ".join(t.__name__ for t in types)
        raise UnpicklingError(f"damaged pickle: expected {names}, got {type(value).__name__}")
    return value


def _key(key):
    """A dict key or set element. A tuple of tuples of tuples can take for ever to hash."""
    parts = [key]
    for part in parts:
        if type(part) is tuple:
            parts.extend(part)
        if len(parts) > 1000:
            raise UnpicklingError("a dict key or set element is a tuple of more than 1000 parts")
    return key


def _rebuild_tensor(storage, offset, shape, strides, requires_grad, hooks, metadata=None):
    """A tensor on part of a storage, which must hold all of it; counts are in elements."""
    array, shared = _expect(storage, LoadedStorage)
    if metadata:
        raise UnpicklingError(
            "the file has a tensor that PyTorch conjugates or negates lazily: save its "
            "resolve_conj() or resolve_neg()"
        )
    numbers = (offset, *_expect(shape, tuple), *_expect(strides, tuple))
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        found = map(reprlib.repr, (offset, shape, strides))  # short, however deep they are nested
        raise UnpicklingError(
            "a tensor needs non-negative integers, as many strides as dimensions; the file has "
            "offset {}, shape {}, strides {}".format(*found)
        )
    reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if offset + (0 if 0 in shape else reach) > array.size:
        raise UnpicklingError(
            f"a tensor of shape {shape} with strides {strides} at offset {offset} reaches beyond "
            f"its storage of {array.size} elements"
        )
    size = array.itemsize
    steps = tuple(step * size for step in strides)
    tensor = wrap(np.ndarray(shape, array.dtype, array, offset * size, steps))
    tensor.requires_grad = _expect(requires_grad, bool)
    tensor._storage = shared
    return tensor


def _rebuild_parameter(data, requires_grad, hooks, attributes=None):
    """A parameter. The attributes that a script hung on it in PyTorch are left out."""
    from .nn.parameter import Parameter  # here, because nn is built upon this

    return Parameter(_expect(data, Tensor), _expect(requires_grad, bool))


# What a file may mention


class _Name(NamedTuple):
    """A function that files call by a name, and how to call it for an object of a given type."""

    text: str  # "module attribute"
    function: Callable
    type: type | None = None
    arguments: Callable = lambda obj: ()  # that make `obj`

    def __call__(self, *arguments):
        return self.function(*arguments)


class _StorageType(NamedTuple):
    dtype: dtypes.dtype


_REBUILD_TENSOR = _Name("torch._utils _rebuild_tensor_v2", _rebuild_tensor)
_REBUILD_PARAMETER = _Name("torch._utils _rebuild_parameter", _rebuild_parameter)
_FUNCTIONS = [
    _REBUILD_TENSOR,
    _REBUILD_PARAMETER,
    _Name("torch._utils _rebuild_parameter_with_state", _rebuild_parameter),
    _Name(
        "torch Size",
        lambda shape: Size(_expect(n, int) for n in _expect(shape, tuple)),
        Size,
        lambda size: (tuple(size),),
    ),
    _Name(
        "torch device",
        lambda *parts: devices.device(*(_expect(part, str, int) for part in parts)),
        devices.device,
        lambda d: (d.type,) if d.index is None else (d.type, d.index),
    ),
    _Name("collections OrderedDict", lambda: OrderedDict(), OrderedDict),
    _Name(
        "collections Counter",
        lambda counts: Counter(_expect(counts, dict)),
        Counter,
        lambda counter: (dict(counter),),
    ),
    _Name(
        "__builtin__ set",
        lambda items: {_key(item) for item in _expect(items, list)},
        set,
        lambda s: (list(s),),
    ),
    _Name(
        "__builtin__ complex",
        lambda real, imag: complex(_expect(real, float), _expect(imag, float)),
        complex,
        lambda z: (z.real, z.imag),
    ),
    _Name(
        "__builtin__ bytearray",
        lambda content=b"": bytearray(_expect(content, bytes)),  # a number would be a length
        bytearray,
        lambda b: (bytes(b),),
    ),
    _Name(
        "_codecs encode",
        lambda text, _: _expect(text, str).encode("latin-1"),
        bytes,
        lambda b: (b.decode("latin-1"), "latin-1"),
    ),
    _Name("__builtin__ bytes", lambda: b""),
]
_NAMES: dict[str, Any] = {name.text: name for name in _FUNCTIONS}
_NAMES |= {f"torch {d.name}": d for d in dtypes.ALL}
_NAMES |= {f"torch {d.legacy_name}Storage": _StorageType(d) for d in dtypes.ALL}

_TEXTS = {named: text for text, named in _NAMES.items()}
_OF_TYPE = {name.type: name for name in _FUNCTIONS if name.type}


# Reading


def _find(text: str):
    if text not in _NAMES:
        raise UnpicklingError(
            f"refused to load the global {text.replace(' ', '.')}: load makes tensors, numbers, "
            "strings and plain containers only, and never runs code from a file. Save "
            "state_dict()s, not objects of your own classes"
        )
    return _NAMES[text]


def _run(program: bytes, load_storage: Callable):
    """Run a pickle that has only the instructions that torch.save uses."""
    stack: list[Any] = []
    marks: list[int] = []  # heights of the stack
    memo: dict[Any, Any] = {}

    def pop(count: int | None = None) -> list:
        """The topmost `count` values, or those above the last mark."""
        first = marks.pop() if count is None else len(stack) - count
        items = stack[first:]
        del stack[first:]
        return items

    for instruction, argument, _ in pickletools.genops(program):
        match instruction.name:
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE" as name:
                stack.append(name == "NEWTRUE")
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(pop(int(name[-1]))))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(pop()))
            case "APPEND" | "APPENDS" as name:
                items = pop(1 if name == "APPEND" else None)
                _expect(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = pop(2 if name == "SETITEM" else None)
                target = _expect(stack[-1], dict, OrderedDict)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    target[_key(key)] = value
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_find(str(argument)))
            case "REDUCE":
                function, arguments = pop(2)
                stack.append(_expect(function, _Name)(*_expect(arguments, tuple)))
            case "BUILD":  # attributes of an OrderedDict, such as a state_dict's _metadata
                attributes = _expect(stack.pop(), dict)
                _expect(stack[-1], OrderedDict).__dict__.update(attributes)
            case "BINPERSID":
                kind, storage_type, key, location, count = _expect(stack.pop(), tuple)
                if _expect(kind, str) != "storage":
                    raise UnpicklingError(f"refused a reference to a {kind!r}, which is no storage")
                dtype = _expect(storage_type, _StorageType).dtype
                places = _expect(key, str), _expect(location, str)
                stack.append(load_storage(dtype, *places, _expect(count, int)))
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case name:
                raise UnpicklingError(f"refused the pickle instruction {name}")


# Writing
