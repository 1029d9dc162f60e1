"""The collective algorithms, run on simulated ranks in one thread.

Everything here goes through the table of algorithms, and so finds new ones by itself. Segments are
made tiny, so that small arrays travel in many pieces, as large ones do.
"""

import functools

import numpy as np
import pytest

from minitorch.distributed import algorithms
from minitorch.distributed.algorithms import ALGORITHMS, pieces
from minitorch.distributed.algorithms.costs import CLUSTER, Terms
from minitorch.distributed.link import ANY
from minitorch.distributed.simulation import InMemoryNetwork
from tests.distributed.simulated import CHECKS, participant, shares

TABLE = [(collective, name) for collective, table in ALGORITHMS.items() for name in table]
REDUCTIONS = [(collective, name) for collective, name in TABLE if collective == "all_reduce"]
SIZES = [*range(1, 17), *[pytest.param(n, marks=pytest.mark.slow) for n in range(17, 65)]]
SEGMENT = 64
SMALL_PIECES = CLUSTER._replace(segment=SEGMENT)
Network = functools.partial(InMemoryNetwork, costs=SMALL_PIECES)

every_algorithm = pytest.mark.parametrize("collective, name", TABLE)


def layouts(size):
    """On one host; on several of unequal size, in order; and all mixed up."""
    yield (0,) * size
    if size > 2:
        yield tuple([(rank * rank) // (2 * size) for rank in range(size)])
        yield tuple([(7 * rank) % 3 for rank in range(size)])


def serves(collective, name, hosts):
    terms = Terms(SMALL_PIECES, hosts)
    return ALGORITHMS[collective][name].cost(terms, 1000) < float("inf")


@every_algorithm
@pytest.mark.parametrize("size", SIZES)
def test_result(collective, name, size):
    for hosts in layouts(size):
        if serves(collective, name, hosts):
            for count in (0, 1, 7, 100):
                network = Network(size, seed=count, hosts=hosts)
                CHECKS[collective](ALGORITHMS[collective][name].run, network, count)


@pytest.mark.slow
@pytest.mark.timeout(900)
@every_algorithm
def test_result_on_2048_ranks(collective, name):
    # N blocks on each of N ranks, or N x N messages at once, are too much for one process.
    quadratic = collective in ("reduce_scatter", "all_gather", "all_to_all") or name == "direct"
    size = 256 if quadratic else 2048
    hosts = tuple([rank // 8 for rank in range(size)])
    network = Network(size, seed=1, hosts=hosts)
    CHECKS[collective](ALGORITHMS[collective][name].run, network, 1)


@pytest.mark.parametrize("collective, name", REDUCTIONS)
@pytest.mark.parametrize("size", range(2, 17))
@pytest.mark.parametrize("combine", [np.add, np.maximum])
def test_all_ranks_get_the_same_bits(collective, name, size, combine):
    run = ALGORITHMS[collective][name].run
    random = np.random.default_rng(size)
    for hosts in layouts(size):
        # Rounding makes sums depend on their order, and so does the sign of a maximum of zeros.
        data = list(random.standard_normal((size, 100)).astype(np.float32))
        for rank in range(size):
            data[rank][:10] = random.choice([0.0, -0.0], 10)
        Network(size, hosts=hosts).run(lambda link: run(link, data[link.rank], combine))  # noqa: B023
        assert len({array.tobytes() for array in data}) == 1


@pytest.mark.parametrize("collective, name", REDUCTIONS)
def test_the_order_of_events_does_not_change_a_bit(collective, name):
    run = ALGORITHMS[collective][name].run
    results = set()
    for seed in (None, 1, 2, 3):
        data = list(np.random.default_rng(0).standard_normal((6, 100)).astype(np.float32))
        network = Network(6, seed, hosts=(0, 0, 0, 1, 1, 1))
        network.run(lambda link: run(link, data[link.rank], np.add))  # noqa: B023
        results.add(data[0].tobytes())
    assert len(results) == 1


def run_without(absent, collective, name, size, count, hosts=None):
    """Run it on all ranks but one; returns the network and the ranks that left nevertheless."""
    left = []

    def program(link):
        if link.rank != absent:
            yield from participant(collective, ALGORITHMS[collective][name].run, link, count)
            left.append(link.rank)

    network = Network(size, hosts=hosts)
    with pytest.raises(RuntimeError, match="deadlock"):
        network.run(program)
    return network, left


@every_algorithm
@pytest.mark.parametrize("size", [2, 3, 4, 6, 7])
@pytest.mark.parametrize("count", [0, 5])
def test_nobody_leaves_before_all_have_entered(collective, name, size, count):
    for hosts in layouts(size):
        for absent in range(size):
            assert run_without(absent, collective, name, size, count, hosts)[1] == []


@every_algorithm
def test_nobody_runs_far_ahead_of_a_rank_that_is_late(collective, name):
    """Who is early must not fill the memory of one that has not come yet."""
    size = 5
    for absent in range(size):
        network, _ = run_without(absent, collective, name, size, count=10_000)
        for rank in range(size):
            assert network.bytes_unread(rank) <= (size - 1) * 2 * pieces.BATCH * SEGMENT


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("blocks", [1, 24])
def test_the_ring_moves_no_more_than_it_must(size, blocks):
    data = shares(size, size * blocks)
    network = Network(size)
    run = ALGORITHMS["all_reduce"]["ring"].run
    network.run(lambda link: run(link, data[link.rank], np.add))
    for rank in range(size):
        assert network.bytes_sent(rank) * size == 2 * (size - 1) * data[0].nbytes
    edges = {(rank, (rank + 1) % size) for rank in range(size)} if size > 1 else set()
    assert set(network.nbytes) == edges


@pytest.mark.parametrize("size", [2, 4, 8, 16])
@pytest.mark.parametrize("name, rounds", [("doubling", 1), ("halving_doubling", 2)])
def test_doubling_takes_log2_rounds(name, rounds, size):
    data = shares(size, 5)
    network = Network(size)
    run = ALGORITHMS["all_reduce"][name].run
    network.run(lambda link: run(link, data[link.rank], np.add))
    sent_by_0 = sum(n for (source, _), n in network.messages.items() if source == 0)
    assert sent_by_0 == rounds * (size.bit_length() - 1)


def test_between_hosts_the_hierarchical_one_sends_each_sum_once():
    hosts = (0, 0, 0, 0, 1, 1, 1, 1)
    crossing = {}
    for name in ("hierarchical", "doubling"):
        data = shares(8, 400)
        network = Network(8, hosts=hosts)
        run = ALGORITHMS["all_reduce"][name].run
        network.run(lambda link: run(link, data[link.rank], np.add))  # noqa: B023
        crossing[name] = sum(n for (s, d), n in network.nbytes.items() if hosts[s] < hosts[d])
    assert crossing == {"hierarchical": data[0].nbytes, "doubling": 4 * data[0].nbytes}


def test_blocks_of_the_wrong_size_are_noticed():
    def program(link):
        outputs = [np.empty(2), np.empty(2)]
        inputs = [np.ones(2), np.ones(3)] if link.rank == 0 else [np.ones(2), np.ones(2)]
        yield from algorithms.all_to_all(link, outputs, inputs)

    with pytest.raises(ValueError, match=r"3 elements came where 2 were expected"):
        Network(2).run(program)


def test_send_and_recv_from_any():
    received = np.zeros(50)
    sources = []

    def program(link):
        if link.rank == 0:
            yield from algorithms.recv(link, received, ANY)
            sources.append(link.source)
        elif link.rank == 2:
            yield from algorithms.send(link, np.arange(50.0), 0)

    Network(3).run(program)
    np.testing.assert_array_equal(received, np.arange(50.0))
    assert sources == [2]
