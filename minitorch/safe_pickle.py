"""Pickles of tensors and plain data, read by a machine that can do nothing else.

Why: a pickle is a program for a little stack machine, and Python's own machine can be told to
import and call anything: who reads a stranger's pickle runs a stranger's code.
Invariant: reading runs no code. The machine here (`_run`) has no import: the names in a file are
looked up in `_NAMES`, and whatever is not there is refused. What `dumps` writes, `loads` can read.
The elements of tensors are kept outside of the pickle, in storages (serialization.py). A tensor is
a call of `_rebuild_tensor_v2` on a reference to one of them.
PyTorch: torch/_weights_only_unpickler.py, torch/_utils.py (`_rebuild_tensor_v2`).
"""

from __future__ import annotations

import io
import pickle
import pickletools
import reprlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import PicklingError, UnpicklingError
from typing import Any, NamedTuple

import numpy as np

from . import devices, dtypes
from .dispatch.memory import strided
from .tensor import Size, Storage, Tensor, wrap


class StorageReference(NamedTuple):
    dtype: dtypes.dtype
    key: str
    location: str  # the device, such as "cuda:0"
    numel: int


class LoadedStorage(NamedTuple):
    array: np.ndarray  # 1-d
    shared: Storage  # the version counter that all its views have in common


def loads(program: bytes, load_storage: Callable[[StorageReference], LoadedStorage]) -> Any:
    """The object that a pickle describes. `load_storage` is called for each reference in it.

    Raises UnpicklingError for a damaged pickle, and for names and instructions that are refused.
    """
    try:
        return _run(program, load_storage)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnpicklingError(f"cannot make sense of the pickle: {error}") from error


def dumps(obj, save_storage: Callable[[Tensor], tuple]) -> bytes:
    """The pickle of an object. Raises PicklingError for what `loads` would refuse.

    `save_storage` returns a reference to the storage that holds a tensor, and the tensor's offset
    and strides in it.
    """
    file = io.BytesIO()
    _Pickler(file, save_storage).dump(obj)
    return file.getvalue()


# Names: what a file may mention


class _Name(NamedTuple):
    """What is done here in the stead of a function that files name."""

    function: Callable

    def __call__(self, *arguments):
        return self.function(*arguments)


class _StorageType(NamedTuple):
    dtype: dtypes.dtype


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
        found = [reprlib.repr(value) for value in (offset, shape, strides)]  # short, however nested
        raise UnpicklingError(
            "a tensor needs non-negative integers, as many strides as dimensions; the file has "
            f"offset {found[0]}, shape {found[1]}, strides {found[2]}"
        )
    reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if offset + (0 if 0 in shape else reach) > array.size:
        raise UnpicklingError(
            f"a tensor of shape {shape} with strides {strides} at offset {offset} reaches beyond "
            f"its storage of {array.size} elements"
        )
    size = array.itemsize
    steps = tuple(step * size for step in strides)
    tensor = wrap(strided(array, shape, steps, offset * size))
    tensor.requires_grad = _expect(requires_grad, bool)
    tensor._storage = shared
    return tensor


def _rebuild_parameter(data, requires_grad, hooks, attributes=None):
    """A parameter. The attributes that a script hung on it in PyTorch are left out."""
    from .nn.parameter import Parameter  # only when needed: nn stands on a higher floor

    return Parameter(_expect(data, Tensor), _expect(requires_grad, bool))


# Every function checks its arguments, for the file chooses them, and neither bytearray(10**12) nor
# the set of a one-element tensor expanded to 2**60 may be had from outside.
_FUNCTIONS: dict[str, Callable] = {  # by "module attribute"
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
    "torch Size": lambda shape: Size(_expect(n, int) for n in _expect(shape, tuple)),
    "torch device": lambda *parts: devices.device(*(_expect(part, str, int) for part in parts)),
    "collections OrderedDict": lambda: OrderedDict(),
    "collections Counter": lambda counts: Counter(_expect(counts, dict)),
    "__builtin__ set": lambda items: {_key(item) for item in _expect(items, list)},
    "__builtin__ complex": lambda real, imag: complex(_expect(real, float), _expect(imag, float)),
    "__builtin__ bytearray": lambda content=b"": bytearray(_expect(content, bytes)),
    "__builtin__ bytes": lambda: b"",
    "_codecs encode": lambda text, _: _expect(text, str).encode("latin-1"),
}
_NAMES: dict[str, Any] = {text: _Name(function) for text, function in _FUNCTIONS.items()}
_NAMES |= {f"torch {d.name}": d for d in dtypes.ALL}
_NAMES |= {f"torch {d.legacy_name}Storage": _StorageType(d) for d in dtypes.ALL}

