"""CuPy without a GPU or a driver: its own code runs, and what it asks of the driver does nothing.

    python -m tests.cuda.dry                 # every operation, a minute; CuPy must be installed
    python -m tests.cuda.dry sort 'fft.*'

The emulator's arrays are NumPy's, with CuPy's refusals added as far as they are known. Here arrays
are CuPy's: whether there is a function, an argument or a combination of types is CuPy's own answer.
Values are not to be had: memory is the host's and begins with zeros, copies are made, kernels are
prepared (so that the types of their arguments are looked at) and not run. What is reported is what
CuPy refuses, and shapes and dtypes that are not PyTorch's.

How: CuPy's modules are compiled by Cython, which lets one call another's functions through a table
of addresses that each has, __pyx_capi__. Addresses of functions of ours are put into the tables of
the two modules that speak to the driver, before the others read them.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import importlib.util
import itertools
import os
import re
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

DEVICES, GPU = 2, "cuda:1"
DTYPES = "float32", "float16", "bfloat16", "int64", "bool"
# Operations whose shapes depend on values.
OF_VALUES = "masked_select unique unique_consecutive bincount nonzero argwhere".split()

# The driver

_libc = ctypes.CDLL(None)
_libc.calloc.restype = ctypes.c_void_p
_libc.calloc.argtypes = [ctypes.c_size_t] * 2
_libc.free.argtypes = [ctypes.c_void_p]


class _Driver:
    """What is answered to those calls whose answer matters; the others: `_DEFAULTS`."""

    def __init__(self) -> None:
        self.device = 0
        self.launches = 0
        self.new = itertools.count(0x10000, 16)  # handles of streams, events, modules

    def getDevice(self):
        return self.device

    def setDevice(self, number):
        self.device = number

    def getDeviceCount(self):
        return DEVICES

    def malloc(self, nbytes, *_):
        return _libc.calloc(max(nbytes, 1), 1)

    mallocAsync = hostAlloc = malloc

    def free(self, pointer, *_):
        _libc.free(pointer)

    freeHost = freeAsync = free

    def memcpy(self, to, source, nbytes, *_):
        ctypes.memmove(to, source, nbytes)

    memcpyAsync = memcpy

    def memcpyPeer(self, to, _, source, __, nbytes, *___):
        ctypes.memmove(to, source, nbytes)

    memcpyPeerAsync = memcpyPeer

    def memset(self, to, value, nbytes, *_):
        ctypes.memset(to, value, nbytes)

    memsetAsync = memset

    def memGetInfo(self):
        return 1 << 33, 1 << 34

    def runtimeGetVersion(self):
        return 13000

    driverGetVersion = get_build_version = runtimeGetVersion

    def _getCUDAMajorVersion(self):
        return 13

    def deviceGetAttribute(self, number, _):
        known = {75: 9, 76: 0, 10: 32, 16: 132, 8: 48 << 10, 97: 227 << 10}  # of an H100
        return known.get(number, 1024)

    def getDeviceProperties(self, _):
        return {
            **{"name": b"a dry run", "major": 9, "minor": 0, "warpSize": 32},
            **{"totalGlobalMem": 1 << 34, "multiProcessorCount": 132},
            **{"sharedMemPerBlock": 48 << 10, "maxThreadsPerBlock": 1024},
        }

    def pointerGetMemoryType(self, _):
        return 2  # of a device

    def funcGetAttribute(self, *_):
        return 1024

    def occupancyMaxPotentialBlockSize(self, *_):
        return 132, 256

    def eventQuery(self, _):
        return 0  # it is over

    streamQuery = eventQuery

    def launchKernel(self, *_):
        self.launches += 1


driver = _Driver()
_C = {
    "PyObject *": ctypes.py_object,
    "int": ctypes.c_int,
    "CUdevice": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "uintmax_t": ctypes.c_ulong,
    "float": ctypes.c_float,
}


_DEFAULTS: dict[str, Callable] = dict.fromkeys(_C, lambda *_: 0) | {
    "PyObject *": lambda *_: None,
    "intptr_t": lambda *_: next(driver.new),
}


def _without_last(function: Callable, count: int) -> Callable:
    """The function, called with so many arguments more, which are for Cython."""
    return lambda *args: function(*args[: len(args) - count])


def _replace_calls(module: Any, kept: list) -> None:
    """Put functions of `driver` behind the names of one of CuPy's compiled modules."""
    name_of, new = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_New
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    for name, capsule in list(module.__pyx_capi__.items()):
        declared = name_of(capsule)  # such as b"intptr_t (size_t, int __pyx_skip_dispatch)"
        parts = re.fullmatch(r"(.+?) ?\((.*)\)", declared.decode())
        if not parts or parts[1] not in _C:
            continue  # a variable, or a function that returns a struct
        given = [word.strip() for word in parts[2].split(",") if word != "void"]
        types_of = [_C.get(w, ctypes.c_void_p if "*" in w else ctypes.c_int) for w in given]
        does = getattr(driver, name, None) or _DEFAULTS[parts[1]]
        called = _without_last(does, sum("__pyx" in word for word in given))
        compiled = ctypes.CFUNCTYPE(_C[parts[1]], *types_of)(called)
        kept += [compiled, declared]
        address = ctypes.cast(compiled, ctypes.c_void_p)
        module.__pyx_capi__[name] = new(address, declared, None)
        if hasattr(module, name):
            setattr(module, name, does)


