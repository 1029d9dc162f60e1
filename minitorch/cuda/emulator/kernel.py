"""Kernels of an emulated GPU: what stands for cupy.RawModule and cupy.RawKernel.

A launch is checked before it begins (number and types of the arguments, sizes of grid and block)
and while it runs (native/). It works on copies of its arrays, with no man's land between them, so
that an index that is wrong by little does not hit another array; and it runs twice, with the
threads in two different orders, whose results must agree.
MINITORCH_CUDA_CHECKS=0 leaves out what is checked while it runs: one run, on the arrays themselves.
CuPy: cupy/_core/raw.pyx, cupy/cuda/function.pyx.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import signal
import subprocess
import threading
from typing import Any

import numpy as np

from .array import MemoryPointer, ndarray
from .compiler import NATIVE, compile, declaration, kernels_in
from .device import Device
from .guard import Guarded
from .shadow import checked

SEEDS = (1, 2)
SHARED, MOST_SHARED = 48 << 10, 227 << 10  # bytes of a block: without being asked for, and with
_one_launch = threading.Lock()  # the emulator has one set of fibers, and ctypes frees the GIL


class KernelError(RuntimeError):
    """A kernel, or the way it was launched, is wrong."""


class RawModule:
    """CUDA source whose kernels can be launched. Mirrors cupy.RawModule.

    Kernels are asked for by name: extern "C" ones, and instances of templates that
    `name_expressions` lists, such as "row_sum<float>".
    """

    def __init__(self, code: str, *, options=(), name_expressions=(), **ignored):
        self.code, self.options = code, tuple(options)
        self.kernels = [*kernels_in(code), *(name_expressions or ())]
        self._libraries: dict[bool, ctypes.CDLL] = {}

    def get_function(self, name: str) -> RawKernel:
        if name not in self.kernels:
            raise KernelError(
                f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name!r}. There are "
                f'{", ".join(self.kernels) or "no kernels"}; a kernel must be extern "C", an '
                "instance of a template must be in name_expressions"
            )
        return RawKernel(self, name)

    def library(self, checked: bool) -> ctypes.CDLL:
        """The compiled module, with or without the checks of every access."""
        if checked not in self._libraries:
            made = compile(self.code, self.kernels, self.options, checked)
            made.emulator_launch.restype = ctypes.c_char_p
            self._libraries[checked] = made
        return self._libraries[checked]


BUFFER: dict[str, Any] = {  # what guard.py tells of each array, one column for each of these
    "low": ctypes.c_uint64,
    "high": ctypes.c_uint64,
    "element": ctypes.c_uint64,
    "writable": ctypes.c_bool,
    "name": ctypes.c_char_p,
    "written": ctypes.c_void_p,
}


class Launch(ctypes.Structure):
    """native/engine.h has its twin."""

    _fields_ = [
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("shared_limit", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("kernel", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("buffers", ctypes.c_uint64),
        *((name, ctypes.POINTER(kind)) for name, kind in BUFFER.items()),
        ("interruptible", ctypes.c_bool),
        ("interrupted", ctypes.c_bool),
    ]


class RawKernel:
    """One kernel. kernel(grid, block, arguments, shared_mem=bytes) launches it."""

    def __init__(self, code, name: str, options=(), **ignored):
        self.module = code if isinstance(code, RawModule) else RawModule(code, options=options)
        self.name = name
        self.max_dynamic_shared_size_bytes = SHARED  # may be raised, to MOST_SHARED
        self.watched = False  # has it run with checks? The tests see to it that every kernel has

    @functools.cached_property
    def parameters(self) -> list[str]:
        """Their types: "float32", "*int64" (a pointer), "const *float16"."""
        text = ctypes.create_string_buffer(4096)
        function = self._function("signature")
        with _one_launch:  # or its accesses pass for those of the kernel that another thread runs
            function(text)
        return text.value.decode().splitlines()

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the parameters."""
        names = declaration(self.module.code, self.name)[1]
        count = len(self.parameters)
        return names if len(names) == count else [f"argument {i}" for i in range(count)]

    @functools.cached_property
    def most_threads(self) -> int:
        """How many a block may have."""
        return self._function("most_threads")()

    def _function(self, kind: str):
        index = self.module.kernels.index(self.name)
        return getattr(self.module.library(checked()), f"{kind}_{index}")

    def __call__(self, grid, block, args, *, shared_mem: int = 0, stream=None, **ignored) -> None:
        grid, block = _triple(grid, "grid"), _triple(block, "block")
        self._check_sizes(grid, block, shared_mem)
        values = self._values(args)
        if not checked():
            error = self._run(grid, block, shared_mem, values)
            if error:
                raise KernelError(f"{self.name}: {error}")
            return
        guarded = Guarded(self.parameters, self.names, args)
        results = []
        for seed in SEEDS:
            ranges = guarded.fill()
            moved = [v if isinstance(v, bytes) else guarded.moved(v) for v in values]
            error = self._run(grid, block, shared_mem, moved, ranges, seed)
            if error:
                raise KernelError(f"{self.name}: {self._with_lines(error)}")
            results.append(guarded.results())
        difference = guarded.difference(*results)
        if difference:
            raise KernelError(
                f"{self.name}: the result depends on the order of threads: {difference}"
            )
        guarded.write_back()
        self.watched = True

    def _run(self, grid, block, shared_mem, values, ranges=(), seed=0) -> str:
        """One run over these memory addresses and scalars. Returns what went wrong."""
        holders = [
            ctypes.create_string_buffer(v) if isinstance(v, bytes) else ctypes.c_uint64(v)
            for v in values
        ]
        pointers = (ctypes.c_void_p * len(holders))(*map(ctypes.addressof, holders))
        n, more = len(ranges), self.max_dynamic_shared_size_bytes > SHARED
        columns = zip(*ranges, strict=True) if ranges else [()] * len(BUFFER)
        launch = Launch(
            grid, block, shared_mem, MOST_SHARED if more else SHARED, seed,
            ctypes.cast(self._function("run"), ctypes.c_void_p), pointers, n,
            *[(kind * n)(*column) for kind, column in zip(BUFFER.values(), columns, strict=True)],
            _raises_at_ctrl_c(),
        )  # fmt: skip
        with _one_launch:
            error = self.module.library(bool(seed)).emulator_launch(ctypes.byref(launch)).decode()
        if launch.interrupted:
            told = self._with_lines(error or "interrupted").replace(", ?,", ",")  # in no known line
            raise KeyboardInterrupt(f"{self.name}: {told}")
        return error

    def _check_sizes(self, grid, block, shared_mem) -> None:
        def refuse(what):
            raise KernelError(f"{self.name}: {what}")

        if min(grid + block) < 1 or grid[0] >= 1 << 31 or max(grid[1:]) > 65535:
            refuse(
                f"grid {grid} and block {block} must be positive, the grid at most "
                "(2^31-1, 65535, 65535)"
            )
        if block[0] * block[1] * block[2] > 1024 or block[2] > 64:
            refuse(f"block {block} has more than 1024 threads, or more than 64 in z")
        if block[0] * block[1] * block[2] > self.most_threads:
            refuse(
                f"too many resources requested for launch: block {block} has more threads than the "
                f"{self.most_threads} that __launch_bounds__ promises"
            )
        if shared_mem > min(self.max_dynamic_shared_size_bytes, MOST_SHARED):
            refuse(
                f"{shared_mem} bytes of dynamic shared memory are over the limit of "
                f"{self.max_dynamic_shared_size_bytes}; kernel.max_dynamic_shared_size_bytes "
                "raises it, to at most 227 KB"
            )

    def _values(self, args) -> list[int | bytes]:
        """Of each argument its address or its bytes. KernelError for one of the wrong type."""
        if len(args) != len(self.parameters):
            raise KernelError(
                f"{self.name}: {len(args)} arguments for {len(self.parameters)} parameters "
                f"({', '.join(map(self._declared, range(len(self.parameters))))})"
            )
        return [self._value(i, a) for i, a in enumerate(args)]

    def _value(self, i: int, arg) -> int | bytes:
        parameter = self.parameters[i]

        def refuse(what):
            raise KernelError(
                f"{self.name}: argument {i} is {what}; the parameter is {self._declared(i)}"
            )

        if "*" in parameter:
            kind = parameter.partition("*")[2]
            if isinstance(arg, np.uint64) and not arg:  # the null pointer: CuPy has no other
                return 0
            if isinstance(arg, MemoryPointer):
                return arg.array._host.ctypes.data + arg.offset
            if not isinstance(arg, ndarray):
                refuse(f"{_kind(arg)}, not an array on a device")
            if arg.device.id != Device().id:
                refuse(f"on device {arg.device.id} while the current one is {Device().id}")
            if not arg.flags.c_contiguous:
                refuse(
                    f"an array of shape {arg.shape} and strides {arg.strides}, not contiguous: a "
                    "kernel sees an address only, not the strides"
                )
            wanted = {"pointer": "uint64"}.get(kind, kind)
            if kind != "void" and not kind.startswith("struct") and arg.dtype.name != wanted:
                refuse(f"an array of {arg.dtype.name}")
            return arg._host.ctypes.data
        if isinstance(arg, (bool, int, float)):
            arg = np.array(arg)[()]  # as CuPy does: 64 bits for numbers of Python
            if arg.dtype.name != parameter:
                refuse(f"a Python number, which is passed as {arg.dtype.name}")
        if not isinstance(arg, np.generic):
            refuse(_kind(arg))
        if parameter.startswith("struct"):
            if arg.nbytes != int(parameter[6:]):
                refuse(f"{arg.dtype} of {arg.nbytes} bytes")
        elif arg.dtype.name != parameter:
            refuse(_a(arg.dtype.name))
        return arg.tobytes()

    def _declared(self, i: int) -> str:
        """Parameter number i as in C: "const float32 *x"."""
        const, star, kind = self.parameters[i].rpartition("*")
        return f"{const}{kind} {star}{self.names[i]}"

    def _with_lines(self, error: str) -> str:
        """`error` with files and lines for the addresses of machine code, written as @0x12ab@."""

        def line(match) -> str:
            code = f"{int(match[1], 16) - 1:#x}"  # the call before the return address
            command = ["addr2line", "-i", "-e", self.module.library(True)._name, code]
            try:
                text = subprocess.run(command, capture_output=True, text=True).stdout
            except OSError:
                return match[1]
            # Not the emulator's own headers, wherever they were when this was compiled.
            ours = f"/{NATIVE.parent.name}/{NATIVE.name}/"
            frames = [f.split(" ")[0] for f in text.splitlines() if ours not in f and f[0] != "?"]
            return os.path.basename(frames[0]) if frames else "?"

        return re.sub("@(0x[0-9a-f]+)@", line, error)


def _raises_at_ctrl_c() -> bool:
    """Whether Ctrl-C means KeyboardInterrupt here. A handler of the program's own has to wait."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _kind(arg) -> str:
    if isinstance(arg, np.ndarray):
        return "an array on the host"
    return "an array" if isinstance(arg, ndarray) else _a(type(arg).__name__)


def _a(name: str) -> str:
    return f"an {name}" if name.startswith("int") else f"a {name}"


def _triple(size, name: str) -> tuple[int, int, int]:
    if not isinstance(size, tuple):
        raise TypeError(
            f"Argument {name!r} has incorrect type (expected tuple, got {type(size).__name__})"
        )
    x, y, z = (*map(int, size), 1, 1)[:3]
    return x, y, z
