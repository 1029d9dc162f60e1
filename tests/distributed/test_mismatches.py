"""Ranks that call different things: every rank raises, and the error names both calls.

One start of processes goes through a table. After a mismatch a process group is over, so each case
has a new one. (The plain cases, op against op and so on, are in test_faults.py.)
"""

import time
from datetime import timedelta

import numpy as np
import pytest

from .harness import play_cases, run_ranks

SECONDS = 15  # the time-out is 20


def zeros(*sizes):
    return [np.zeros(size, np.float32) for size in sizes]


# name -> (what every rank calls, given `dist` and its rank; the words that every error must have)
CASES = {
    "block sizes": (
        lambda dist, r: dist.all_gather(
            zeros(4, 3, 1) if r == 1 else zeros(4, 3, 2), *zeros(4 - r)
        ),
        ["all_gather(8 x float32, in uneven blocks)", "all_gather(9 x float32, in uneven blocks)"],
    ),
    "even and uneven": (
        lambda dist, r: dist.all_gather(
            zeros(2, 3, 2) if r == 1 else zeros(2, 2, 2), *zeros(2 + (r == 1))
        ),
        [
            "rank 1 called all_gather(7 x float32, in uneven blocks)",
            "called all_gather(2 x float32)",
        ],
    ),
    "the same sum": (
        lambda dist, r: dist.reduce_scatter(
            *zeros(5 - r if r == 1 else 3 + r), zeros(2, 4, 3) if r == 1 else zeros(3, 3, 5)
        ),
        ["reduce_scatter(SUM, 9 x float32, in uneven blocks)", "reduce_scatter(SUM, 11 x float32"],
    ),
    "splits": (
        lambda dist, r: dist.all_to_all(
            zeros(1, 1, 1), zeros(1, 1, 2) if r == 1 else zeros(1, 1, 1)
        ),
        [
            "rank 1 called all_to_all(2 x float32, between the two)",
            "rank 2 called all_to_all(1 x float32, between the two)",
        ],
    ),
    "gather's root": (
        lambda dist, r: dist.gather(*zeros(2), zeros(2, 2, 2) if r < 2 else None, int(r == 1)),
        ["rank 1 called gather(2 x float32, root=1)", "called gather(2 x float32, root=0)"],
    ),
    "scatter's size": (
        lambda dist, r: dist.scatter(
            *zeros(3 if r == 1 else 2), zeros(2, 2, 2) if r == 0 else None
        ),
        ["rank 1 called scatter(3 x float32, root=0)", "called scatter(2 x float32, root=0)"],
    ),
    "reduction": (
        lambda dist, r: dist.reduce_scatter_tensor(
            *zeros(2, 6), op=dist.ReduceOp.MAX if r == 1 else dist.ReduceOp.SUM
        ),
        [
            "rank 1 called reduce_scatter(MAX, 2 x float32)",
            "called reduce_scatter(SUM, 2 x float32)",
        ],
    ),
    "members of a group": (
        lambda dist, r: dist.new_group([0, 1] if r == 1 else [0, 2]),
        ["the ranks disagree about collective #1", "rank 1 called new_group(2 ranks)"],
    ),
    "a group and a barrier": (
        lambda dist, r: dist.barrier() if r == 1 else dist.new_group([0, 1]),
        ["rank 1 called barrier()", "called new_group(2 ranks)"],
    ),
    "within a group": (
        lambda dist, r: dist.all_reduce(
            *zeros(1 + (r == 1)), group=dist.new_group([0, 1, 2], group_desc="trio")
        ),
        ["the ranks disagree about collective #1 of group 1", "rank 1 called all_reduce(SUM, 2"],
    ),
    "objects and tensors": (
        lambda dist, r: (
            dist.all_reduce(*zeros(1)) if r == 1 else dist.all_gather_object([None] * 3, "x")
        ),
        ["rank 1 called all_reduce(SUM, 1 x float32)", "called all_gather(1 x int64)"],
    ),
    "a missing rank": (
        lambda dist, r: (
            dist.monitored_barrier(timeout=timedelta(seconds=2)) if r != 1 else time.sleep(6)
        ),
        ["timed out after 2 s in barrier #1: rank 1 did not call it"],
    ),
}


def go_through(rank, world_size, folder):
    return play_cases(rank, world_size, CASES, folder)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_ranks(
        go_through, 3, str(tmp_path_factory.mktemp("stores")), process_group=False, timeout=250
    )


@pytest.mark.parametrize("name", CASES)
def test_every_rank_raises_and_names_both_calls(outcomes, name):
    for rank, outcome in enumerate(outcomes):
        text, seconds = outcome[name]
        assert text.startswith(f"DistBackendError: [rank {rank}]"), text
        for words in CASES[name][1]:
            assert words in text
        assert seconds < SECONDS
