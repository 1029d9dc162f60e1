"""The memory that a checked launch works on: copies of its arrays, far apart from each other.

Invariant: arguments that overlap in the original overlap in the copy, and an address has the same
offset from a multiple of 512 as it would have in CuPy's memory pool.
"""

from __future__ import annotations

import ctypes
import gc

import numpy as np

from .array import MemoryPointer, ndarray

GAP = 4096  # bytes of no man's land
TOLERANCE = {"float16": 1e-2, "bfloat16": 3e-2, "float32": 1e-4, "float64": 1e-9}


class Region:
    """A stretch of device memory that arguments of the launch lie in."""

    def __init__(self, array: ndarray, owner: ndarray, writable: bool, name: str):
        self.low = array._host.ctypes.data
        self.high, self.first = self.low + array.nbytes, owner._host.ctypes.data
        self.element, self.writable, self.name = array.itemsize, writable, name
        self.shadow = array._shadow
        self.written: np.ndarray | None = None  # the copy's, while a launch runs
        self.arrays: list[tuple[int, ndarray]] = []  # with the argument's number

    def place(self) -> None:
        size = self.high - self.low
        self.memory = np.empty(size + 2 * GAP + 512, np.uint8)
        start = self.memory.ctypes.data + GAP
        self.copy = start + (self.low - self.first - start) % 512


class Guarded:
    """Guarded copies of the arrays among a launch's arguments."""

    def __init__(self, parameters: list[str], names: list[str], args):
        found = []
        self.tables: list[ndarray] = []  # arrays of addresses
        for i, (parameter, arg) in enumerate(zip(parameters, args, strict=True)):
            if "*" in parameter and not isinstance(arg, np.uint64):  # not the null pointer
                region = _region_of(arg, not parameter.startswith("const"), names[i])
                if isinstance(arg, ndarray):
                    region.arrays.append((i, arg))
                found.append(region)
                if parameter.endswith("*pointer"):
                    self.tables.append(arg)
                    found += _pointees(i, arg, names[i])
        self.regions = _merged(found)
        for region in self.regions:
            region.place()

    def fill(self) -> list[tuple]:
        """Copy the arrays' present values. Returns what native/engine.h has of each region."""
        ranges = []
        for r in self.regions:
            ctypes.memmove(r.copy, r.low, r.high - r.low)
            known = r.shadow and r.shadow.between(r.low, r.high)
            r.written = None if known is None else known.copy()
            ranges.append(
                (r.copy, r.copy + r.high - r.low, r.element, r.writable, r.name.encode(),
                 None if r.written is None else r.written.ctypes.data)
            )  # fmt: skip
        for table in self.tables:  # addresses of arrays: now those of their copies
            moved = [self.moved(int(address)) for address in table._host.flat]
            ctypes.memmove(
                self.moved(table._host.ctypes.data),
                np.array(moved, np.uint64).tobytes(),
                table.nbytes,
            )
        return ranges

    def moved(self, address: int) -> int:
        """Where what is at `address` is in the copies."""
        for r in self.regions:
            if r.low <= address < r.high or address == r.low:
                return r.copy + address - r.low
        return address

    def results(self) -> list[np.ndarray]:
        """The values of the writable arrays in the copies."""
        return [
            np.frombuffer(
                ctypes.string_at(self.moved(a._host.ctypes.data), a.nbytes), a.dtype
            ).reshape(a.shape)
            for r in self.regions
            if r.writable
            for _, a in r.arrays
        ]

    def difference(self, first: list[np.ndarray], second: list[np.ndarray]) -> str:
        """Where two runs disagree by more than rounding; empty if they agree."""
        numbers = [i for r in self.regions if r.writable for i, _ in r.arrays]
        for number, a, b in zip(numbers, first, second, strict=True):
            near = a.dtype.name in TOLERANCE
            same = _close(a, b) if near else a == b
            if not np.all(same):
                index = np.unravel_index(int(np.argmin(same)), a.shape)
                where = ", ".join(map(str, index))
                return f"argument {number}, element [{where}] is {a[index]} or {b[index]}"
        return ""

    def write_back(self) -> None:
        """Copy the results to the arrays."""
        for r in self.regions:
            if r.writable:
                ctypes.memmove(r.low, r.copy, r.high - r.low)
                if r.written is not None:
                    r.shadow.between(r.low, r.high)[:] = r.written


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    tolerance = TOLERANCE[a.dtype.name]
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.max(np.abs(a), where=np.isfinite(a), initial=0)
    return np.isclose(a, b, rtol=tolerance, atol=tolerance * size, equal_nan=True)


def _region_of(arg, writable: bool, name: str) -> Region:
    if isinstance(arg, MemoryPointer):  # all that its allocation holds
        array = owner = arg.array
    else:
        array, owner = arg, arg if arg.base is None else arg.base
    return Region(array, owner, writable, name)


def _pointees(number: int, table: ndarray, name: str) -> list[Region]:
    """The allocations that the addresses in an array of pointers lie in."""
    owners = {
        a._host.ctypes.data: a
        for a in gc.get_objects()
        if type(a) is ndarray and a.base is None and a.nbytes
    }
    starts = np.sort(np.array([*owners], np.uint64))
    found = []
    for address, i in zip(*np.unique(table._host, return_index=True), strict=True):
        owner = owners.get(int(starts[np.searchsorted(starts, address, "right") - 1]))
        if owner is not None and int(address) < owner._host.ctypes.data + owner.nbytes:
            region = _region_of(owner, True, f"{name}[{i}]")
            region.arrays.append((number, owner))
            found.append(region)
    return found


def _merged(regions: list[Region]) -> list[Region]:
    """Regions of which no two overlap."""
    merged: list[Region] = []
    for r in sorted(regions, key=lambda r: (r.low, -r.high)):
        if merged and r.low < merged[-1].high:
            last = merged[-1]
            last.high = max(last.high, r.high)
            last.element = min(last.element, r.element)
            last.writable |= r.writable
            last.arrays += r.arrays
        else:
            merged.append(r)
    return merged
