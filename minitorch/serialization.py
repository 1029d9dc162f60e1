"""Saving and loading tensors, in PyTorch's own file format.

Why: checkpoints outlive programs and move between them. What `save` writes torch.load reads, and
the other way round.
The file is an uncompressed zip archive. Its record `data.pkl` is a pickle of the object
(safe_pickle.py), in which a tensor refers to a storage by a number; the storage's bytes are the
record `data/<number>`. So views of one memory are written once, and share it again after loading.
Invariant: nothing that a file says about itself is believed, so a damaged one gives an error, not
wrong numbers; and a path holds the old content or the new, never a part of it.
PyTorch: torch/serialization.py, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
import uuid
import zipfile
import zlib
from pickle import UnpicklingError
from typing import Any

import numpy as np

from . import devices, safe_pickle
from .dispatch.memory import address, owner, strided
from .safe_pickle import LoadedStorage, StorageReference
from .tensor import Storage, Tensor, wrap


def save(obj, f) -> None:
    """Write `obj` to `f`, a path or a file open for writing bytes. Mirrors torch.save.

    `obj` is made of tensors, parameters, numbers, strings, bytes, None, dicts, OrderedDicts,
    Counters, lists, tuples, sets, Size, dtype and device; NumPy's scalars become Python numbers.
    Raises PicklingError for anything else: save a module's state_dict(), not the module. A path
    gets its new content whole or not at all: a process killed in the middle leaves the old file.
    """
    storages = _SavedStorages()
    pickled = safe_pickle.dumps(obj, storages.add)
    records: dict[str, Any] = {"data.pkl": pickled, "byteorder": sys.byteorder.encode()}
    records |= {f"data/{s.key}": content for s, content in storages.by_owner.values()}
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
            records = _Records(archive, f if mmap else None)
            return _load(records, map_location)
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError) as error:
        raise RuntimeError(
            "cannot load: the file is damaged, cut short, or not in the zip format that save and "
            f"torch.save (since PyTorch 1.6) write: {error}"
        ) from error


# Reading


def _load(records: _Records, map_location) -> Any:
    storages: dict[str, LoadedStorage] = {}

    def storage(reference: StorageReference) -> LoadedStorage:
        dtype, key, location, numel = reference
        if key not in storages:
            content = records.read(f"data/{key}", may_map=True)
            if content.size != numel * dtype.numpy.itemsize:
                raise UnpicklingError(
                    f"storage {key} has {content.size} bytes, but should have {numel} elements of "
                    f"{dtype.numpy.itemsize} bytes"
                )
            array = _place(content.view(dtype.numpy), location, map_location)
            storages[key] = LoadedStorage(array, Storage())
        if storages[key].array.dtype != dtype.numpy:
            raise UnpicklingError(f"storage {key} is used with two types of elements")
        return storages[key]

    program = records.read("data.pkl").tobytes()
    if "byteorder" in records:
        written = records.read("byteorder").tobytes().decode()
        if written != sys.byteorder:
            raise RuntimeError(f"the file is {written}-endian, this machine {sys.byteorder}")
    return safe_pickle.loads(program, storage)


def _place(array: np.ndarray, location: str, map_location) -> Any:
    """A storage that was saved on `location`, where `map_location` wants it."""
    if callable(map_location):
        moved: Any = map_location(wrap(array), location)
        if moved is not None:
            return moved.array
    elif isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif map_location is not None:
        location = map_location
    where = devices.device(location)
    if where.type == "cpu":
        return array
    try:
        return devices.moved(array, devices.check(where))
    except RuntimeError as error:
        raise RuntimeError(
            f"the file's tensors belong on device '{location}', which is not available here: "
            "pass map_location='cpu' to load them into the CPU's memory"
        ) from error


class _Records:
    """The named pieces of bytes in an archive, checked against what its directory says."""

    file: Any  # the archive itself, open for reading bytes

    def __init__(self, archive: zipfile.ZipFile, mapped_path):
        self.archive = archive
        self.mapped_path = mapped_path  # of the archive, if storages are to be mapped from it
        self.folder = next(iter(archive.namelist()), "").partition("/")[0]
        self.file = archive.fp
        # Together the records can't be longer than the file, whatever its directory claims.
        self.bytes_left = self.file.seek(0, os.SEEK_END)

    def __contains__(self, name: str) -> bool:
        return f"{self.folder}/{name}" in self.archive.NameToInfo

    def read(self, name: str, may_map: bool = False) -> np.ndarray:
        """The bytes of a record; with `may_map` perhaps a mapping, which reads them if touched."""
        if name not in self:
            raise UnpicklingError(f"the file has no record {name!r}, as torch.save's have")
        info = self.archive.NameToInfo[f"{self.folder}/{name}"]
        if info.compress_type != zipfile.ZIP_STORED:
            raise UnpicklingError(f"record {name!r} is compressed, which torch.save never does")
        self.bytes_left -= info.file_size
        if self.bytes_left < 0:
            raise UnpicklingError(f"record {name!r} claims more bytes than the file has")
        start = self.start(info)
        if may_map and self.mapped_path and info.file_size:
            return np.memmap(self.mapped_path, np.uint8, "c", start, (info.file_size,))
        content = np.empty(info.file_size, np.uint8)
        self.file.seek(start)
        rest = content.data
        while count := self.file.readinto(rest):  # an unbuffered file may give a part at a time
            rest = rest[count:]
        if rest:
            raise EOFError(f"record {name!r} is cut short")
        if info.CRC and zlib.crc32(content.data) != info.CRC:  # PyTorch can be told to leave it 0
            raise EOFError(f"the bytes of record {name!r} do not match their checksum")
        return content

    def start(self, info: zipfile.ZipInfo) -> int:
        """Where in the file a record's bytes begin."""
        self.file.seek(max(info.header_offset, 0))
        magic, *lengths = struct.unpack("<4s22x2H", self.file.read(30))  # of name and extra field
        if info.header_offset < 0 or magic != b"PK\x03\x04":
            raise EOFError(f"record {info.filename!r} does not begin where the directory says")
        return info.header_offset + 30 + sum(lengths)