class _Nothing(int):
    """A constant, or a function that returns 0."""

    def __call__(self, *_, **__):
        return _Nothing()


class _Library(types.ModuleType):
    """A library of NVIDIA's that is not looked for: whatever is called, nothing happens."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()


def install(compiler: bool = False) -> Any:
    """CuPy, on this driver; with its own compiler if asked for. Before anything imports CuPy."""
    assert "cupy" not in sys.modules, "CuPy has been imported already"
    os.environ.pop("MINITORCH_CUDA", None)
    os.environ["CUPY_ACCELERATORS"] = ""  # reductions without CUB, which calls the driver itself
    from cupy_backends.cuda import libs
    from cupy_backends.cuda.api import driver as driver_module
    from cupy_backends.cuda.api import runtime

    install.kept = kept = []  # type: ignore[attr-defined]  # the addresses must stay
    _replace_calls(runtime, kept)
    _replace_calls(driver_module, kept)
    for name in ("cublas", "cusolver", "cusparse", "curand"):
        library = _Library(f"{libs.__name__}.{name}")
        sys.modules[library.__name__] = library
        setattr(libs, name, library)

    import cupy
    from cupy.cuda import compiler as compiling
    from cupy.cuda import function, thrust

    def compiled(source, *_, name_expressions=None, **__):
        module = function.Module()
        module.load(b"")
        if name_expressions:
            module._set_mapping({name: name for name in name_expressions})
        return module

    if not compiler:
        compiling._compile_module_with_cache = compiled
    for name in ("sort", "argsort", "lexsort"):
        setattr(thrust, name, lambda *_, **__: None)
    cupy.cuda.set_allocator(None)  # no pool: all memory begins with zeros
    return cupy


# What is run

lacking: set[str] = set()  # NVIDIA's libraries that operations asked for


def complaint(error: Exception) -> Iterator[str]:
    """The error in a line, if it is CuPy's or speaks of a name, a type or an argument."""
    while error.__cause__ is not None:  # what minitorch has reworded
        error = error.__cause__  # type: ignore[assignment]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}minitorch{os.sep}" in f.filename]
    of_cupy = frames and re.search(r"\bcupyx?\b", frames[-1].filename)
    kinds = TypeError, AttributeError, NotImplementedError, ImportError, NameError
    if ours and not isinstance(error, IndexError) and (of_cupy or isinstance(error, kinds)):
        where = f"{ours[-1].filename.rpartition(f'{os.sep}minitorch{os.sep}')[2]}:{ours[-1].lineno}"
        words = str(error).partition("\n")[0]
        if "cannot open shared object" in words:
            lacking.add(words.partition(":")[0])
            return
        yield f"{type(error).__name__}: {words:.150} ({where}: {ours[-1].line})"


def operations(names: list[str]) -> Iterator[tuple[str, str]]:
    """(name, complaint) of a few of PyTorch's samples for each operation, or those named."""
    from tests.opinfo import check, scope, twins
    from tests.opinfo.test_opinfo import known

    twins.DEVICE = "cuda:1"  # while 0 is the current one
    raised: list[Exception] = []
    attempt = check.attempt

    def watched(function, *args):
        result = attempt(function, *args)
        if isinstance(result, Exception):
            raised.append(result)
        return result

    check.attempt, check.SAMPLE_SECONDS, check.OP_SECONDS = watched, 2, 4
    for half in ("float16", "bfloat16"):
        check.KINDS[half] = "forward", "grad"
    for op in check.every_op():
        if scope.is_missing(op) or (names and not any(fnmatchcase(op.name, n) for n in names)):
            continue
        raised.clear()
        tally = check.check(op, DTYPES, 2, {"forward", "grad", "inplace"})
        found = {line for error in raised for line in complaint(error)}
        for failure in tally.failures:
            first = failure.wrong.partition("\n")[0]
            accepted = op.name in OF_VALUES or (failure.kind, failure.dtype) in known().get(
                tally.name, {}
            )
            if not accepted and re.match(r"got (shape|dtype)", first):
                found.add(f"{failure.dtype}: {first}")
        for line in sorted(found):
            yield op.name, line


