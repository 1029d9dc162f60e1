"""Saving and loading tensors, in PyTorch's own file format.

Why: checkpoints outlive programs and move between them. What `save` writes torch.load reads, and
the other way round.
The file is an uncompressed zip archive. Its `data.pkl` is a pickle of the object in which a tensor
is a call of `_rebuild_tensor_v2` on a storage named by a number; the storage's bytes stand in
`data/<number>`. So views of one memory are written once, and share it again after loading.
Invariant: loading runs no code. A pickle is a program for a little stack machine, and Python's own
machine can be told to import and call anything. The machine here (`_run`) has no import: the names
in a file are looked up in `_NAMES`, and whatever is not there is refused.
PyTorch: torch/serialization.py, torch/_weights_only_unpickler.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import shutil
import struct
import sys
import uuid
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import PicklingError, UnpicklingError
from typing import Any, NamedTuple

import numpy as np

from . import devices, dtypes
from .tensor import Size, Storage, Tensor, wrap


def save(obj, f) -> None:
    """Write `obj` to `f`, a path or a file open for writing bytes. Mirrors torch.save.

    `obj` is made of tensors, parameters, numbers, strings, bytes, None, dicts, OrderedDicts,
    Counters, lists, tuples, sets, Size, dtype and device; NumPy's scalars become Python numbers.
    Raises PicklingError for anything else: save a module's state_dict(), not the module. A path
    gets its new content whole or not at all: a process killed in the middle leaves the old file.
    """
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(obj)
    records = {"data.pkl": pickled.getvalue(), "byteorder": sys.byteorder.encode()}
    records |= {f"data/{s.key}": s.content for s in pickler.storages.values()}
    records["version"] = b"3\n"
    with (
        _replacing(f) if isinstance(f, (str, os.PathLike)) else contextlib.nullcontext(f) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name, content in records.items():
            _write_record(archive, "archive/" + name, content)


def load(f, map_location=None, *, weights_only: bool | None = True, mmap: bool | None = None):
    """Read what `save` or torch.save wrote to `f`, a path or a seekable file. Mirrors torch.load.

    `map_location` says where the tensors shall go: a device, a dict such as {"cuda:0": "cpu"}, or a
    function of the storage (a 1-d tensor) and its location that returns a storage or None; without
    it they go where they were saved. With `mmap=True` the file itself is the tensors' memory, read
    when it is touched; changes are not written back.

    Raises UnpicklingError for content that is not tensors and plain data, naming it; RuntimeError
    for a damaged file, for a device that is not here, and for `weights_only=False`.
    """
    if weights_only is not None and not weights_only:
        raise RuntimeError(
            "load(weights_only=False) would run whatever code the file contains, which minitorch "
            "never does; leave weights_only out, and keep state_dict()s in files, not modules"
        )
    is_path = isinstance(f, (str, os.PathLike))
    if mmap and not is_path:
        raise ValueError("load(mmap=True) needs the path of a file, not an open file")
    try:
        with (
            open(f, "rb") if is_path else contextlib.nullcontext(f) as file,
            zipfile.ZipFile(file) as archive,
        ):
            return _Loader(archive, map_location, f if mmap else None).load()
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError) as error:
        raise RuntimeError(
            "cannot load: the file is damaged, cut short, or not in the zip format that save and "
            f"torch.save (since PyTorch 1.6) write: {error}"
        ) from error


# Names: what a file may mention


class _Name:
    """A function that files name ("module attribute"), and what is done here in its stead."""

    def __init__(self, text: str, function: Callable):
        self.text = text
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)


class _StorageType(NamedTuple):
    dtype: dtypes.dtype


class _LoadedStorage(NamedTuple):
    array: np.ndarray  # 1-d
    shared: Storage  # the version counter that all its views have in common


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


def _rebuild(storage_array: np.ndarray, offset, shape, strides, requires_grad) -> Tensor:
    """A tensor on part of a 1-d storage, which must hold all of it; counts are in elements."""
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        raise UnpicklingError(
            "a tensor needs non-negative integers, as many strides as dimensions; the file has "
            f"offset {offset}, shape {shape}, strides {strides}"
        )
    reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if offset + (0 if 0 in shape else reach) > storage_array.size:
        raise UnpicklingError(
            f"a tensor of shape {shape} with strides {strides} at offset {offset} reaches beyond "
            f"its storage of {storage_array.size} elements"
        )
    size = storage_array.itemsize
    steps = tuple(step * size for step in strides)
    tensor = wrap(np.ndarray(shape, storage_array.dtype, storage_array, offset * size, steps))
    tensor.requires_grad = _expect(requires_grad, bool)
    return tensor


def _rebuild_tensor(storage, offset, shape, strides, requires_grad, hooks, metadata=None):
    _expect(storage, _LoadedStorage)
    if metadata:
        raise UnpicklingError(
            "the file has a tensor that PyTorch conjugates or negates lazily: save its "
            "resolve_conj() or resolve_neg()"
        )
    tensor = _rebuild(
        storage.array, offset, _expect(shape, tuple), _expect(strides, tuple), requires_grad
    )
    tensor._storage = storage.shared
    return tensor


def _rebuild_parameter(data, requires_grad, hooks, attributes=None):
    """A parameter. The attributes that a script hung on it in PyTorch are left out."""
    from .nn.parameter import Parameter

    return Parameter(_expect(data, Tensor), _expect(requires_grad, bool))


# Every function checks its arguments, for the file chooses them, and neither bytearray(10**12) nor
# the set of a one-element tensor expanded to 2**60 may be had from outside.
_FUNCTIONS: dict[str, Callable] = {
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
_NAMES: dict[str, Any] = {text: _Name(text, function) for text, function in _FUNCTIONS.items()}
_NAMES |= {f"torch {d.name}": d for d in dtypes.ALL}
_NAMES |= {f"torch {d.legacy_name}Storage": _StorageType(d) for d in dtypes.ALL}


def _find(text: str):
    if text not in _NAMES:
        raise UnpicklingError(
            f"refused to load the global {text.replace(' ', '.')}: load makes tensors, numbers, "
            "strings and plain containers only, and never runs code from a file. Save "
            "state_dict()s, not objects of your own classes"
        )
    return _NAMES[text]


# Reading


def _run(program: bytes, load_storage: Callable):
    """Run a pickle that has only the instructions that torch.save uses."""
    stack, marks, memo = [], [], {}

    def pop(count: int | None = None) -> list:
        """The topmost `count` values, or those above the last mark."""
        first = marks.pop() if count is None else len(stack) - count
        items = stack[first:]
        del stack[first:]
        return items

    for instruction, argument, _ in pickletools.genops(program):
        name = instruction.name
        match name:
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name))))
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[name]())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "APPEND" | "APPENDS":
                items = pop(1 if name == "APPEND" else None)
                _expect(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = pop(2 if name == "SETITEM" else None)
                target = _expect(stack[-1], dict, OrderedDict)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    target[_key(key)] = value
            case "GLOBAL":
                stack.append(_find(str(argument)))
            case "BINPERSID":
                stack.append(load_storage(stack.pop()))
            case "REDUCE":
                function, arguments = pop(2)
                stack.append(_expect(function, _Name)(*_expect(arguments, tuple)))
            case "BUILD":  # attributes of an OrderedDict, such as a state_dict's _metadata
                attributes = _expect(stack.pop(), dict)
                _expect(stack[-1], OrderedDict).__dict__.update(attributes)
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case _:
                raise UnpicklingError(f"refused the pickle instruction {name}")


class _Loader:
    """One call of `load`."""

    def __init__(self, archive: zipfile.ZipFile, map_location, mapped_path):
        self.archive = archive
        self.map_location = map_location
        self.mapped_path = mapped_path
        self.storages: dict[str, _LoadedStorage] = {}
        self.folder = next(iter(archive.namelist()), "").partition("/")[0]
        self.file: Any = archive.fp
        # Together the records can't be longer than the file, whatever its directory claims.
        self.bytes_left = self.file.seek(0, os.SEEK_END)

    def load(self):
        pickled = self.read(self.record("data.pkl"))
        if self.folder + "/byteorder" in self.archive.namelist():
            written = self.read(self.record("byteorder")).tobytes().decode()
            if written != sys.byteorder:
                raise RuntimeError(f"the file is {written}-endian, this machine {sys.byteorder}")
        try:
            return _run(pickled.tobytes(), self.storage)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnpicklingError(f"cannot make sense of the pickle: {error}") from error

    def record(self, name: str) -> zipfile.ZipInfo:
        try:
            info = self.archive.getinfo(f"{self.folder}/{name}")
        except KeyError:
            raise UnpicklingError(
                f"the file has no record {name!r}, as torch.save's have"
            ) from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise UnpicklingError(f"record {name!r} is compressed, which torch.save never does")
        self.bytes_left -= info.file_size
        if self.bytes_left < 0:
            raise UnpicklingError(f"record {name!r} claims more bytes than the file has")
        return info

    def start(self, info: zipfile.ZipInfo) -> int:
        """Where in the file a record's bytes begin."""
        self.file.seek(max(info.header_offset, 0))
        magic, *lengths = struct.unpack("<4s22x2H", self.file.read(30))  # of name and extra field
        if info.header_offset < 0 or magic != b"PK\x03\x04":
            raise EOFError(f"record {info.filename!r} does not begin where the directory says")
        return info.header_offset + 30 + sum(lengths)

    def read(self, info: zipfile.ZipInfo) -> np.ndarray:
        content = np.empty(info.file_size, np.uint8)
        self.file.seek(self.start(info))
        rest = content.data
        while count := self.file.readinto(rest):  # an unbuffered file may give a part at a time
            rest = rest[count:]
        if rest:
            raise EOFError(f"record {info.filename!r} is cut short")
        if info.CRC and zlib.crc32(content.data) != info.CRC:  # PyTorch can be told to leave it 0
            raise EOFError(f"the bytes of record {info.filename!r} do not match their checksum")
        return content

    def map(self, info: zipfile.ZipInfo) -> np.ndarray:
        """A record's bytes as a private mapping of the file, which reads them when touched."""
        return np.memmap(self.mapped_path, np.uint8, "c", self.start(info), (info.file_size,))

    def storage(self, reference) -> _LoadedStorage:
        """The storage that ("storage", type, key, location, number of elements) refers to."""
        kind, storage_type, key, location, count = _expect(reference, tuple)
        if kind != "storage":
            raise UnpicklingError(f"refused a reference to a {kind!r}: only storages can be loaded")
        kind = _expect(storage_type, _StorageType).dtype.numpy
        if _expect(key, str) not in self.storages:
            info = self.record(f"data/{key}")
            content = self.map(info) if self.mapped_path and info.file_size else self.read(info)
            if content.size != _expect(count, int) * kind.itemsize:
                raise UnpicklingError(
                    f"storage {key} has {content.size} bytes, but should have {count} elements of "
                    f"{kind.itemsize} bytes"
                )
            array = self.place(content.view(kind), _expect(location, str))
            self.storages[key] = _LoadedStorage(array, Storage())
        if self.storages[key].array.dtype != kind:
            raise UnpicklingError(f"storage {key} is used with two types of elements")
        return self.storages[key]

    def place(self, array: np.ndarray, location: str) -> np.ndarray:
        """A storage that was saved on `location`, where `map_location` wants it."""
        if callable(self.map_location):
            moved: Any = self.map_location(wrap(array), location)
            if moved is not None:
                return moved.array
        elif isinstance(self.map_location, dict):
            location = self.map_location.get(location, location)
        elif self.map_location is not None:
            location = self.map_location
        if devices.device(location).type != "cpu":
            raise RuntimeError(
                f"the file's tensors belong on device '{location}', which is not available here: "
                "pass map_location='cpu' to load them into the CPU's memory"
            )
        return array