# The way back: the name and the arguments of the call that makes an object.
_CALLS: dict[type, Callable[[Any], tuple]] = {
    Size: lambda size: ("torch Size", tuple(size)),
    devices.device: lambda d: ("torch device", d.type, *([] if d.index is None else [d.index])),
    OrderedDict: lambda items: ("collections OrderedDict",),
    Counter: lambda counter: ("collections Counter", dict(counter)),
    set: lambda items: ("__builtin__ set", list(items)),
    complex: lambda z: ("__builtin__ complex", z.real, z.imag),
    bytearray: lambda content: ("__builtin__ bytearray", bytes(content)),
    bytes: lambda content: ("_codecs encode", content.decode("latin-1"), "latin-1"),
}


def _find(text: str):
    if text not in _NAMES:
        raise UnpicklingError(
            f"refused to load the global {text.replace(' ', '.')}: load makes tensors, numbers, "
            "strings and plain containers only, and never runs code from a file. Save "
            "state_dict()s, not objects of your own classes"
        )
    return _NAMES[text]


# Reading

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def _run(program: bytes, load_storage: Callable):
    """Run a pickle that has only the instructions that torch.save uses."""
    stack: list[Any] = []
    marks: list[int] = []  # heights of the stack, where the parts of a tuple, list or dict begin
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
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" as name:
                stack.append(_CONSTANTS[name])
            case "EMPTY_LIST" | "EMPTY_DICT" as name:
                stack.append([] if name == "EMPTY_LIST" else {})
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
                stack.append(load_storage(_reference(*_expect(stack.pop(), tuple))))
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case name:
                raise UnpicklingError(f"refused the pickle instruction {name}")


def _reference(kind, storage_type, key, location, numel) -> StorageReference:
    if _expect(kind, str) != "storage":
        raise UnpicklingError(f"refused a reference to a {kind!r}: only storages can be loaded")
    dtype = _expect(storage_type, _StorageType).dtype
    return StorageReference(dtype, _expect(key, str), _expect(location, str), _expect(numel, int))


# Writing

_PythonPickler: Any = pickle._Pickler  # the one written in Python: its save_global can be replaced


class _Pickler(_PythonPickler):
    """Python's own pickler, held to what `_run` understands."""

    def __init__(self, file, save_storage: Callable):
        super().__init__(file, protocol=2)
        self.save_storage = save_storage

    def save(self, obj, save_persistent_id=True):
        super().save(obj.item() if isinstance(obj, np.generic) else obj, save_persistent_id)

    def save_global(self, obj, name=None):
        module, _, attribute = str(name).partition(" ")
        self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
        self.memoize(obj)

    def persistent_id(self, obj):
        if type(obj) is not StorageReference:
            return None
        storage_type = _NAMES[f"torch {obj.dtype.legacy_name}Storage"]
        return "storage", storage_type, obj.key, obj.location, obj.numel

    def reducer_override(self, obj) -> Any:
        """How to write an object: as a name, as a call, or as pickle does it by itself."""
        kind = type(obj)
        if kind in (type(None), bool, int, float, str, tuple, list, dict):
            return NotImplemented
        if kind in (_Name, _StorageType, dtypes.dtype):
            return next(text for text, named in _NAMES.items() if named is obj)
        if isinstance(obj, Tensor):
            name, *arguments = self.tensor_call(obj)
        elif kind in _CALLS:
            name, *arguments = _CALLS[kind](obj)
        else:
            raise PicklingError(
                f"cannot save a {kind.__module__}.{kind.__qualname__}: files hold tensors, "
                "numbers, strings and plain containers. Of a module or an optimizer save the "
                "state_dict(); of an object of your own, a dict of its values"
            )
        # What pickle fills in after the call: attributes, a list's items, a dict's items.
        rest = (obj.__dict__ or None, None, iter(obj.items())) if kind is OrderedDict else ()
        return _NAMES[name], tuple(arguments), *rest

    def tensor_call(self, tensor: Tensor) -> tuple:
        """The name and the arguments of the call that makes a tensor."""
        from .nn.parameter import Parameter

        no_hooks: OrderedDict = OrderedDict()
        last = tensor.requires_grad, no_hooks
        if isinstance(tensor, Parameter):
            return "torch._utils _rebuild_parameter", wrap(tensor.array), *last
        storage, offset, strides = self.save_storage(tensor)
        where = storage, offset, tensor.array.shape, strides
        return "torch._utils _rebuild_tensor_v2", *where, *last