def others() -> Iterator[tuple[str, str]]:
    """(name, complaint) of modules, optimizers, and what asks CuPy for more than arrays."""
    import minitorch as torch
    from minitorch import devices
    from minitorch.distributed import staging
    from tests.nn.test_layers import LAYERS
    from tests.optim.test_optimizers import VARIANTS

    def layer(name, args, kwargs, shape):
        x = torch.randint(0, 5, (2, 7)) if shape == "index" else torch.randn(shape)
        module = getattr(torch.nn, name)(*args, **kwargs)
        for dtype in (torch.float32, torch.bfloat16):
            module, there = module.to(GPU, dtype), x.to(GPU)
            out = module(there if shape == "index" else there.to(dtype).requires_grad_())
            out = out[0] if isinstance(out, tuple) else out
            if out.requires_grad:
                out.sum().backward()

    def optimizer(name, options):
        for dtype in (torch.float32, torch.bfloat16):
            parameters = [torch.ones(s, dtype=dtype, device=GPU) for s in ((3, 4), ())]
            steps = getattr(torch.optim, name)(parameters, lr=0.1, **options)
            for _ in range(2):
                for p in parameters:
                    p.grad = torch.ones_like(p)
                steps.step()

    def stage():
        x = torch.ones(3, 4, device=GPU)
        copier = staging.Copier(x.array.device)
        for array in (x.array, x.t().array):
            host, event, _ = copier.fetch(array)
            event.synchronize()
            copier.bring_back(host, array, copier.free())
            torch.cuda.current_stream().wait_event(torch.cuda.current_stream().record_event())
            assert host.tolist() == array.get().tolist()

    def memory():
        pinned = torch.ones(5).pin_memory()
        assert pinned.is_pinned() and devices.is_pinned(pinned.array[1:])
        assert pinned.to(GPU, non_blocking=True).tolist() == [1] * 5
        assert torch.ones(3).to("cuda:0").to(GPU).cpu().tolist() == [1] * 3
        for name in ("memory_summary", "mem_get_info", "empty_cache", "synchronize"):
            getattr(torch.cuda, name)()

    def streams():
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(torch.cuda.Stream(GPU)) as stream:
            start.record()
            end.record(stream)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.set_stream(torch.cuda.default_stream())
        assert end.query() and start.elapsed_time(end) == 0

    def dlpack():
        x = torch.ones(3, device=GPU)
        assert torch.from_dlpack(x).device == x.device

    for run in (stage, memory, streams, dlpack):
        yield from _named(run.__name__, run)
    for case in LAYERS:
        yield from _named(case[0], layer, *case)
    for case in VARIANTS:
        yield from _named(case[0], optimizer, *case)


def _named(name: str, function: Callable, *args) -> Iterator[tuple[str, str]]:
    try:
        function(*args)
    except Exception as error:
        if traceback.extract_tb(error.__traceback__)[-1].filename == __file__:
            raise  # what is wrong is in this file
        for line in complaint(error):
            yield name, line


def kernels() -> Iterator[tuple[str, str]]:
    """(file, complaint) of each .cu file, compiled by NVRTC as CuPy calls it."""
    import cupy
    import numpy as np

    from minitorch import dtypes
    from minitorch.kernels.cuda import launch

    for path in sorted(set(launch.files().values())):
        for dtype in (np.dtype("float32"), dtypes.bfloat16.numpy):
            source = launch.source(path, dtype)
            try:
                cupy.RawModule(code=source, options=launch.OPTIONS).compile()
            except Exception as error:
                yield path.name, f"{dtype}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="operations: sort, 'fft.*'; default: everything")
    parser.add_argument("--compile", action="store_true", help="the .cu files instead, by NVRTC")
    options = parser.parse_args()
    if importlib.util.find_spec("cupy") is None:
        sys.exit("CuPy is not installed: pip install minitorch[cuda] (no GPU is needed for this)")
    install(compiler=options.compile)
    warnings.simplefilter("ignore")
    if options.compile:
        run = kernels()
    else:
        run = itertools.chain(operations(options.names), () if options.names else others())
    groups = collections.defaultdict(list)
    for name, line in run:
        groups[line].append(name)
    for line, of in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"{line}\n    {len(of)}: {' '.join(of[:8])}")
    if lacking:
        print(f"not looked at: what needs {', '.join(sorted(lacking))}")
    print(f"{len(groups)} complaints; {driver.launches} kernels were prepared", flush=True)
    os._exit(bool(groups))  # at once, for the interpreter's end would call what is there no more


if __name__ == "__main__":
    main()