# Writing


class _SavedStorage(NamedTuple):
    key: str
    dtype: dtypes.dtype
    content: np.ndarray  # bytes


_PythonPickler: Any = pickle._Pickler  # the one written in Python: its save_global can be replaced


class _Pickler(_PythonPickler):
    """Python's own pickler, held to what `_run` understands."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages: dict[int, _SavedStorage] = {}  # by the id of the memory's owner

    def save(self, obj, save_persistent_id=True):
        super().save(obj.item() if isinstance(obj, np.generic) else obj, save_persistent_id)

    def save_global(self, obj, name=None):
        module, _, attribute = str(name).partition(" ")
        self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
        self.memoize(obj)

    def persistent_id(self, obj):
        if type(obj) is not _SavedStorage:
            return None
        storage_type = _NAMES[f"torch {obj.dtype.legacy_name}Storage"]
        return "storage", storage_type, obj.key, "cpu", obj.content.size // obj.dtype.itemsize

    def reducer_override(self, obj) -> Any:
        """How to write an object: as a name, as a call, or as pickle does it by itself."""
        kind = type(obj)
        if kind in _PLAIN:
            return NotImplemented
        if kind in _AS_NAME:
            return _AS_NAME[kind](obj)
        if isinstance(obj, Tensor):
            return self.reduce_tensor(obj)
        if kind in _AS_CALL:
            name, *parts = _AS_CALL[kind](obj)
            return _NAMES[name], *parts
        raise PicklingError(
            f"cannot save a {kind.__module__}.{kind.__qualname__}: files hold tensors, numbers, "
            "strings and plain containers. Of a module or an optimizer save the state_dict(); of "
            "an object of your own, a dict of its values"
        )

    def reduce_tensor(self, tensor: Tensor):
        from .nn.parameter import Parameter

        if isinstance(tensor, Parameter):
            arguments = wrap(tensor.array), tensor.requires_grad, OrderedDict()
            return _NAMES["torch._utils _rebuild_parameter"], arguments
        array = tensor.array
        size = array.itemsize
        owner = _owner(array)
        steps = (array.ctypes.data - owner.ctypes.data, *array.strides)
        if array.size == 0 or min(steps + owner.strides) < 0 or any(n % size for n in steps):
            owner = array = array.copy()  # nothing to share, or not in a way the format can say
            steps = (0, *array.strides)
        storage = self.storages.get(id(owner))
        if storage is None:
            storage = _SavedStorage(str(len(self.storages)), tensor.dtype, _bytes_of(owner))
            self.storages[id(owner)] = storage
        if storage.dtype is not tensor.dtype:
            raise RuntimeError(
                f"cannot save a {storage.dtype} and a {tensor.dtype} tensor that view the same "
                "memory: clone() one of them"
            )
        offset, *strides = (n // size for n in steps)
        arguments = storage, offset, array.shape, tuple(strides), tensor.requires_grad
        return _NAMES["torch._utils _rebuild_tensor_v2"], (*arguments, OrderedDict())


_PLAIN = (type(None), bool, int, float, str, tuple, list, dict)
_AS_NAME: dict[type, Callable] = {
    _Name: lambda name: name.text,
    _StorageType: lambda storage_type: f"torch {storage_type.dtype.legacy_name}Storage",
    dtypes.dtype: lambda dtype: f"torch {dtype.name}",
}
_AS_CALL: dict[type, Callable] = {  # name, arguments, and for a dict: attributes, None, items
    OrderedDict: lambda d: (
        ("collections OrderedDict", (), d.__dict__ or None, None, iter(d.items()))
    ),
    Counter: lambda counter: ("collections Counter", (dict(counter),)),
    set: lambda s: ("__builtin__ set", (list(s),)),
    complex: lambda z: ("__builtin__ complex", (z.real, z.imag)),
    bytes: lambda b: ("_codecs encode", (b.decode("latin-1"), "latin-1")),
    bytearray: lambda b: ("__builtin__ bytearray", (bytes(b),)),
    Size: lambda size: ("torch Size", (tuple(size),)),
    devices.device: lambda d: ("torch device", (d.type,) if d.index is None else (d.type, d.index)),
}


def _owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory `array` looks at: the last one along the chain of bases."""
    owner, link = array, array
    while link is not None:
        if isinstance(link, np.ndarray):
            owner = link
        link = getattr(link, "base", None)
    return owner


