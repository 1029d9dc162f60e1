"""Every collective on a simulated network, checked against NumPy: what any algorithm must fulfil.

`CHECKS[collective](run, network, count)` plays an algorithm (`run`) on all ranks, with `count`
elements a rank or block, and asserts the result. Values are small integers in floats, whose sums
are exact in any order. test_algorithms.py runs them for all that is in the table, so a new
algorithm needs no test of its own.
"""

import numpy as np


def shares(size, count, dtype=np.float64):
    """Every rank's data: small integers."""
    return list(np.random.default_rng(size + count).integers(-9, 9, (size, count)).astype(dtype))


def uneven(size, count, number=0):
    """The lengths of `size` blocks, some of them empty."""
    return [(count * (3 * r + number)) % (2 * count + 1) for r in range(size)]


def roots(size):
    return sorted({0, size // 2, size - 1})


def check_all_reduce(run, network, count):
    data = shares(network.size, count)
    expected = np.sum(data, axis=0)
    network.run(lambda link: run(link, data[link.rank], link.priced(np.add)))
    for rank, array in enumerate(data):
        np.testing.assert_array_equal(array, expected, err_msg=f"rank {rank}")


def check_reduce_scatter(run, network, count):
    for lengths in ([count] * network.size, uneven(network.size, count)):
        cuts = np.cumsum(lengths)[:-1]
        data = shares(network.size, sum(lengths))
        expected = np.split(np.sum(data, axis=0), cuts)
        blocks = [np.split(array, cuts) for array in data]
        network.run(lambda link: run(link, blocks[link.rank], link.priced(np.add)))  # noqa: B023
        for rank in range(network.size):
            np.testing.assert_array_equal(blocks[rank][rank], expected[rank])


def check_all_gather(run, network, count):
    for lengths in ([count] * network.size, uneven(network.size, count)):
        own = [np.arange(length) + 100.0 * rank for rank, length in enumerate(lengths)]
        blocks = [[np.full(length, np.nan) for length in lengths] for _ in own]
        for rank, block in enumerate(own):
            blocks[rank][rank][...] = block
        network.run(lambda link: run(link, blocks[link.rank]))  # noqa: B023
        for gathered in blocks:
            np.testing.assert_array_equal(np.concatenate(gathered), np.concatenate(own))


def check_broadcast(run, network, count):
    for root in roots(network.size):
        data = shares(network.size, count)
        expected = data[root].copy()
        network.run(lambda link: run(link, data[link.rank], root))  # noqa: B023
        for array in data:
            np.testing.assert_array_equal(array, expected)


def check_reduce(run, network, count):
    for root in roots(network.size):
        data = shares(network.size, count)
        network.run(lambda link: run(link, data[link.rank], link.priced(np.add), root))  # noqa: B023
        untouched = shares(network.size, count)
        np.testing.assert_array_equal(data[root], np.sum(untouched, axis=0))
        for rank in set(range(network.size)) - {root}:
            np.testing.assert_array_equal(data[rank], untouched[rank])


def check_all_to_all(run, network, count):
    size = network.size
    lengths = [uneven(size, count, number=rank) for rank in range(size)]  # [source][destination]
    inputs = [[np.full(n, 100.0 * s + d) for d, n in enumerate(lengths[s])] for s in range(size)]
    outputs = [[np.full(lengths[s][d], np.nan) for s in range(size)] for d in range(size)]
    network.run(lambda link: run(link, outputs[link.rank], inputs[link.rank]))
    for d in range(size):
        for s in range(size):
            np.testing.assert_array_equal(outputs[d][s], inputs[s][d])


def check_gather(run, network, count):
    for root in roots(network.size):
        own = [np.full(n, float(r)) for r, n in enumerate(uneven(network.size, count))]
        blocks = [np.full(len(array), np.nan) for array in own]
        network.run(
            lambda link: run(link, blocks if link.rank == root else None, own[link.rank], root)  # noqa: B023
        )
        np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(own))


def check_scatter(run, network, count):
    for root in roots(network.size):
        blocks = [np.full(n, float(r)) for r, n in enumerate(uneven(network.size, count))]
        own = [np.full(len(block), np.nan) for block in blocks]
        network.run(
            lambda link: run(link, own[link.rank], blocks if link.rank == root else None, root)  # noqa: B023
        )
        np.testing.assert_array_equal(np.concatenate(own), np.concatenate(blocks))


def check_barrier(run, network, count):
    entered = []

    def program(link):
        entered.append(link.rank)
        yield from run(link)
        assert len(entered) == network.size

    network.run(program)


CHECKS = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def participant(collective, run, link, count):
    """One rank's part in a collective on `count` elements a rank or block; the root is rank 0."""
    data = np.ones(count)
    blocks = [np.ones(count) for _ in range(link.size)]
    arguments = {
        "all_reduce": (data, np.add),
        "reduce_scatter": (blocks, np.add),
        "all_gather": (blocks,),
        "broadcast": (data, 0),
        "reduce": (data, np.add, 0),
        "all_to_all": ([block.copy() for block in blocks], blocks),
        "gather": (blocks if link.rank == 0 else None, data, 0),
        "scatter": (data, blocks if link.rank == 0 else None, 0),
        "barrier": (),
    }
    return run(link, *arguments[collective])
