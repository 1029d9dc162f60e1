"""Every way to fail ends on all ranks, soon, with an error that says which rank did what.

PyTorch over Gloo hangs, aborts or adds garbage in most of these; what is asserted here are the
words of the errors and the time that they took.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import numpy as np
import pytest

from .harness import try_ranks

SECONDS = 6  # within which a death is known everywhere
BIG = 4_000_000


def reduce_until(rank, world_size, fault, count):
    """All-reduce for ever; the fault befalls rank 1 in the middle of it."""
    import minitorch.distributed as dist

    array = np.zeros(count, np.float32)
    for _ in range(3):
        dist.all_reduce(array)
    if rank == 1:
        if fault in ("SIGKILL", "SIGSTOP", "SIGINT"):
            threading.Timer(0.05, os.kill, (os.getpid(), getattr(signal, fault))).start()
        elif fault == "_exit":
            os._exit(0)
        elif fault == "exception":
            raise ValueError("the user's own")
        elif fault == "destroy":
            return dist.destroy_process_group()
    start = time.monotonic()
    try:
        while True:
            dist.all_reduce(array)
    except BaseException as error:
        return error, time.monotonic() - start


@pytest.mark.parametrize("count", [1, BIG])
@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP"])
def test_a_rank_that_dies(fault, count):
    outcomes = try_ranks(reduce_until, 3, fault, count, timeout=20, awaited=(0, 2))
    for rank in (0, 2):
        error, seconds = outcomes[rank].value
        assert type(error).__name__ == "DistNetworkError" and isinstance(error, RuntimeError)
        assert "lost rank 1: killed, stopped or unreachable" in str(error)
        assert f"[rank {rank}] all_reduce #" in str(error) and f"shape ({count},)" in str(error)
        assert seconds < SECONDS


def test_a_rank_that_vanishes_without_a_word():
    for rank, outcome in enumerate(try_ranks(reduce_until, 3, "_exit", 10, timeout=20)):
        if rank != 1:
            assert "lost rank 1" in str(outcome.value[0])
            assert outcome.value[1] < SECONDS


@pytest.mark.parametrize("fault", ["exception", "destroy"])
def test_a_rank_that_leaves(fault):
    # The one with an exception says its goodbye at the end of the program, not before.
    outcomes = try_ranks(reduce_until, 3, fault, 10, timeout=20, destroy=False)
    for rank, outcome in enumerate(outcomes):
        if rank != 1:
            error, seconds = outcome.value
            assert "rank 1 left the process group after 3 collectives" in str(error)
            assert "all_reduce #4 (SUM, shape (10,), float32)" in str(error)
            assert seconds < SECONDS


def test_a_rank_that_is_interrupted():
    outcomes = try_ranks(reduce_until, 3, "SIGINT", 10, timeout=20)
    assert isinstance(outcomes[1].value[0], KeyboardInterrupt)
    for rank in (0, 2):
        error, seconds = outcomes[rank].value
        assert "rank 1 failed: KeyboardInterrupt" in str(error)
        assert seconds < SECONDS


def die_idle(rank, world_size):
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    start = time.monotonic()
    array = np.zeros(BIG)
    work = dist.all_reduce(array, async_op=True)
    try:
        work.wait()
    except RuntimeError as error:
        assert work.is_completed() and not work.is_success() and work.exception() is error
        try:
            dist.barrier()
        except RuntimeError as later:
            return str(error), str(later), time.monotonic() - start
    return None


def test_a_rank_that_died_before_the_call():
    error, later, seconds = try_ranks(die_idle, 2)[0].value
    assert "all_reduce #2" in error and "lost rank 1" in error
    assert "barrier #3" in later and "lost rank 1" in later, "and the group stays over"
    assert seconds < SECONDS


def floats(count=10, dtype=np.float32):
    return np.ones(count, dtype)


# What rank 1 calls while the others call all_reduce(SUM, 10 x float32), and how it is described.
MISMATCHES = {
    "size": ("all_reduce(SUM, 11 x float32)", lambda dist: dist.all_reduce(floats(11))),
    "large": ("all_reduce(SUM, 900000 x float32)", lambda dist: dist.all_reduce(floats(900_000))),
    "dtype": (
        "all_reduce(SUM, 10 x int32)",
        lambda dist: dist.all_reduce(floats(dtype=np.int32)),
    ),
    "reduction": (
        "all_reduce(MAX, 10 x float32)",
        lambda dist: dist.all_reduce(floats(), dist.ReduceOp.MAX),
    ),
    "broadcast": (
        "broadcast(10 x float32, root=1)",
        lambda dist: dist.broadcast(floats(), 1),
    ),
    "reduce": (
        "reduce(SUM, 10 x float32, root=0)",
        lambda dist: dist.reduce(floats(), 0),
    ),
    "gather": (
        "all_gather(10 x float32)",
        lambda dist: dist.all_gather([floats() for _ in range(3)], floats()),
    ),
    "barrier": ("barrier()", lambda dist: dist.barrier()),
}


def disagree(rank, world_size, kind):
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 1:
        MISMATCHES[kind][1](dist)
    else:
        dist.all_reduce(floats())


@pytest.mark.parametrize("kind", MISMATCHES)
def test_ranks_that_call_different_things(kind):
    outcomes = try_ranks(disagree, 3, kind, timeout=20)
    for outcome in outcomes:
        assert outcome.error is not None, "a rank did not notice"
        assert "DistBackendError" in outcome.error
        assert "the ranks disagree about collective #2" in outcome.error
        assert f"rank 1 called {MISMATCHES[kind][0]}" in outcome.error
        assert "called all_reduce(SUM, 10 x float32)" in outcome.error
        assert outcome.seconds < SECONDS


def disagree_about_the_root(rank, world_size):
    import minitorch.distributed as dist

    dist.broadcast(floats(), src=rank % 2)


def test_ranks_that_broadcast_from_different_roots():
    for outcome in try_ranks(disagree_about_the_root, 2, timeout=20):
        assert "rank 0 called broadcast(10 x float32, root=0)" in outcome.error
        assert "rank 1 called broadcast(10 x float32, root=1)" in outcome.error


def disagree_about_a_message(rank, world_size):
    import minitorch.distributed as dist

    if rank == 0:
        dist.send(floats(5), 1)
        dist.barrier()
    else:
        dist.recv(floats(6), 0)


def test_a_message_of_another_size():
    for outcome in try_ranks(disagree_about_a_message, 2, timeout=20):
        assert "rank 1 called recv(6 x float32, tag=0)" in outcome.error
        assert "rank 0 called send(5 x float32, tag=0)" in outcome.error


def come_late(rank, world_size):
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 2:
        time.sleep(4)
    dist.all_reduce(np.ones((3, 4)))


def test_a_rank_that_is_late():
    outcomes = try_ranks(come_late, 3, group_timeout=2, timeout=20)
    for outcome in outcomes:
        assert "timed out after 2 s in all_reduce #2 (SUM, shape (3, 4), float64)" in outcome.error
        assert "rank 2 did not call it" in outcome.error
    assert all(2 <= outcomes[rank].seconds < 4 for rank in (0, 1))


def never_send(rank, world_size):
    import minitorch.distributed as dist

    start = time.monotonic()
    if rank == 0:
        work = dist.irecv(floats(), 1, tag=7)
        try:
            work.wait(timedelta(seconds=0.5))
        finally:
            assert time.monotonic() - start < 3
    else:
        dist.barrier()


def test_a_message_that_never_comes():
    for outcome in try_ranks(never_send, 2, timeout=20):
        assert "in recv (shape (10,), float32, tag 7): rank 1 has not sent" in outcome.error


SCRIPT = """
import os, sys, numpy as np
import minitorch.distributed as dist
rank = int(sys.argv[1])
dist.init_process_group(init_method=f"tcp://127.0.0.1:{sys.argv[2]}", rank=rank, world_size=2)
array = np.ones(100_000)
dist.all_reduce(array)
work = dist.all_reduce(np.ones(10), async_op=True)  # and neither waits nor leaves
if sys.argv[3] == "fork" and os.fork() == 0:
    assert not dist.is_initialized()
    sys.exit(0)
"""


@pytest.mark.parametrize("variant", ["", "fork"])
def test_a_forgotten_destroy_does_not_hang(variant):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), port, variant], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    start = time.monotonic()
    for process in ranks:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0 and not errors, errors.decode()
    assert time.monotonic() - start < 15


def leave_sockets_behind(rank, world_size):
    import minitorch.distributed as dist

    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        dist.all_reduce(np.ones(1000))
        dist.barrier(async_op=True).wait()
    dist.destroy_process_group()
    threads = [t.name for t in threading.enumerate() if t.name == "minitorch-communication"]
    return len(before), len(os.listdir("/proc/self/fd")), threads


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_destroy_leaves_nothing():
    for outcome in try_ranks(leave_sockets_behind, 2):
        assert outcome.error is None, outcome.traceback
        before, after, threads = outcome.value
        assert after <= before - 3, "sockets are still open"
        assert not threads, "the communication thread goes on"
        assert outcome.exit_code == 0
