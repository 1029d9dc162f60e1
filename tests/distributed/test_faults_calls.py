"""Ranks that do not call the same: every rank raises, and is told who called what.

One start of processes goes through a table of cases, each with a process group of its own, because
after a mistake a group is over. In each, all ranks call `all_reduce(10 x float32)`, but one does
not. (Blocks of different sizes, and object collectives, are in test_mismatches.py.)
"""

import time

import numpy as np
import pytest

from minitorch.distributed.algorithms import use

from .faults import SECONDS, check
from .harness import play_cases, run_ranks


def floats(count=10, dtype=np.float32):
    return np.ones(count, dtype)


def instead(call):
    """Rank 1 makes this call, and the others all_reduce."""
    return lambda dist, rank: call(dist) if rank == 1 else dist.all_reduce(floats())


def roots(dist, rank):
    dist.broadcast(floats(), src=rank % 2)


def order(dist, rank):
    calls = [lambda: dist.all_reduce(floats()), lambda: dist.broadcast(floats(), 0)]
    for call in calls[:: -1 if rank == 1 else 1]:
        call()


def missing(dist, rank):
    if rank != 1:
        dist.all_reduce(floats())
    dist.barrier()


def message(dist, rank):
    if rank == 0:
        dist.send(floats(5), 1)
    if rank == 1:
        dist.recv(floats(6), 0)


def unsent(dist, rank):
    if rank == 0:
        dist.recv(floats(), 1, tag=7)


def late(dist, rank):
    if rank == 1:
        time.sleep(6)
    dist.all_reduce(floats())


def chain(dist, rank):
    """Rank 0 waits for rank 2, who waits for rank 1, who sleeps."""
    if rank == 1:
        time.sleep(6)
    if rank == 2:
        time.sleep(0.1)
        dist.recv(floats(7), 1)
    dist.all_reduce(floats())


def in_a_group(dist, rank):
    pair = dist.new_group([0, 1])
    if rank < 2:
        dist.all_reduce(floats(10 + rank), group=pair)


def groups_in_another_order(dist, rank):
    """Two groups share ranks 0 and 1, who use them the other way round."""
    groups = [dist.new_group([0, 1]), dist.new_group([0, 1, 2])]
    for group in groups[:: -1 if rank == 1 else 1]:
        if rank < 2 or group is groups[1]:
            dist.all_reduce(floats(), group=group)


def named_by_one(dist, rank):
    """The names hold for all groups of a process, so they are taken back at the end."""
    if rank == 1:
        use(all_reduce="halving_doubling")
    try:
        dist.all_reduce(floats(900_000))
    finally:
        use(all_reduce=None)


TYPICAL = "called all_reduce(SUM, 10 x float32)"
# name -> (what rank r calls, words of every error, the group's time-out)
CASES = {
    "another size": (
        instead(lambda dist: dist.all_reduce(floats(11))),
        ["rank 1 called all_reduce(SUM, 11 x float32)", TYPICAL],
    ),
    "a much larger size": (
        instead(lambda dist: dist.all_reduce(floats(900_000))),
        ["rank 1 called all_reduce(SUM, 900000 x float32)", TYPICAL],
    ),
    "another dtype": (
        instead(lambda dist: dist.all_reduce(floats(dtype=np.int32))),
        ["rank 1 called all_reduce(SUM, 10 x int32)", TYPICAL],
    ),
    "another reduction": (
        instead(lambda dist: dist.all_reduce(floats(), dist.ReduceOp.MAX)),
        ["rank 1 called all_reduce(MAX, 10 x float32)", TYPICAL],
    ),
    "broadcast beside all_reduce": (
        instead(lambda dist: dist.broadcast(floats(), 1)),
        ["rank 1 called broadcast(10 x float32, root=1)", TYPICAL],
    ),
    "reduce beside all_reduce": (
        instead(lambda dist: dist.reduce(floats(), 0)),
        ["rank 1 called reduce(SUM, 10 x float32, root=0)", TYPICAL],
    ),
    "all_gather beside all_reduce": (
        instead(lambda dist: dist.all_gather([floats() for _ in range(3)], floats())),
        ["rank 1 called all_gather(10 x float32)", TYPICAL],
    ),
    "barrier beside all_reduce": (
        instead(lambda dist: dist.barrier()),
        ["rank 1 called barrier()", TYPICAL],
    ),
    "another root": (
        roots,
        ["rank 1 called broadcast(10 x float32, root=1)", "called broadcast(10 x float32, root=0)"],
    ),
    "another order": (
        order,
        ["disagree about collective #1", "rank 1 called broadcast(10 x float32, root=0)", TYPICAL],
    ),
    "an algorithm that one rank has named": (
        named_by_one,
        ["the ranks disagree about the algorithms: rank ", "Call algorithms.use() on every rank"],
    ),
    "a missing call": (
        missing,
        ["disagree about collective #1", "rank 1 called barrier()", TYPICAL],
    ),
    "a message of another size": (
        message,
        ["rank 1 called recv(6 x float32, tag=0)", "rank 0 called send(5 x float32, tag=0)"],
    ),
    "a message that is never sent": (
        unsent,
        ["timed out after 3 s in ", "recv (shape (10,), float32, tag 7)", "rank 1"],
        3,
    ),
    "a late rank": (
        late,
        ["timed out after 3 s in all_reduce #1 (SUM, shape (10,), float32): rank 1 did not call"],
        3,
    ),
    "a rank that waits for a late one": (
        chain,
        ["timed out after 3 s in ", "rank 1 "],
        3,
    ),
    "another size in a sub-group": (
        in_a_group,
        ["rank 1 called all_reduce(SUM, 11 x float32)", "rank 0 " + TYPICAL],
    ),
    "sub-groups in another order": (
        groups_in_another_order,
        ["timed out after 3 s in all_reduce #1 (SUM, shape (10,), float32, group ", "rank 1"],
        3,
    ),
}


def go_through(rank, world_size, folder):
    return play_cases(rank, world_size, CASES, folder)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("stores"))
    return run_ranks(go_through, 3, folder, process_group=False, timeout=200, method="forkserver")


@pytest.mark.parametrize("name", CASES)
def test_every_rank_raises_and_names_both_calls(outcomes, name):
    _, words, *timeout = CASES[name]
    raised = {rank: outcome[name] for rank, outcome in enumerate(outcomes)}
    within = timeout[0] + SECONDS if timeout else SECONDS
    check(name, raised, "DistBackendError", *words, within=within)
    for rank, (text, _) in raised.items():
        assert text.startswith(f"DistBackendError: [rank {rank}] ")


def test_a_time_out_follows_those_who_wait_to_the_one_who_does_not(outcomes):
    text, _ = outcomes[0]["a rank that waits for a late one"]
    recv = "recv (shape (7,), float32, tag 0)"
    assert f"rank 1 did not call it; rank 2 is in {recv}, waiting for rank 1" in text or (
        f"rank 2 timed out after 3 s in {recv}: rank 1 has not sent" in text
    )
    # Both ranks say where the other is.
    text, _ = outcomes[0]["sub-groups in another order"]
    assert "rank 1 is in all_reduce #1" in text or "rank 0 is in all_reduce #1" in text
