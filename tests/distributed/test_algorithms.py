"""The collective algorithms, run on simulated ranks in one thread.

Values are small integers in floats, whose sums are exact in any order; where the order matters, the
ranks' bits are compared with each other. Segments are made tiny, so that small arrays travel in
many pieces, as large ones do.
"""

import numpy as np
import pytest

from minitorch.distributed import algorithms
from minitorch.distributed.link import ANY, InMemoryNetwork

SIZES = [*range(1, 17)]
MANY = [pytest.param(n, marks=pytest.mark.slow) for n in (*range(17, 65), 256)]
ALL_REDUCES = [algorithms.recursive_doubling_all_reduce, algorithms.ring_all_reduce]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(algorithms, "SEGMENT_BYTES", 64)
    monkeypatch.setattr(algorithms, "PART_BYTES", 200)


def shares(size, count, dtype=np.float64):
    """Every rank's data: small integers."""
    return list(np.random.default_rng(size + count).integers(-9, 9, (size, count)).astype(dtype))


@pytest.mark.parametrize("all_reduce", ALL_REDUCES)
@pytest.mark.parametrize("size", SIZES + MANY)
@pytest.mark.parametrize("count", [0, 1, 7, 333])
def test_all_reduce(all_reduce, size, count):
    data = shares(size, count)
    expected = np.sum(data, axis=0)
    InMemoryNetwork(size, seed=1).run(lambda link: all_reduce(link, data[link.rank], np.add))
    for rank in range(size):
        np.testing.assert_array_equal(data[rank], expected, err_msg=f"rank {rank} of {size}")


@pytest.mark.parametrize("all_reduce", ALL_REDUCES)
@pytest.mark.parametrize("size", range(2, 17))
@pytest.mark.parametrize("combine", [np.add, np.maximum])
def test_all_reduce_leaves_the_same_bits_on_every_rank(all_reduce, size, combine):
    random = np.random.default_rng(size)
    # Rounding makes sums depend on their order, and so does the sign of a maximum of zeros.
    data = list(random.standard_normal((size, 100)).astype(np.float32))
    for rank in range(size):
        data[rank][:10] = random.choice([0.0, -0.0], 10)
    InMemoryNetwork(size).run(lambda link: all_reduce(link, data[link.rank], combine))
    assert len({array.tobytes() for array in data}) == 1


@pytest.mark.parametrize("size", SIZES + MANY)
@pytest.mark.parametrize("blocks", [1, 24])
def test_ring_all_reduce_moves_no_more_than_it_must(size, blocks):
    data = shares(size, size * blocks)
    network = InMemoryNetwork(size)
    network.run(lambda link: algorithms.ring_all_reduce(link, data[link.rank], np.add))
    for rank in range(size):
        assert network.bytes_sent(rank) * size == 2 * (size - 1) * data[0].nbytes
    for message in network.record:
        assert message.destination == (message.source + 1) % size, "that is no ring"


def test_ring_all_reduce_runs_few_segments_ahead():
    """A rank that is early must not fill the memory of one that has not come yet."""

    def program(link):
        if link.rank != 1:
            yield from algorithms.ring_all_reduce(link, np.ones(1000), np.add)

    network = InMemoryNetwork(4)
    with pytest.raises(RuntimeError, match="deadlock"):
        network.run(program)
    ahead = [len([m for m in network.record if m.source == rank]) for rank in range(4)]
    window = algorithms.WINDOW  # each rank is at most so far ahead of the one to its left
    assert ahead == [3 * window, 0, window, 2 * window]


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_doubling_takes_log2_rounds(size):
    data = shares(size, 5)
    network = InMemoryNetwork(size)
    network.run(
        lambda link: algorithms.recursive_doubling_all_reduce(link, data[link.rank], np.add)
    )
    sent_by_0 = [message for message in network.record if message.source == 0]
    assert len(sent_by_0) == size.bit_length() - 1


@pytest.mark.parametrize("size", SIZES + MANY)
@pytest.mark.parametrize("count", [0, 1, 100])
def test_broadcast_and_reduce(size, count):
    for root in sorted({0, size // 2, size - 1}):
        data = shares(size, count)
        expected = data[root].copy()
        InMemoryNetwork(size, seed=2).run(
            lambda link: algorithms.broadcast(link, data[link.rank], root)  # noqa: B023
        )
        assert all(np.array_equal(array, expected) for array in data)

        data = shares(size, count)
        InMemoryNetwork(size, seed=3).run(
            lambda link: algorithms.reduce(link, data[link.rank], np.add, root)  # noqa: B023
        )
        untouched = shares(size, count)
        np.testing.assert_array_equal(data[root], np.sum(untouched, axis=0))
        for rank in set(range(size)) - {root}:
            np.testing.assert_array_equal(data[rank], untouched[rank])


@pytest.mark.parametrize("size", SIZES + MANY)
@pytest.mark.parametrize("count", [0, 1, 30])
def test_all_gather(size, count):
    blocks = shares(size, count)
    data = [np.full(size * count, np.nan) for _ in range(size)]
    for rank, block in enumerate(blocks):
        data[rank][rank * count : (rank + 1) * count] = block
    network = InMemoryNetwork(size, seed=4)
    network.run(lambda link: algorithms.ring_all_gather(link, data[link.rank]))
    for rank in range(size):
        np.testing.assert_array_equal(data[rank], np.concatenate(blocks))
        assert network.bytes_sent(rank) == (size - 1) * blocks[0].nbytes


@pytest.mark.parametrize("size", SIZES)
def test_barrier_lets_nobody_out_before_all_are_in(size):
    entered = []

    def program(link):
        entered.append(link.rank)
        yield from algorithms.barrier(link)
        assert len(entered) == size

    InMemoryNetwork(size, seed=5).run(program)


def test_send_and_recv_from_any():
    received = np.zeros(50)
    sources = []

    def program(link):
        if link.rank == 0:
            yield from algorithms.recv(link, received, ANY)
            sources.append(link.source)
        elif link.rank == 2:
            yield from algorithms.send(link, np.arange(50.0), 0)

    InMemoryNetwork(3).run(program)
    np.testing.assert_array_equal(received, np.arange(50.0))
    assert sources == [2]


def test_the_network_reports_deadlocks_and_messages_that_nobody_wants():
    def wait_for_each_other(link):
        yield 1 - link.rank

    with pytest.raises(RuntimeError, match=r"deadlock.*0 for 1, 1 for 0"):
        InMemoryNetwork(2).run(wait_for_each_other)

    def talk_to_nobody(link):
        if link.rank == 0:
            yield from algorithms.send(link, np.ones(3), 1)

    with pytest.raises(RuntimeError, match="1 messages from rank 0 to rank 1 were never"):
        InMemoryNetwork(2).run(talk_to_nobody)
