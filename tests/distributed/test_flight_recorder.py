"""The flight recorder: each rank writes down its calls, and the reader finds the difference."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minitorch.distributed.flight_recorder import first_divergence, read

from .harness import try_ranks


def program(rank, world_size, fault):
    import minitorch.distributed as dist

    ones = np.ones(4, np.float32)
    dist.all_reduce(ones)
    dist.barrier()
    if rank == 1:
        if fault == "another call":
            dist.broadcast(ones, 0)  # what is looked for
        elif fault == "late":
            time.sleep(6)
        elif fault == "missing":
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(600)  # it is not awaited
    dist.all_reduce(ones)


def record_of(fault, folder, monkeypatch, **options):
    monkeypatch.setenv("MINITORCH_FLIGHT_RECORDER", str(folder / "records"))
    try_ranks(program, 3, fault, timeout=60, **options)
    assert not list((folder / "records").glob("*.[0-9]*")), "an unfinished file is left"
    return first_divergence(read(folder / "records"))


def test_another_call(tmp_path, monkeypatch):
    sentence = record_of("another call", tmp_path, monkeypatch)
    lines = Path(__file__).read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(lines) if text.endswith("  # what is looked for"))
    assert "Collective #3 of the default group differs: ranks 0, 2 called all_reduce" in sentence
    here = f"{__file__}:{line} (program)"
    assert f"rank 1 called broadcast(4 x float32, root=0) at {here}" in sentence


def test_a_late_rank(tmp_path, monkeypatch):
    sentence = record_of("late", tmp_path, monkeypatch, group_timeout=3)
    assert "Collective #3 of the default group: ranks 0, 1, 2 called all_reduce" in sentence
    late = re.search(r"rank 1 called it ([\d.]+) s", sentence)
    assert late and 5.5 < float(late[1]) < 25, sentence
    assert "not completed on ranks 0, 1, 2" in sentence


def test_a_rank_that_does_not_call(tmp_path, monkeypatch):
    sentence = record_of("missing", tmp_path, monkeypatch, group_timeout=3, awaited=(0, 2))
    assert "Collective #3 of the default group: ranks 0, 2 called all_reduce" in sentence
    assert "rank 1 did not call it (its last was barrier() #2 at" in sentence


def entry(call, number=1, group=0, state="completed", seconds=1.0, members=(0, 1)):
    return {
        "group": group,
        "members": list(members),
        "number": number,
        "call": call,
        "site": "train.py:3 (main)",
        "state": state,
        "seconds_ago": seconds,
        "waits_for": None,
    }


def records(*ranks):
    return {
        rank: {"rank": rank, "size": len(ranks), "reason": "", "time": 0.0, "entries": entries}
        for rank, entries in enumerate(ranks)
    }


def test_nothing_wrong():
    same = [entry("barrier()", 1), entry("barrier()", 2)]
    assert "were completed" in first_divergence(records(same, same))


def test_the_oldest_difference_counts():
    """Group 2 went wrong first, group 0 only because of it."""
    mine = [entry("a()", 1, 2, seconds=9), entry("barrier()", 1, 0, "waiting", 5)]
    others = [entry("b()", 1, 2, "failed", 9), entry("barrier()", 1, 0, "waiting", 5)]
    assert "Collective #1 of group 2 differs" in first_divergence(records(mine, others))


def test_what_one_rank_has_forgotten_is_left_out():
    long = [entry("barrier()", n) for n in range(1, 6)]
    assert "were completed" in first_divergence(records(long, long[3:]))


def test_a_rank_without_a_record():
    stuck = entry("barrier()", state="waiting")
    assert "rank 1 has left no record" in first_divergence(records([stuck]))


def test_messages_that_are_waited_for():
    recv = entry("send(4 x float32, tag=0)", None, state="waiting") | {"waits_for": 1}
    assert "Rank 0 waits in send(4 x float32, tag=0)" in first_divergence(records([recv], []))


ON_SIGNAL = """
import os, signal, numpy as np
import minitorch.distributed as dist
dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)
dist.all_reduce(np.ones(3))
os.kill(os.getpid(), signal.SIGUSR1)
dist.destroy_process_group()
assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX")
def test_sigusr1_prints_the_last_calls():
    environment = {k: v for k, v in os.environ.items() if k != "MINITORCH_FLIGHT_RECORDER"}
    done = subprocess.run(
        [sys.executable, "-c", ON_SIGNAL], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "\n  all_reduce(SUM, 3 x float64) #1 at <string>:5" in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX")
def test_a_handler_that_the_program_has_set_since_stays():
    import minitorch.distributed as dist

    def mine(*_):
        pass

    before = signal.getsignal(signal.SIGUSR1)
    dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)
    try:
        signal.signal(signal.SIGUSR1, mine)
        dist.destroy_process_group()
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "minitorch.distributed.flight_recorder"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("no rank*.json in"), done.stderr