def _bytes_of(owner: np.ndarray) -> np.ndarray:
    """All of an array's memory, in the order in which it lies there."""
    low, high = np.lib.array_utils.byte_bounds(owner)
    count = (high - low) // owner.itemsize if owner.size else 0
    return np.lib.stride_tricks.as_strided(owner, (count,), (owner.itemsize,)).view(np.uint8)


def _write_record(archive: zipfile.ZipFile, name: str, content) -> None:
    info = zipfile.ZipInfo(name)  # its date is always 1980: equal contents make equal files
    # Like PyTorch, start the content at a multiple of 64 bytes, so that it can be mapped: the extra
    # field makes up the difference. (A header has 30 bytes, and 20 more for a large record.)
    start = archive.start_dir + 30 + len(name) + 4
    start += 20 if len(content) * 1.05 > zipfile.ZIP64_LIMIT else 0
    info.extra = struct.pack("<2H", 0x4246, -start % 64) + bytes(-start % 64)
    archive.writestr(info, content)


@contextlib.contextmanager
def _replacing(path):
    """A file that takes the place of the one at `path` when everything has been written."""
    path = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(path)):
        raise RuntimeError(f"cannot save: the folder {os.path.dirname(path)} does not exist")
    if os.path.exists(path) and not os.path.isfile(path):  # /dev/null, a pipe
        with open(path, "wb") as file:
            yield file
        return
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
