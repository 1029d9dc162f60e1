"""From Python to a kernel: `launch("softmax_forward", grid, block, x, out, rows, n, inner)`.

A kernel is found by its name in the .cu files of this folder. Its file is compiled for the element
type of the call, which it calls `T`: kernels for float and half are the same text. CUDA checks
nothing of what a kernel is given. It takes eight bytes of a Python float for the four of a `float`,
and follows a pointer as if the array were contiguous and of the right type. So the kernel's own
declaration is read here, and each argument held against it: invariant: what arrives is what
the declaration says.
PyTorch: the AT_DISPATCH macros of aten/src/ATen/Dispatch.h, and C10_CUDA_KERNEL_LAUNCH_CHECK.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...cuda import runtime
from ..cpu.blocking import accumulation_dtype

FOLDER = Path(__file__).parent
THREADS = 256  # of a block, where nothing speaks for another number
OPTIONS = ("-std=c++17",)

NAMES = {
    "float64": "double",
    "float32": "float",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "int64": "int64",
    "int32": "int",
    "int16": "short",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}
"""What C++ calls an element type (common.cuh says what int64 is)."""

_PLAIN: dict[str, np.dtype] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "int64": np.dtype(np.int64),
    "uint64": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
_KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)"
)
_NULL = np.uint64(0)
_UNASKED_SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking


class Parameter(NamedTuple):
    """One parameter of a kernel: an array's first element if `pointer`, else a number."""

    name: str
    dtype: np.dtype
    pointer: bool


@functools.cache
def files() -> dict[str, Path]:
    """For each kernel the file that it is in."""
    return {
        name: path
        for path in sorted(FOLDER.glob("*.cu"))
        for name, _ in _KERNEL.findall(path.read_text())
    }


@functools.cache
def source(path: Path, dtype: np.dtype) -> str:
    """The text that is compiled: the file for elements of this type, its own headers put in."""
    return f"#define ELEMENT {NAMES[dtype.name]}\n{_with_headers(path, set())}"


def _with_headers(path: Path, seen: set[str]) -> str:
    """The file, and the text of each header of this folder where it is first included."""
    seen.add(path.name)
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(path.read_text().splitlines(), 1):
        header = re.match(r'#include "(.+)"', line)
        if header is None:
            lines.append(line)
        elif header[1] not in seen:
            lines.append(_with_headers(path.parent / header[1], seen))
            lines.append(f'#line {number + 1} "{path.name}"')
        else:
            lines.append("")
    return "\n".join(lines)


@functools.cache
def parameters(name: str, dtype: np.dtype) -> list[Parameter]:
    """What a kernel is declared to take, where T is `dtype`."""
    declared = dict(_KERNEL.findall(files()[name].read_text()))[name]
    types: dict[str, np.dtype] = {
        **_PLAIN,
        "T": dtype,
        "wide": accumulation_dtype(dtype),
        "T *": _PLAIN["uint64"],
    }
    found = []
    for parameter in declared.split(","):
        words = parameter.replace("__restrict__", "").replace("const", "").replace("*", " * ")
        *kind, its_name = words.split()
        pointer = kind[-1] == "*"
        found.append(Parameter(its_name, types[" ".join(kind[:-1] if pointer else kind)], pointer))
    return found


@functools.cache
def _module(path: Path, dtype: np.dtype) -> Any:
    return runtime.library().RawModule(code=source(path, dtype), options=OPTIONS)


class Kernel:
    """A kernel, compiled for one element type."""

    def __init__(self, name: str, dtype: np.dtype):
        if name not in files():
            raise LookupError(f"no .cu file of {FOLDER.name} has a kernel {name}")
        if dtype.name not in NAMES:
            raise NotImplementedError(f"the CUDA kernel {name} is not implemented for {dtype.name}")
        self.name = name
        self.parameters = parameters(name, dtype)
        self.function = _module(files()[name], dtype).get_function(name)

    def check(self, args) -> tuple:
        """The arguments as declared. TypeError or ValueError for those that cannot be."""
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name} takes {len(self.parameters)} arguments but {len(args)} were given: "
                + ", ".join([p.name for p in self.parameters])
            )
        checked = []
        for arg, (name, dtype, pointer) in zip(args, self.parameters, strict=True):
            if not pointer:
                checked.append(dtype.type(arg))
            elif arg is None:
                checked.append(_NULL)
            elif type(arg) is np.ndarray:
                raise TypeError(f"{self.name}: the array {name} is not on a GPU")
            elif arg.dtype != dtype:
                raise TypeError(
                    f"{self.name}: the array {name} has to be of {dtype.name}, not {arg.dtype.name}"
                )
            elif not arg.flags.c_contiguous:
                raise ValueError(
                    f"{self.name}: the array {name} has to be contiguous. Its shape is {arg.shape} "
                    f"with strides {arg.strides}; contiguous() makes a copy that is"
                )
            else:
                checked.append(arg)
        return tuple(checked)


loaded: dict[tuple[str, np.dtype], Kernel] = {}
"""The kernels that have been launched, for each element type."""


def launch(name: str, grid, block, *args, dtype: np.dtype | None = None, shared: int = 0) -> None:
    """Run a kernel with `grid` blocks of `block` threads (ints, or tuples of up to three).

    Arrays must be of the declared types and contiguous, and None is a null pointer; numbers are
    converted. T is `dtype`, by default that of the first argument. `shared` is the bytes of dynamic
    shared memory. Where the grid is empty there is nothing to do.
    """
    key = name, dtype or args[0].dtype
    kernel = loaded.get(key)
    if kernel is None:
        kernel = loaded[key] = Kernel(*key)
    grid = grid if type(grid) is tuple else (grid,)
    args = kernel.check(args)
    if 0 in grid:
        return
    if shared > _UNASKED_SHARED:
        kernel.function.max_dynamic_shared_size_bytes = shared
    block = block if type(block) is tuple else (block,)
    kernel.function(grid, block, args, shared_mem=shared)


# What the functions around the kernels need


def empty(shape, dtype) -> Any:
    """A new array on the current GPU, its values undefined."""
    return runtime.library().empty(shape, dtype)


def contiguous(array) -> Any:
    """The array itself if it is contiguous, else a copy that is."""
    return array if array.flags.c_contiguous else array.copy(order="C")


def blocks(n: int, each: int = THREADS, most: int = 1 << 16) -> int:
    """How many blocks n elements need, if a block takes `each` of them at a time.

    Not more than `most`, for a kernel with a grid-stride loop needs only enough to fill the GPU.
    """
    return min(-(-n // each), most)


def threads(n: int, most: int = 1024) -> int:
    """How many threads a block should have that shares out n elements: a power of 2, from 32 on."""
    return min(max(1 << (n - 1).bit_length(), 32), most) if n > 0 else 32
