"""From the source of CUDA kernels to a library that this machine's processor runs.

g++ reads native/cuda.h, which gives CUDA's words a meaning in C++, and after it the kernels'
source. That is unchanged but for `__shared__` declarations: each is followed by a call that tells
the emulator where the variable is. `-fsanitize=thread` makes g++ announce every access to memory;
linked to native/hooks.cpp instead of the sanitizer's own library, the announcements come to us.
Invariant: a library's name is the hash of all that went into it, so what lies in the cache is
right, and two processes that build the same one do no harm to each other.
CuPy: cupy/cuda/compiler.py.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
RUNTIME = ("scheduler.cpp", "waiting.cpp", "memory.cpp", "races.cpp", "hooks.cpp", "interrupt.cpp")
COMMON = (
    "-std=c++20 -fPIC -fno-gnu-unique -fno-exceptions -fno-threadsafe-statics -ffp-contract=off "
    "-U_FORTIFY_SOURCE -w"
)
WATCHED = (
    "-O1 -gdwarf-4 -g1 -fsanitize=thread,alignment,bounds,signed-integer-overflow,shift,"
    "integer-divide-by-zero --param=tsan-instrument-func-entry-exit=0"
)
UNWATCHED = "-O2 -DEMULATOR_UNWATCHED"


class CompileError(RuntimeError):
    """A kernel's source is not right; the text is the compiler's."""


def kernels_in(source: str) -> list[str]:
    """The kernels that can be asked for by their plain name: those declared extern "C"."""
    return re.findall(
        r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+'
        r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)",
        without_comments(source),
    )


def declaration(source: str, kernel: str) -> tuple[str, list[str]]:
    """What its __launch_bounds__ say ("" without them), and the names of its parameters.

    Nothing is found of a kernel that a macro declares.
    """
    name = re.escape(kernel.partition("<")[0])
    found = re.search(
        rf"__global__([^;{{}}]*?)\b{name}\s*\(([^;{{}}]*)\)\s*[;{{]", without_comments(source)
    )
    if found is None:
        return "", []
    bounds = re.search(r"__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)", found[1])
    parameters = re.sub("<[^<>]*>", "", found[2])
    return bounds[1] if bounds else "", re.findall(r"(\w+)\s*(?:,|$)", parameters)


def compile(source: str, kernels: list[str], options=(), checked: bool = True) -> ctypes.CDLL:
    """The library with these kernels. Raises CompileError with the compiler's words."""
    launchers = "".join(
        f'extern "C" void run_{i}(void **a) {{ emulator::call({name}, a); }}\n'
        f'extern "C" void signature_{i}(char *out) {{ emulator::signature({name}, out); }}\n'
        f'extern "C" int most_threads_{i}() {{ return {_most_threads(source, name)}; }}\n'
        for i, name in enumerate(kernels)
    )
    text = f'#include "cuda.h"\n#line 1 "kernel.cu"\n{declare_shared(source)}\n{launchers}'
    flags = [*COMMON.split(), *(WATCHED if checked else UNWATCHED).split()]
    flags += [o for o in options if o.startswith(("-D", "-I"))]

    def build(target: Path) -> None:
        runtime = [_runtime(name, checked) for name in RUNTIME]
        with tempfile.TemporaryDirectory() as folder:
            unit, made = Path(folder, "kernel.cpp"), Path(folder, "kernel.o")
            unit.write_text(text)
            gxx(*flags, "-c", unit, "-o", made)
            # Without the sanitizers' options, which would bring their libraries. The emulator comes
            # first: of what both have, such as std::string, the unwatched one is taken.
            gxx("-shared", "-Wl,-Bsymbolic", *runtime, made, "-o", target)

    library = _cached(".so", build, text, *flags)
    try:
        return ctypes.CDLL(str(library))
    except OSError:  # half of it reached the disk before the machine went down, say: once more
        library.unlink(missing_ok=True)
        return ctypes.CDLL(str(_cached(".so", build, text, *flags)))


def _most_threads(source: str, kernel: str) -> str:
    bounds = declaration(source, kernel)[0]
    plain = "<" not in kernel or bounds.isdigit()  # not what depends on the template's parameters
    return f"emulator::first({bounds})" if bounds and plain else "1024"


def _runtime(name: str, checked: bool) -> Path:
    """One file of the emulator itself, compiled. It is not watched."""
    flags = [*COMMON.split(), "-O2", *([] if checked else UNWATCHED.split())]
    return _cached(".o", lambda out: gxx(*flags, "-c", NATIVE / name, "-o", out), name, *flags)


def gxx(*arguments) -> None:
    """Run g++. CompileError if it is not there or finds fault."""
    program = shutil.which("g++")
    if program is None:
        raise CompileError("the CUDA emulator needs g++, which is not on the PATH")
    command = [program, f"-I{NATIVE}", f"-I{NATIVE / 'include'}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        ended = (
            f"g++ was ended by signal {-done.returncode}" if done.returncode < 0 else "g++ failed"
        )
        raise CompileError(done.stderr or ended)


# The cache


@functools.cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: the user's own folder, or one for this process alone."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home, "minitorch", "emulator")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # the latter for a user without a home
        pass
    folder = Path(tempfile.mkdtemp(prefix="minitorch-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _runtime_text() -> str:
    return "".join(p.read_text() for p in sorted(NATIVE.rglob("*.*")))


def _cached(suffix: str, build, *ingredients: str) -> Path:
    """The file made by build(path), or the one made before from the same ingredients."""
    everything = "\0".join((_runtime_text(), platform.machine(), *ingredients))
    path = cache_folder() / (hashlib.sha256(everything.encode()).hexdigest()[:32] + suffix)
    if not path.exists():
        try:
            handle, name = tempfile.mkstemp(suffix, dir=path.parent)
            os.close(handle)
        except OSError as error:
            raise CompileError(
                f"compiled kernels cannot be kept in {path.parent} ({error.strerror}); "
                "XDG_CACHE_HOME names another folder for them"
            ) from None
        try:
            build(Path(name))
            os.replace(name, path)  # at once: another process sees all of it or nothing
        finally:
            Path(name).unlink(missing_ok=True)
    return path


# The source


def without_comments(source: str) -> str:
    """The source with each comment replaced by its line ends."""
    return re.sub(
        r"//[^\n]*|/\*.*?\*/", lambda m: "\n" * m[0].count("\n") or " ", source, flags=re.DOTALL
    )


def declare_shared(source: str) -> str:
    """The source in which every __shared__ variable is made known to the emulator."""
    source = re.sub(
        r"extern\s+__shared__\s+((?:__align__|alignas)\s*\([^)]*\)\s*)?([^;]+?)\s*(\w+)\s*\[\s*\]\s*;",
        r'\2 *\3 = (\2 *)emulator::dynamic_shared("\3", sizeof(\2));',
        without_comments(source),
    )
    return re.sub(r"\b__shared__\s+([^;]+);", _with_calls, source)


def _with_calls(declaration: re.Match) -> str:
    text, brackets = declaration[1], re.compile(r"\[[^\[\]]*\]|\([^()]*\)")
    for inner in (brackets, brackets, re.compile("<[^<>]*>"), re.compile("<[^<>]*>")):
        text = inner.sub("", text)  # sizes and template arguments, nested once
    names = re.findall(r"(\w+)\s*(?:,|$)", text)
    return declaration[0] + "".join(f' emulator::share("{name}", {name});' for name in names)
