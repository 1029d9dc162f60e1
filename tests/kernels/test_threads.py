import multiprocessing
import threading

import numpy as np
import pytest

from minitorch import kernels
from minitorch.kernels.cpu import threads
from minitorch.kernels.cpu.threads import parallel_for


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("grain", [0, 1, 3, 1000])
def test_pieces_cover_the_range_in_order(n, grain, two_threads):
    pieces = parallel_for(n, lambda start, stop: list(range(start, stop)), grain)
    assert [i for piece in pieces for i in piece] == list(range(n))
    assert len(pieces) <= 2
    assert len(pieces) == 1 or all(len(p) >= grain for p in pieces)


def test_pieces_run_in_different_threads(two_threads):
    meet = threading.Barrier(2, timeout=60)  # broken if one thread has to run both
    parallel_for(2, lambda start, stop: meet.wait())


@pytest.mark.timeout(60)  # a pool that waits for itself never ends
def test_nested_ranges_are_not_split(two_threads):
    inner = parallel_for(2, lambda *_: len(parallel_for(100, lambda *piece: piece)))
    assert inner == [1, 1]


@pytest.mark.parametrize("where", [0, 1])
def test_an_exception_reaches_the_caller(where, two_threads):
    def work(start, stop):
        if start == where:
            raise ValueError("in piece")

    with pytest.raises(ValueError, match="in piece"):
        parallel_for(2, work)
    assert parallel_for(2, lambda start, stop: start) == [0, 1]  # and the pool goes on


def test_the_callers_errstate_holds_in_the_threads(two_threads):
    def work(start, stop):
        return np.geterr()["divide"]

    with np.errstate(divide="raise"):
        assert parallel_for(2, work) == ["raise", "raise"]


def test_blas_has_one_thread_inside_and_its_threads_outside(two_threads):
    import ctypes

    from numpy._core import _multiarray_umath

    library = ctypes.CDLL(_multiarray_umath.__file__)
    count = getattr(library, "scipy_openblas_get_num_threads64_", None)
    if count is None:
        pytest.skip("NumPy here has another BLAS")
    assert count() == 2
    assert parallel_for(2, lambda *_: count()) == [1, 1]
    assert count() == 2


def _child(connection):
    connection.send(parallel_for(2, lambda start, stop: start))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(two_threads):
    parallel_for(2, lambda *_: None)  # the parent's threads are there
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_child, args=(there,))
    child.start()
    try:
        assert here.poll(60), "the child hangs"
        assert here.recv() == [0, 1]
    finally:
        child.kill()
        child.join()


def test_set_num_threads():
    before = kernels.get_num_threads()
    kernels.set_num_threads(3)
    assert kernels.get_num_threads() == threads.get_num_threads() == 3
    kernels.set_num_threads(before)
    with pytest.raises(RuntimeError, match="positive"):
        kernels.set_num_threads(0)
