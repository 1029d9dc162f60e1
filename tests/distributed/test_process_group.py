"""The process group on real processes: what PyTorch's over Gloo does not do, or does not show.

What both do is compared in test_collectives.py.
"""

import time
import warnings
from datetime import timedelta

import numpy as np
import pytest

from .harness import run_ranks
from .launching import free_port


def values(rank, size, dtype, seed=0):
    return np.random.default_rng([seed, rank, size]).standard_normal(size).astype(dtype)


def same_bits(rank, world_size):
    import minitorch.distributed as dist

    results = []
    for size in (3, 999, 100_003, 700_001):
        for op in (dist.ReduceOp.SUM, dist.ReduceOp.AVG, dist.ReduceOp.PRODUCT, dist.ReduceOp.MAX):
            array = values(rank, size, "float32")
            dist.all_reduce(array, op)
            results.append(array.tobytes())
    return results


def test_four_ranks_have_the_same_bits():
    first, *others = run_ranks(same_bits, 4)
    assert all(other == first for other in others)


def memory_layouts(rank, world_size):
    import minitorch.distributed as dist

    base = np.zeros((6, 8), np.float32)
    layouts = {
        "transposed": base.T,
        "sliced": base[::2, 1::3],
        "reversed": base[::-1],
        "strided": np.zeros(9000)[::3],
        "0-d": np.array(0.0),
        "empty": np.zeros((3, 0)),
        "Fortran": np.zeros((4, 5), order="F"),
    }
    for name, array in layouts.items():
        array[...] = np.arange(array.size).reshape(array.shape) * (rank + 1)
        expected = np.arange(array.size).reshape(array.shape)
        dist.all_reduce(array)
        np.testing.assert_array_equal(array, expected * 3, name)
        array[...] = expected * (rank + 1)
        dist.broadcast(array, 1)
        np.testing.assert_array_equal(array, expected * 2, name)
        array[...] = expected * (rank + 1)
        dist.reduce(array, 0)
        np.testing.assert_array_equal(array, expected * (3 if rank == 0 else 2), name)
        array[...] = expected * (rank + 1)
        blocks = [np.zeros_like(array) for _ in range(2)]
        dist.all_gather(blocks, array)
        np.testing.assert_array_equal(np.array(blocks), [expected, expected * 2], name)
    base[...] = 5  # between the elements of a view nothing may change
    dist.all_reduce(base[::2, ::2])
    assert base[1].tolist() == [5] * 8 and base[0].tolist() == [10, 5] * 4

    # Blocks of every layout, and inputs that stay as they are.
    for name, array in layouts.items():
        counting = np.arange(array.size).reshape(array.shape)
        array[...] = counting * (rank + 1)
        others = [np.zeros_like(array) for _ in range(2)]
        others[1] = np.zeros((*array.shape, 2), array.dtype)[..., 0]  # strided
        dist.all_to_all(others, [array, array])
        np.testing.assert_array_equal(np.array(others), [counting, counting * 2], name)
        total = others[1]
        dist.reduce_scatter(total, [array, array])
        np.testing.assert_array_equal(total, counting * 3, name)
        np.testing.assert_array_equal(array, counting * (rank + 1), name)
        gathered = others if rank == 1 else None
        dist.gather(array, gathered, dst=1)
        if rank == 1:
            np.testing.assert_array_equal(np.array(others), [counting, counting * 2], name)
        dist.scatter(array, gathered, src=1)
        np.testing.assert_array_equal(array, counting * (rank + 1), name)

    output = np.zeros((4, 2)).T  # (2 ranks, 4 elements), not contiguous
    dist.all_gather_into_tensor(output, np.arange(4.0) + rank)
    np.testing.assert_array_equal(output, [[0, 1, 2, 3], [1, 2, 3, 4]])
    # In place: the input is a part of the output, and the other way round.
    output = np.zeros(6)
    output[rank * 3 : rank * 3 + 3] = rank + 1
    dist.all_gather_into_tensor(output, output[rank * 3 : rank * 3 + 3])
    assert output.tolist() == [1, 1, 1, 2, 2, 2]
    dist.reduce_scatter_tensor(output[rank * 3 : rank * 3 + 3], output)
    assert output[rank * 3 :][:3].tolist() == [2 * (rank + 1)] * 3


def test_memory_layouts():
    run_ranks(memory_layouts, 2)


