"""The end of a program: nothing hangs, no message is lost, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from .faults import SECONDS
from .harness import try_ranks
from .launching import free_port

BIG = 4_000_000


def leave_while_others_die(rank, world_size, fault):
    import minitorch.distributed as dist
    from minitorch.distributed.transport import Transport

    dist.all_reduce(np.ones(1_000_000))
    work = None
    if rank == 1:  # it does not get beyond the beginning of destroy_process_group
        number = getattr(signal, fault)
        Transport.close = lambda *_: os.kill(os.getpid(), number)
    else:
        work = dist.isend(np.ones(BIG), 1)  # and there is something left for it
    start = time.monotonic()
    dist.destroy_process_group()
    assert work is None or work.is_completed()
    return time.monotonic() - start


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP"])
def test_a_rank_that_dies_in_destroy(fault):
    outcomes = try_ranks(*(leave_while_others_die, 3, fault), awaited=(0, 2), method="forkserver")
    for rank in (0, 2):  # nothing is lost for the others: they end, and that is all
        assert outcomes[rank].error is None, outcomes[rank].traceback
        assert outcomes[rank].value < SECONDS
        assert outcomes[rank].exit_code == 0


def call_when_it_is_over(rank, world_size):
    """A thread of the program goes on calling while the group is destroyed, and the program after
    it, in a sub-group that it has kept."""
    import minitorch.distributed as dist
    from minitorch.distributed import world

    ended = []
    pair = dist.new_group()

    def go_on(group):
        try:
            while True:
                group.all_reduce(np.ones(10), dist.ReduceOp.SUM).wait()
        except RuntimeError as error:
            ended.append(str(error))

    thread = threading.Thread(target=go_on, args=(world.default_group(),), daemon=True)
    thread.start()
    time.sleep(0.2)
    dist.destroy_process_group()
    thread.join(SECONDS)
    go_on(pair)
    return ended


def test_calls_of_another_thread_end_with_the_group():
    for outcome in try_ranks(call_when_it_is_over, 2, method="forkserver"):
        assert len(outcome.value) == 2, outcome
        for text in outcome.value:
            assert "all_reduce" in text and ("destroyed" in text or "left" in text)


SCRIPT = """
import multiprocessing, os, sys, numpy as np
import minitorch.distributed as dist

def run(rank):
    dist.init_process_group(init_method=f"tcp://127.0.0.1:{sys.argv[2]}", rank=rank, world_size=2)
    dist.all_reduce(np.ones(100_000))
    dist.all_reduce(np.ones(10), async_op=True)  # and neither waits nor leaves
    if sys.argv[3] == "fork" and os.fork() == 0:
        assert not dist.is_initialized()
        sys.exit(0)

if sys.argv[3] == "forked":  # by multiprocessing, where `atexit` is not called
    child = multiprocessing.get_context("fork").Process(target=run, args=(int(sys.argv[1]),))
    child.start()
    child.join()
    sys.exit(child.exitcode)
run(int(sys.argv[1]))
"""


@pytest.mark.parametrize("variant", ["", "fork", "forked"])
def test_a_forgotten_destroy_does_not_hang(variant):
    port = str(free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), port, variant], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    start = time.monotonic()
    for process in ranks:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and not errors, errors.decode()
    assert time.monotonic() - start < 40


def go_without_a_word(rank, world_size):
    """Rank 1 has done its part of the last call, which rank 0 makes late, and ends."""
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 0:
        time.sleep(1)
    array = np.full(10, rank + 1.0)
    dist.reduce(array, 0)
    return array[0]


def test_what_a_forked_rank_has_sent_last_arrives():
    outcomes = try_ranks(go_without_a_word, 2, destroy=False, method="forkserver")
    assert [outcome.error for outcome in outcomes] == [None, None], outcomes[0].traceback
    assert outcomes[0].value == 3


def leave_sockets_behind(rank, world_size):
    import minitorch.distributed as dist

    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        dist.all_reduce(np.ones(1_000_000))
        dist.barrier(async_op=True).wait()
    dist.destroy_process_group()
    threads = [t.name for t in threading.enumerate() if t.name == "minitorch-communication"]
    with open("/proc/self/maps") as maps:
        mapped = "memfd:minitorch" in maps.read()
    return len(before), len(os.listdir("/proc/self/fd")), threads, mapped


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_destroy_leaves_nothing():
    for outcome in try_ranks(leave_sockets_behind, 2):
        assert outcome.error is None, outcome.traceback
        before, after, threads, mapped = outcome.value
        assert after <= before - 3, "sockets are still open"
        assert not threads, "the communication thread goes on"
        assert not mapped, "shared memory is still there"
        assert outcome.exit_code == 0


def destroy_from_a_handler(rank, world_size):
    """The handler runs in the very thread that waits for the collective."""
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 1:
        time.sleep(600)  # it is not awaited
    signal.signal(signal.SIGALRM, lambda *_: dist.destroy_process_group())
    signal.alarm(2)
    start = time.monotonic()
    try:
        dist.all_reduce(np.ones(3))
    except RuntimeError as error:
        return str(error), time.monotonic() - start


def test_destroy_in_a_signal_handler():
    words, seconds = try_ranks(destroy_from_a_handler, 2, awaited=[0])[0].value
    assert "all_reduce #2" in words and "the process group was destroyed" in words
    assert seconds < 20  # the time-out is 30
