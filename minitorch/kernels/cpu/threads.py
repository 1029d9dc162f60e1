"""A pool of threads for the kernels, so that large arrays use every core.

NumPy's loops and matmul release the GIL, so Python threads run them side by side. Each piece of
work must be large (whole samples, or hundreds of kilobytes): every NumPy call takes the GIL again
for a few microseconds, and many small calls from two threads are slower than from one. Therefore
the range is cut into exactly one piece per thread, and not at all below a `grain`.

NumPy's BLAS (OpenBLAS) has threads of its own. If ours call matmul while each matmul wants all
cores for itself, the two pools fight and everything slows down several-fold. So while a range is
split, BLAS is limited to one thread, and gets its threads back afterwards. OpenBLAS has a function
for that; NumPy does not expose it, but the library is loaded already and ctypes finds it by name
through NumPy's extension module. With another BLAS (MKL, Apple's Accelerate) nothing is found and
nothing is changed: results stay right, only the speed may suffer.

Invariant: `work` is called with disjoint ranges that cover [0, n), and the results come back in
order, so sums over the pieces do not depend on which thread was faster.
PyTorch: aten/src/ATen/Parallel.h (parallel_for, grain size).
"""

from __future__ import annotations

import contextvars
import ctypes
import importlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def parallel_for(n: int, work: Callable[[int, int], Any], grain: int = 1) -> list:
    """Calls work(start, stop) over the pieces of range(n), one piece a thread; returns the results.

    A piece holds at least `grain` items (but for the last). Runs inline, in one piece, when n is
    small, when there is one thread, and inside another parallel_for. An exception in any piece is
    raised here when all have ended.
    """
    pieces = min(_num_threads, n // max(grain, 1))
    if pieces <= 1 or _inside.active:
        return [work(0, n)]
    bounds = [n * i // pieces for i in range(pieces + 1)]
    with _one_blas_thread():
        tasks = [_Task(work, *r) for r in itertools.pairwise(bounds)]
        _start_workers(pieces - 1)
        for task in tasks[1:]:
            _queue.put(task)
        tasks[0].run()  # the caller works too, rather than wait
        for task in tasks[1:]:
            task.done.acquire()
    for task in tasks:
        if task.error is not None:
            raise task.error
    return [task.result for task in tasks]


def get_num_threads() -> int:
    """How many threads a kernel may use. Default: OMP_NUM_THREADS, else all the cores.

    Mirrors torch.get_num_threads.
    """
    return _num_threads


def set_num_threads(n: int) -> None:
    """Lets kernels, and NumPy's BLAS, use `n` threads from now on. Mirrors torch.set_num_threads.

    Raises RuntimeError when n is not positive.
    """
    global _num_threads
    if n <= 0:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {n}")
    _num_threads = int(n)
    _set_blas_threads(_num_threads)


class _Task:
    """One piece of a range, run in a copy of the caller's context (NumPy's errstate is there)."""

    __slots__ = ("context", "done", "error", "result", "start", "stop", "work")

    def __init__(self, work, start, stop):
        self.work, self.start, self.stop = work, start, stop
        self.context = contextvars.copy_context()
        self.done = threading.Lock()
        self.done.acquire()
        self.result = self.error = None

    def run(self):
        _inside.active = True
        try:
            self.result = self.context.run(lambda: self.work(self.start, self.stop))
        except BaseException as error:
            self.error = error
        finally:
            _inside.active = False
            self.done.release()


class _Inside(threading.local):
    active = False  # this thread is running a piece, and must not split again


_inside = _Inside()
_queue: queue.SimpleQueue[_Task] = queue.SimpleQueue()
_workers: list[threading.Thread] = []
_lock = threading.Lock()


def _start_workers(n: int) -> None:
    """Daemon threads, started when first needed, that wait for tasks for ever."""
    if len(_workers) >= n:
        return
    with _lock:
        while len(_workers) < n:
            worker = threading.Thread(target=_serve, args=(_queue,), daemon=True)
            worker.start()
            _workers.append(worker)


def _serve(tasks: queue.SimpleQueue[_Task]) -> None:
    while True:
        tasks.get().run()


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and perhaps its locks in mid-use."""
    global _queue, _workers, _lock, _inside, _limits
    _queue, _workers, _lock, _inside = queue.SimpleQueue(), [], threading.Lock(), _Inside()
    if _limits:  # the parent was inside a kernel
        _limits = 0
        _set_blas_threads(_blas_threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _find_blas() -> tuple[Callable[[], int], Callable[[int], Any]]:
    """OpenBLAS's functions that get and set its number of threads; stand-ins if not found."""
    try:
        library = ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        library = None
    for name in (
        "scipy_openblas_{}_num_threads64_",  # NumPy's own wheels
        "scipy_openblas_{}_num_threads",
        "openblas_{}_num_threads64_",  # distributions' builds
        "openblas_{}_num_threads",
    ):
        if hasattr(library, name.format("set")):
            getter, setter = (getattr(library, name.format(way)) for way in ("get", "set"))
            getter.argtypes, setter.argtypes, setter.restype = [], [ctypes.c_int], None
            return getter, setter
    return (lambda: 1), (lambda n: None)


_get_blas_threads, _set_blas_threads = _find_blas()
_limits = 0  # how many parallel_for are under way, in any thread
_blas_threads = 1  # what BLAS had before the first of them


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """BLAS uses one thread inside; the last one out gives it its threads back."""
    global _limits, _blas_threads
    with _lock:
        _limits += 1
        if _limits == 1:
            _blas_threads = _get_blas_threads()
            _set_blas_threads(1)
    try:
        yield
    finally:
        with _lock:
            _limits -= 1
            if _limits == 0:
                _set_blas_threads(_blas_threads)


def _default_num_threads() -> int:
    try:
        return max(int(os.environ["OMP_NUM_THREADS"]), 1)
    except (KeyError, ValueError):
        return os.cpu_count() or 1


_num_threads = _default_num_threads()