def uneven(rank, world_size):
    """Blocks of different sizes; Gloo does this for all_to_all_single alone."""
    import minitorch.distributed as dist

    for scale in (1, 100_000):
        sizes = [(3 * i) % 5 * scale for i in range(world_size)]  # 0, 3, 1, ...
        array = np.full(sizes[rank], rank + 1.0)
        gathered = [np.zeros(size) for size in sizes]
        dist.all_gather(gathered, array)
        for source, block in enumerate(gathered):
            assert (block == source + 1).all()
        inputs = [np.full(size, rank + i + 1.0) for i, size in enumerate(sizes)]
        dist.reduce_scatter(array, inputs)
        assert (array == sum(r + rank + 1 for r in range(world_size))).all()
        sent = [np.full((rank + 2 * i) * scale, float(rank)) for i in range(world_size)]
        received = [np.zeros((i + 2 * rank) * scale) for i in range(world_size)]
        dist.all_to_all(received, sent)
        for source, block in enumerate(received):
            assert (block == source).all()


@pytest.mark.parametrize("world_size", [2, 3])
def test_uneven_blocks(world_size):
    run_ranks(uneven, world_size)


def asynchronous(rank, world_size):
    import minitorch.distributed as dist

    arrays = [np.full(size, rank + 1.0, np.float32) for size in (10, 1_000_000, 1, 300_000) * 3]
    works = [dist.all_reduce(array, async_op=True) for array in arrays]
    small = np.ones(1)
    dist.all_reduce(small)  # a blocking one while the others are under way
    assert small == world_size
    for work, array in zip(works, arrays, strict=True):
        assert work.wait() is True
        assert work.is_completed() and work.is_success() and work.exception() is None
        assert work.result() == [array] if array.size == 1 else work.result()[0] is array
        assert (array == sum(range(1, world_size + 1))).all()
        array[...] = -1  # after wait() the array is the caller's again
    dist.barrier(async_op=True).wait(timedelta(seconds=5))


@pytest.mark.parametrize("world_size", [2, 3])
def test_asynchronous_operations(world_size):
    run_ranks(asynchronous, world_size)


def point_to_point(rank, world_size):
    import minitorch.distributed as dist

    other = 1 - rank
    big = np.full(700_000, float(rank))
    received = np.zeros_like(big)
    receiving = dist.irecv(received, other)  # posted before the send: no deadlock
    sending = dist.isend(big, other)
    sending.wait()
    big[...] = -1  # after wait() the array is the caller's again
    receiving.wait()
    assert (received == other).all() and receiving.source_rank() == other

    # Order within a tag, freedom between tags.
    for i in range(5):
        dist.isend(np.full(3, i), other, tag=i % 2)
    got = np.zeros(3, np.int64)
    for i in (1, 3, 0, 2, 4):
        assert dist.recv(got, other, tag=i % 2) == other
        assert got.tolist() == [i] * 3
    # Receives that were posted together are served in order, large or small.
    pieces = [np.zeros(size) for size in (400_000, 2, 300_000)]
    works = [dist.irecv(piece, other) for piece in pieces]
    for i, piece in enumerate(pieces):
        dist.send(np.full(piece.size, i + 10.0), other)
    for i, (work, piece) in enumerate(zip(works, pieces, strict=True)):
        work.wait()
        assert (piece == i + 10).all()
    dist.isend(np.full(2, rank), other)
    assert dist.recv(np.zeros(2, np.int64)) == other  # from any rank


def test_point_to_point():
    run_ranks(point_to_point, 2)


def groups(rank, world_size):
    import minitorch.distributed as dist

    pair = dist.new_group([2, 0])
    all_of_them = dist.new_group()
    assert dist.get_process_group_ranks(all_of_them) == [0, 1, 2]
    if rank == 1:
        assert pair is dist.GroupMember.NON_GROUP_MEMBER or pair == -100
        assert dist.get_rank(pair) == -1 and dist.get_world_size(pair) == -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert dist.all_reduce(np.ones(1), group=pair) is None
    else:
        assert dist.get_rank(pair) == rank // 2 and dist.get_world_size(pair) == 2
        assert dist.get_global_rank(pair, 1) == 2 and dist.get_group_rank(pair, 2) == 1
        for _ in range(3):  # while rank 1 is elsewhere
            array = np.array([rank])
            dist.all_reduce(array, group=pair)
            assert array == 2
        array = np.array([rank])
        dist.broadcast(array, src=2, group=pair)
        assert array == 2
    array = np.array([rank])
    dist.all_reduce(array, group=all_of_them)
    assert array == 3
    dist.all_reduce(array)
    assert array == 9
    assert dist.get_rank() == rank and dist.get_world_size() == 3 and dist.get_backend() == "zmq"
    for _ in range(2):  # made by its members alone
        local = dist.new_group([0, 1], use_local_synchronization=True) if rank < 2 else None
        half = dist.split_group(split_ranks=[[2], [1, 0]])
        assert dist.get_process_group_ranks(half) == ([0, 1] if rank < 2 else [2])
        for group in (local, half):
            if rank < 2:
                dist.all_reduce(array := np.array([rank + 1]), group=group)
                assert array == 3
    assert dist.new_group([0], use_local_synchronization=True) is None or rank == 0
    quotient = dist.split_group(pair, [[1]]) if rank != 1 else None  # counted within `pair`
    assert quotient is None if rank < 2 else dist.get_process_group_ranks(quotient) == [2]
    dist.monitored_barrier(timeout=timedelta(seconds=20))
    assert dist.group.WORLD is dist.GroupMember.WORLD is not None


