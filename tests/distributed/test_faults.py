"""Every way for a rank to go ends on all others, soon, with an error that says which rank did what.

PyTorch over Gloo hangs or names nobody in most of these; what is asserted here are the words of the
errors and the time that they took. Ranks that fail while they come together are in
test_faults_start.py, ranks that call different things in test_faults_calls.py, Ctrl-C in
test_faults_interrupt.py, and the end of a program in test_faults_end.py.
"""

import itertools
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from .faults import check
from .harness import try_ranks
from .launching import wait_until

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
    outcomes = try_ranks(die_apart, 3, awaited=(0, 1), method="forkserver")
    raised = {rank: outcomes[rank].value for rank in (0, 1)}
    words = "has lost rank 2", "group 1"
    check("SIGKILL of a rank outside the sub-group", raised, *words)


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
    outcomes = try_ranks(leave_apart, 3, method="forkserver")
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert outcomes[0].value == outcomes[1].value == 2**20


def die_idle(rank, world_size, folder):
    import minitorch.distributed as dist

    dist.barrier()
    if rank == 1:  # what it has sent for the barrier must not be lost with it
        assert wait_until((folder / "through").exists)
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "through").touch()
    time.sleep(1)
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


def test_a_rank_that_died_before_the_call(tmp_path):
    outcomes = try_ranks(die_idle, 2, tmp_path, awaited=[0], method="forkserver")
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
    outcomes = try_ranks(fail_inside, 3, async_op, method="forkserver")
    assert [outcome.traceback for outcome in outcomes if outcome.error] == []
    raised = {rank: outcome.value for rank, outcome in enumerate(outcomes)}
    fault = f"no memory in {'an asynchronous' if async_op else 'an'} all_reduce"
    check(fault, raised, "all_reduce #1", "rank 1 failed: MemoryError('no memory for the algo")