# Writing


class _SavedStorages:
    """The memories that the tensors of one file look at, each once."""

    def __init__(self) -> None:
        self.by_owner: dict[int, tuple[StorageReference, memoryview]] = {}  # key: the owner's id
        self.owners: list = []

    def add(self, tensor: Tensor) -> tuple[StorageReference, int, tuple[int, ...]]:
        """The storage that a tensor lies in, and its offset and strides there, in elements."""
        array = tensor.array
        size = array.itemsize
        whole = owner(array)
        steps = (address(array) - address(whole), *array.strides)
        if array.size == 0 or min(steps + whole.strides) < 0 or any(n % size for n in steps):
            with devices.guard(array):  # nothing to share, or not in a way the format can say
                whole = array = array.copy(order="C")
            steps = (0, *array.strides)
        if id(whole) not in self.by_owner:
            content = _bytes_of(whole)
            key, numel = str(len(self.by_owner)), len(content) // tensor.dtype.itemsize
            reference = StorageReference(tensor.dtype, key, str(tensor.device), numel)
            self.by_owner[id(whole)] = reference, content
            self.owners.append(whole)  # whose ids are not to be given to others
        reference, _ = self.by_owner[id(whole)]
        if reference.dtype is not tensor.dtype:
            raise RuntimeError(
                f"cannot save a {reference.dtype} and a {tensor.dtype} tensor that view the same "
                "memory: clone() one of them"
            )
        offset, *strides = (n // size for n in steps)
        return reference, offset, tuple(strides)


def _bytes_of(whole: Any) -> memoryview:
    """All of an array's memory, in the order in which it lies there."""
    if not isinstance(whole, np.ndarray):
        memory: Any = strided(whole, (whole.size,), (whole.itemsize,))
        return memory.get().view(np.uint8).data
    low, high = np.lib.array_utils.byte_bounds(whole)
    count = (high - low) // whole.itemsize if whole.size else 0
    return np.lib.stride_tricks.as_strided(whole, (count,), (whole.itemsize,)).view(np.uint8).data


def _write_record(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
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