def test_groups():
    run_ranks(groups, 3)


def in_threads(rank, world_size):
    """Each thread has a group of its own, while the main one waits for a message in a third."""
    import threading

    import minitorch.distributed as dist

    sums = [[], []]

    def work(group, sums):
        for size in range(1, 80):
            array = np.full(500 * size, float(size))
            dist.all_reduce(array, group=group, async_op=size % 3 == 0) and dist.barrier(group)
            sums.append(set(array.tolist()))

    message = np.zeros(3)
    receipt = dist.irecv(message, 1 - rank)
    pairs = [(dist.new_group(), own) for own in sums]
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    dist.send(np.ones(3), 1 - rank)
    receipt.wait()
    for thread in threads:
        thread.join()
    assert message.tolist() == [1, 1, 1]
    for own in sums:
        assert own == [{2.0 * size} for size in range(1, 80)]


def test_groups_in_several_threads():
    run_ranks(in_threads, 2)


def barrier_after_asynchronous_calls(rank, world_size):
    """Large sums take several rounds; the barrier, called last, one."""
    import minitorch.distributed as dist
    from minitorch.distributed.algorithms import use

    use(all_reduce="halving_doubling")
    for _ in range(20):
        arrays = [np.full(200_000, rank + 1.0) for _ in range(4)]
        for array in arrays:
            dist.all_reduce(array, async_op=True)
        dist.barrier()
        assert [set(array[::1000].tolist()) for array in arrays] == [{3.0}] * 4
        work = dist.all_reduce(arrays[0], async_op=True)
        barrier = dist.barrier(async_op=True)
        while not barrier.is_completed():
            pass
        assert work.is_completed()


def test_a_barrier_ends_after_the_calls_before_it():
    run_ranks(barrier_after_asynchronous_calls, 2)


def again(rank, world_size, port):
    import minitorch.distributed as dist

    assert not dist.is_initialized()
    for round_ in range(3):
        method = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", method, rank=rank, world_size=world_size)
        assert dist.get_backend() == "gloo"
        array = np.array([rank + round_])
        dist.all_reduce(array)
        assert array == 1 + 2 * round_
        dist.destroy_process_group()
        assert not dist.is_initialized()


def test_init_again_after_destroy():
    run_ranks(again, 2, free_port(), process_group=False)


def versions(rank, world_size):
    import minitorch.distributed as dist

    class Tensor:
        """Has what collectives need of a tensor."""

        def __init__(self):
            self.array = np.ones(2)
            self.version = 0

        def _bump_version(self):
            self.version += 1

    tensor, source = Tensor(), Tensor()
    dist.all_reduce(tensor)
    assert tensor.version == 1 and tensor.array.tolist() == [2, 2]
    dist.broadcast(tensor, 0, async_op=True).wait()
    assert tensor.version == 2
    dist.all_gather([tensor, Tensor()], source)
    assert tensor.version == 3 and source.version == 0
    dist.reduce(tensor, 1)
    assert tensor.version == (4 if rank == 1 else 3)


def test_what_is_written_to_counts_as_modified():
    run_ranks(versions, 2)


@pytest.fixture
def alone():
    """A default group of this process alone."""
    import minitorch.distributed as dist

    dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)
    yield dist
    if dist.is_initialized():
        dist.destroy_process_group()


