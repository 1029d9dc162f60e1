"""The prices and the choice of algorithms on real processes."""

import os
import re

import numpy as np
import pytest

import minitorch.distributed as dist
from minitorch.distributed import calibration
from minitorch.distributed.algorithms import ALGORITHMS, choice, use
from minitorch.distributed.algorithms.table import VARIABLE
from tests.distributed.harness import run_ranks
from tests.distributed.launching import free_port, launch
from tests.distributed.simulated import shares


def costs_and_choice(rank, size):
    transport = dist.group.WORLD._progress.transport
    half = dist.new_group([0, 1])
    link = half._progress.transport if half != dist.GroupMember.NON_GROUP_MEMBER else transport
    return transport.costs, link.costs, choice("all_reduce", 1 << 24, transport.costs, (0,) * size)


@pytest.mark.parametrize("size", [1, 3])
def test_all_ranks_and_subgroups_have_the_same_prices(size):
    answers = run_ranks(costs_and_choice, size) if size > 1 else run_ranks(only_costs, 1)
    assert len(set(answers)) == 1
    costs = answers[0][0]
    for value, typical in zip(costs.within, calibration.TYPICAL.within, strict=True):
        assert np.log10(value / typical) == pytest.approx(round(np.log10(value / typical)))
    assert costs.between == calibration.TYPICAL.between  # there is nothing to measure


def only_costs(rank, size):
    return (dist.group.WORLD._progress.transport.costs,)


def every_all_reduce(rank, size, count):
    results = {}
    for name in ALGORITHMS["all_reduce"]:
        use(all_reduce=name)
        data = shares(size, count)[rank]
        dist.all_reduce(data)
        results[name] = data
    return results


@pytest.mark.parametrize("size, count", [(2, 700_000), (3, 5), (3, 300_000)])
def test_every_all_reduce_over_zeromq(size, count):
    expected = np.sum(shares(size, count), axis=0)
    for results in run_ranks(every_all_reduce, size, count):
        for name, data in results.items():
            np.testing.assert_array_equal(data, expected, err_msg=name)


def rank_0_names_the_ring(rank, size, port):
    if rank == 0:
        os.environ[VARIABLE] = "all_reduce=ring"
    store = dist.TCPStore("127.0.0.1", port, size, is_master=rank == 0)
    dist.init_process_group(store=store, rank=rank, world_size=size)
    chosen = choice("all_reduce", 4, dist.group.WORLD._progress.transport.costs, (0,) * size)
    dist.destroy_process_group()
    return chosen


def test_what_rank_0s_environment_names_holds_for_all():
    names = run_ranks(rank_0_names_the_ring, 3, free_port(), process_group=False)
    assert names == ["ring"] * 3


def name_nonsense(rank, size):
    os.environ[VARIABLE] = "all_reduce=rnig"
    dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(AssertionError, match="all_reduce has no algorithm 'rnig'.*ring"):
        run_ranks(name_nonsense, 1, process_group=False)


ATTEMPTS = """
import os
import re
import minitorch.distributed as dist
from minitorch.distributed import calibration

first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
rounded = calibration.rounded
calibration.rounded = lambda measured, typical: typical * (1e3 if first else 1.0)
dist.init_process_group()
print("costs", dist.group.WORLD._progress.transport.costs[:3], flush=True)
dist.barrier()
if first and dist.get_rank() == 1:
    os._exit(1)
dist.destroy_process_group()
"""


def test_a_job_that_is_started_again_keeps_its_prices(script):
    """Or another algorithm might add in another order than before the failure."""
    result = launch("--nproc_per_node=3", "--max-restarts=1", script(ATTEMPTS))
    assert result.returncode == 0, result.stderr
    costs = re.findall(r"costs .*", result.stdout)
    assert len(costs) == 6 and len(set(costs)) == 1, costs
    assert str(calibration.TYPICAL.within.latency * 1e3) in costs[0]
