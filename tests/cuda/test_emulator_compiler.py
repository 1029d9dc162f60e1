"""How kernels become libraries: what is done to their source, and the cache."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minitorch.cuda.emulator import RawModule, compiler
from minitorch.cuda.emulator.compiler import (
    CompileError,
    declare_shared,
    kernels_in,
    without_comments,
)

SOURCE = 'extern "C" __global__ void k(float* y) { y[threadIdx.x] = FACTOR * threadIdx.x; }'


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler.cache_folder.cache_clear()
    yield tmp_path
    compiler.cache_folder.cache_clear()


def test_every_shared_variable_is_made_known():
    source = """
        __shared__ float a[N < 3 ? 1 : 2][(4 + 1) * 2], *p, total;
        __shared__ __align__(16) pair<list<int>, T> b;"""
    changed = declare_shared(source)
    for name in ("a", "p", "total", "b"):
        assert f'emulator::share("{name}", {name});' in changed
    assert changed.count("emulator::share") == 4
    assert changed.count("\n") == source.count("\n")


@pytest.mark.parametrize("alignment", ["", "__align__(16) ", "alignas(16) "])
def test_dynamic_shared_memory(alignment):
    changed = declare_shared(f"extern __shared__ {alignment}unsigned char raw[];")
    assert changed == (
        "unsigned char *raw = (unsigned char *)"
        'emulator::dynamic_shared("raw", sizeof(unsigned char));'
    )


def test_comments_are_no_declarations():
    source = "int a; // __shared__ float b;\n/* __shared__ float c;\n */ int d;"
    assert without_comments(source) == "int a;  \n\n int d;"
    assert declare_shared(source) == without_comments(source)


def test_kernels_are_those_declared_extern_c():
    source = """
        extern "C" __global__ void one(int x);
        extern "C" __global__ void __launch_bounds__(256) two(int x);
        extern "C" __global__ __launch_bounds__(256, 2) void three(int x);
        template <class T> __global__ void four(T x);
        // extern "C" __global__ void five(int x);
    """
    assert kernels_in(source) == ["one", "two", "three"]


def test_compiled_once_for_all_processes(empty_cache):
    program = f"""
import os
os.environ["MINITORCH_CUDA"] = "emulate"
from minitorch.cuda import emulator
y = emulator.zeros(4, "float32")
emulator.RawModule(code={SOURCE!r}, options=("-DFACTOR=3",)).get_function("k")((1,), (4,), (y,))
assert y.get().tolist() == [0, 3, 6, 9]
"""
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]  # at the same time
    assert [p.wait() for p in both] == [0, 0]
    files = sorted((empty_cache / "minitorch" / "emulator").iterdir())
    assert [f.suffix for f in files].count(".so") == 1
    assert {f.suffix for f in files} == {".so", ".o"}, "nothing half-made is left"
    before = {f: f.stat().st_mtime_ns for f in files}
    RawModule(code=SOURCE, options=("-DFACTOR=3",)).library(checked=True)
    assert {f: f.stat().st_mtime_ns for f in files} == before
    RawModule(code=SOURCE, options=("-DFACTOR=4",)).library(checked=True)
    assert len(list(files[0].parent.iterdir())) == len(files) + 1


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "minitorch").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler.cache_folder.cache_clear()
    folder = compiler.cache_folder()
    compiler.cache_folder.cache_clear()
    assert tmp_path not in folder.parents and os.access(folder, os.W_OK)
    assert folder.stat().st_mode & 0o077 == 0, "for this user alone"
    folder.rmdir()


def test_without_a_home(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # a container's user without a name
    compiler.cache_folder.cache_clear()
    assert os.access(compiler.cache_folder(), os.W_OK)
    compiler.cache_folder.cache_clear()


def test_library_cut_off_by_a_crash(monkeypatch):
    load, loaded = ctypes.CDLL, []

    def load_after_a_crash(path):
        if not loaded:
            Path(path).write_bytes(b"\x7fELF")
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", load_after_a_crash)
    RawModule(code=SOURCE.replace("FACTOR", str(os.getpid()))).library(checked=False)
    assert len(loaded) == 2 and os.stat(loaded[0]).st_size > 1000
    os.unlink(loaded[0])


def test_disk_that_is_full(empty_cache, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiler.tempfile, "mkstemp", full)
    with pytest.raises(CompileError, match="No space left on device.*XDG_CACHE_HOME"):
        RawModule(code=SOURCE).library(checked=True)


def test_compiler_that_is_killed_leaves_nothing(empty_cache, monkeypatch):
    fake = empty_cache / "g++"
    fake.write_text("#!/bin/sh\nkill -9 $$\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{empty_cache}:{os.environ['PATH']}")
    with pytest.raises(CompileError, match="g.. was ended by signal 9"):
        RawModule(code=SOURCE).library(checked=True)
    assert not list((empty_cache / "minitorch" / "emulator").iterdir())


def test_without_a_compiler(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(CompileError, match="^the CUDA emulator needs g.., which is not on"):
        RawModule(code=SOURCE).library(checked=True)
