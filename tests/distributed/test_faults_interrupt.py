"""Ctrl-C: where it strikes it is a KeyboardInterrupt, and the other ranks hear of it."""

import contextlib
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
from .launching import free_port, wait_until

SOON = 0.3


def interrupted(rank, world_size, where):
    """The interrupt comes while rank 1 waits for what the others do not do."""
    import minitorch.distributed as dist

    dist.barrier()
    pair = dist.new_group([0, 1]) if where == "a sub-group" else None
    array = np.ones(10)
    start = time.monotonic()
    if rank == 1:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
        threading.Timer(SOON, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        if rank != 1:
            dist.recv(array, 1)
        elif where == "wait() of an asynchronous call":
            work = dist.all_reduce(array, async_op=True)
            time.sleep(SOON / 3)  # the background has taken it over
            work.wait()
        elif where == "wait() with the loop":
            works = [dist.all_reduce(array, async_op=True) for _ in range(3)]
            works[-1].wait()
        elif where == "a message":
            dist.recv(array, 0)
        else:
            dist.all_reduce(np.ones(10), group=pair)
    except BaseException as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start - SOON


WHERE = ["an all_reduce", "a sub-group", "a message", "wait() of an asynchronous call"]
WHERE += ["wait() with the loop"]


@pytest.mark.parametrize("where", WHERE)
def test_an_interrupt(where):
    outcomes = try_ranks(interrupted, 3, where, method="forkserver")
    name, seconds = outcomes[1].value
    assert name.startswith("KeyboardInterrupt") and seconds < SECONDS
    raised = {rank: outcomes[rank].value for rank in (0, 2)}
    check(f"Ctrl-C in {where}", raised, "recv (shape (10,), float64, tag 0): rank 1 ")
    for text, _ in raised.values():
        assert "rank 1 failed: KeyboardInterrupt" in text or "rank 1 left the process" in text


def catch_and_go_on(rank, world_size, folder):
    """Who catches an interrupt of `wait` can go on: the call is still under way."""
    import minitorch.distributed as dist

    array = np.full(10, rank + 1.0)
    caught = 0
    if rank == 0:
        assert wait_until((folder / "caught").exists)
        dist.all_reduce(array)
    else:
        work = dist.all_reduce(array, async_op=True)
        time.sleep(0.1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(SOON, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            work.wait()
        except KeyboardInterrupt:
            caught += 1
            (folder / "caught").touch()
            work.wait()
    return caught, array[0]


def test_a_wait_that_is_interrupted_can_be_taken_up_again(tmp_path):
    outcomes = try_ranks(catch_and_go_on, 2, tmp_path, method="forkserver")
    assert [outcome.value for outcome in outcomes] == [(0, 3.0), (1, 3.0)], outcomes


SCRIPT = """
import signal, sys, numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)
import minitorch.distributed as dist
rank, port, phase = int(sys.argv[1]), sys.argv[2], sys.argv[3]
size = 4 if phase == "while they wait for a rank" else 3
if phase != "in a call":
    print("ready", flush=True)
dist.init_process_group(init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
print("ready", flush=True)
array, works = np.ones(1_000_000), []
while True:
    works = [dist.all_reduce(array, async_op=phase == "in asynchronous calls")]
    for work in works:
        if work is not None:
            work.wait()
"""
PHASES = ["in a call", "in asynchronous calls", "while they wait for a rank"]


@pytest.mark.parametrize("presses", [1, 3])
@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_for_all_ranks_of_a_terminal(phase, presses):
    port = str(free_port())
    ranks: list[subprocess.Popen] = []
    try:
        for rank in range(3):
            ranks.append(
                subprocess.Popen(
                    [sys.executable, "-c", SCRIPT, str(rank), port, phase],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=ranks[0].pid if ranks else 0,
                )
            )
        for process in ranks:
            assert process.stdout and process.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        start = time.monotonic()
        for _ in range(presses):
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(ranks[0].pid, signal.SIGINT)
            time.sleep(0.1)
        raised = {}
        for rank, process in enumerate(ranks):
            _, errors = process.communicate(timeout=60)
            assert process.returncode in (1, -signal.SIGINT, 128 + signal.SIGINT), errors.decode()
            last = errors.decode().strip().splitlines()[-1]
            raised[rank] = last, time.monotonic() - start
    finally:
        for process in ranks:
            process.kill()
            process.communicate()
    times = "" if presses == 1 else " three times"
    check(f"Ctrl-C{times} for all ranks {phase}", raised)
    for text, _ in raised.values():
        assert "KeyboardInterrupt" in text or "rank " in text, text