def test_one_rank(alone):
    array = np.arange(3.0)
    alone.all_reduce(array, alone.ReduceOp.AVG)
    alone.broadcast(array, 0)
    alone.reduce(array, 0)
    gathered = [np.zeros(3)]
    alone.all_gather(gathered, array)
    alone.barrier()
    alone.monitored_barrier()
    for call in (alone.all_gather_single, alone.reduce_scatter_single, alone.all_to_all_single):
        output = np.zeros(3)
        call(output, array)
        assert output.tolist() == array.tolist()
    objects = [None]
    alone.all_gather_object(objects, "x")
    alone.broadcast_object_list(objects)
    assert objects == ["x"]
    assert array.tolist() == gathered[0].tolist() == [0, 1, 2]


def test_wrong_arguments(alone):
    dist, x = alone, np.ones(4, np.float32)
    for error, words, call in [
        (ValueError, "default process group twice!", lambda: dist.init_process_group()),
        (TypeError, "Expected parameter `tensor` of type torch.Tensor", lambda: dist.all_reduce(5)),
        (TypeError, "`tensor_list` of type List", lambda: dist.all_gather(x, x)),
        (TypeError, "`op` of type ReduceOp", lambda: dist.all_reduce(x, "sum")),
        (TypeError, "dtype >f4; .* byte order", lambda: dist.all_reduce(x.astype(">f4"))),
        (RuntimeError, "expected length 1.*got 0", lambda: dist.all_gather([], x)),
        (RuntimeError, "index 0.*expected 4 elements, got 3", lambda: dist.all_gather([x[:3]], x)),
        (
            ValueError,
            "different dtypes: found int64 and float32",
            lambda: dist.all_gather([x.astype(int)], x),
        ),
        (RuntimeError, "AVG", lambda: dist.all_reduce(x.astype(int), dist.ReduceOp.AVG)),
        (RuntimeError, "non-integral", lambda: dist.all_reduce(x, dist.ReduceOp.BAND)),
        (ValueError, "order", lambda: dist.all_reduce(x + 1j, dist.ReduceOp.MAX)),
        (TypeError, "dtype", lambda: dist.all_reduce(x.astype("datetime64[s]"))),
        (ValueError, "Must specify", lambda: dist.broadcast(x)),
        (ValueError, "both", lambda: dist.broadcast(x, 0, group_src=0)),
        (ValueError, "not part of group", lambda: dist.broadcast(x, 1)),
        (ValueError, "Invalid destination rank", lambda: dist.send(x, 0)),
        (ValueError, "Invalid source rank", lambda: dist.recv(x, 0)),
        (ValueError, "duplicate", lambda: dist.new_group([0, 0])),
        (ValueError, "between 0 and 0", lambda: dist.new_group([1])),
        (ValueError, "at least one rank", lambda: dist.new_group([])),
        (RuntimeError, "first dimension", lambda: dist.all_to_all_single(x, x, [3], [4])),
        (RuntimeError, "does not divide", lambda: dist.all_to_all_single(np.array(1), np.array(1))),
        (IndexError, "one place for each of 1", lambda: dist.all_gather_object([], 1)),
        (ValueError, "one object for each", lambda: dist.scatter_object_list([0], [1, 2])),
    ]:
        with pytest.raises(error, match=words):
            call()
    dist.all_reduce(x)  # the group has survived all of them
    assert x.tolist() == [1] * 4


def test_wrong_ways_to_begin(monkeypatch):
    import minitorch.distributed as dist

    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    store = dist.HashStore()
    for error, words, arguments in [
        (ValueError, "RANK expected, but not set", {}),
        (ValueError, "no backend 'foo'", {"backend": "foo"}),
        (ValueError, "world_size must be positive", {"store": store}),
        (ValueError, "rank must be from", {"store": store, "rank": 3, "world_size": 2}),
        (ValueError, "both init_method and store", {"store": store, "init_method": "tcp://h:1"}),
        (TypeError, "datetime.timedelta", {"store": store, "timeout": 5}),
    ]:
        with pytest.raises(error, match=words):
            dist.init_process_group(**arguments)
    uninitialised = "Default process group has not been initialized, please make sure to call"
    for call in (
        dist.get_rank,
        dist.get_world_size,
        dist.barrier,
        dist.destroy_process_group,
        lambda: dist.all_reduce(np.ones(1)),
    ):
        with pytest.raises(ValueError, match=uninitialised):
            call()
    assert dist.is_available() and not dist.is_initialized() and dist.group.WORLD is None
    start = time.monotonic()
    with pytest.raises(dist.DistStoreError, match=r"rank.*1.* did not come"):
        dist.init_process_group(store=store, rank=0, world_size=2, timeout=timedelta(seconds=0.5))
    assert time.monotonic() - start < 5
