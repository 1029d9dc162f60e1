"""Every way for a rank to go ends on all others, soon, with an error that says which rank did what.

PyTorch over Gloo hangs or names nobody in most of these; what is asserted here are the words of the
errors and the time that they took. Ranks that fail while they come together are in
test_faults_start.py, ranks that call different things in test_faults_calls.py, and Ctrl-C in
test_faults_interrupt.py.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from .faults import SECONDS, check
from .harness import try_ranks

BIG = 4_000_000
SOON = 0.05  # by then the ranks are in the midst of what they do for ever


def one_call(dist, rank, group, array):
    dist.all_reduce(array, group=group)


def many_calls(dist, rank, group, array):
    for work in [dist.all_reduce(array, group=group, async_op=True) for _ in range(4)]:
        work.wait()


def messages(dist, rank, group, array):
    if rank == 1:
        dist.send(array, 0)
    if rank == 0:
        dist.recv(array, 1)
    dist.barrier()


# name -> (what is done for ever, elements, the sub-group in which it is done or all)
PROGRAMS = {
    "a small all_reduce": (one_call, 1, None),
    "a large all_reduce": (one_call, BIG, None),
    "asynchronous calls": (many_calls, 10_000, None),
    "a sub-group's calls": (one_call, 1000, [0, 1]),
    "messages": (messages, 1000, None),
}
# how the victim goes -> what the others say of it
WORDS = {
    "SIGKILL": "has lost rank 1: killed, stopped or unreachable",
    "SIGSTOP": "has lost rank 1: killed, stopped or unreachable",
    "_exit": "has lost rank 1: killed, stopped or unreachable",
    "exit 0": "rank 1 left the process group after ",
    "exception": "rank 1 left the process group after ",
    "destroy": "rank 1 left the process group after ",
}


def go_on_until(rank, world_size, program, fault):
    """Do the same for ever; the fault befalls rank 1 in the middle of it."""
    import minitorch.distributed as dist

    call, count, members = PROGRAMS[program]
    group = None if members is None else dist.new_group(members)
    array = np.zeros(count, np.float32)

    def turn():
        if members is None or rank in members:
            call(dist, rank, group, array)
        else:  # no member: it waits for the others
            dist.barrier()

    def befall():
        if fault in ("SIGKILL", "SIGSTOP"):
            threading.Timer(SOON, os.kill, (os.getpid(), getattr(signal, fault))).start()
        elif fault == "_exit":
            os._exit(0)
        elif fault == "exit 0":
            sys.exit(0)
        elif fault == "exception":
            raise ValueError("the user's own")
        elif fault == "destroy":
            dist.destroy_process_group()
            sys.exit(0)

    start = time.monotonic()
    try:
        for number in itertools.count():
            if rank == 1 and number == 3:
                befall()
            turn()
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start - SOON


CASES = [(fault, "a small all_reduce") for fault in WORDS]
CASES += [(fault, program) for program in [*PROGRAMS][1:] for fault in ("SIGKILL", "SIGSTOP")]
CASES += [("exit 0", program) for program in [*PROGRAMS][2:]]


@pytest.mark.parametrize(("fault", "program"), CASES)
def test_a_rank_that_goes(fault, program):
    # The one with an exception says its goodbye at the end of the program, not before.
    outcomes = try_ranks(
        *(go_on_until, 3, program, fault),
        timeout=25,
        awaited=(0, 2),
        destroy=False,
        method="forkserver",
    )
    raised = {rank: outcomes[rank].value for rank in (0, 2)}
    assert None not in raised.values(), outcomes
    check(f"{fault} in {program}", raised, "DistNetworkError: [rank ", WORDS[fault])
    for rank, (text, _) in raised.items():
        assert f"[rank {rank}] " in text
        assert " #" in text or "recv (" in text, "the operation is named"


def die_apart(rank, world_size):
    """Ranks 0 and 1 go on in a group of their own, of which rank 2, who dies, is no member."""
    import minitorch.distributed as dist

    pair = dist.new_group([0, 1])
    if rank == 2:
        time.sleep(SOON)
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.monotonic()
    try:
        while True:
            dist.all_reduce(np.ones(10), group=pair)
    except RuntimeError as error:
        return str(error), time.monotonic() - start - SOON


def test_a_rank_that_dies_outside_the_group():
    outcomes = try_ranks(die_apart, 3, timeout=25, awaited=(0, 1), method="forkserver")
    raised = {rank: outcomes[rank].value for rank in (0, 1)}
    check("SIGKILL of a rank outside the sub-group", raised, "has lost rank 2", "group 1")


def leave_apart(rank, world_size):
    """The same, but rank 2 leaves in order, so that nobody has lost anything."""
    import minitorch.distributed as dist

    pair = dist.new_group([0, 1])
    if rank < 2:
        array = np.ones(1)
        while array[0] < 1e6:
            dist.all_reduce(array, group=pair)
            time.sleep(0.02)  # past the departure
        return array[0]


def test_a_rank_that_leaves_disturbs_no_group_without_it():
    outcomes = try_ranks(leave_apart, 3, timeout=25, method="forkserver")
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert outcomes[0].value == outcomes[1].value == 2**20


def die_idle(rank, world_size):
    import minitorch.distributed as dist

    dist.barrier()
    time.sleep(0.5)  # so that what rank 1 has sent for the barrier is not lost with it
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    start = time.monotonic()
    work = dist.all_reduce(np.zeros(BIG), async_op=True)
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
    outcomes = try_ranks(die_idle, 2, awaited=[0], method="forkserver")
    assert outcomes[0].error is None, outcomes[0].traceback
    error, later, seconds = outcomes[0].value
    words = "all_reduce #2", "lost rank 1"
    check("SIGKILL while the others are idle", {0: (error, seconds)}, *words, ranks=2)
    assert "barrier #3" in later and "lost rank 1" in later, "and the group stays over"


def fail_inside(rank, world_size, async_op):
    """Something that no one foresees goes wrong within the algorithm on rank 1."""
    import minitorch.distributed as dist
    from minitorch.distributed import algorithms

    if rank == 1:

        def broken(link, array, combine):
            raise MemoryError("no memory for the algorithm")
            yield

        algorithms.all_reduce = broken
    start = time.monotonic()
    try:
        work = dist.all_reduce(np.ones(10), async_op=async_op)
        if async_op:
            work.wait()
    except RuntimeError as error:
        return str(error), time.monotonic() - start


@pytest.mark.parametrize("async_op", [False, True])
def test_an_error_inside_the_algorithm(async_op):
    outcomes = try_ranks(fail_inside, 3, async_op, timeout=25, method="forkserver")
    raised = {rank: outcome.value for rank, outcome in enumerate(outcomes)}
    fault = f"no memory in {'an asynchronous' if async_op else 'an'} all_reduce"
    check(fault, raised, "all_reduce #1", "rank 1 failed: MemoryError('no memory for the algo")


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
    outcomes = try_ranks(
        *(leave_while_others_die, 3, fault), timeout=25, awaited=(0, 2), method="forkserver"
    )
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
    for outcome in try_ranks(call_when_it_is_over, 2, timeout=25, method="forkserver"):
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
