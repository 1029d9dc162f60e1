"""The backend nccl, with a stand-in for CuPy: what it calls, with which arguments, in which order.

Nothing here shows that NCCL itself would do what the stand-in does.
"""

import os
import time
from datetime import timedelta
from importlib.util import find_spec

import numpy as np
import pytest

from minitorch.distributed.store import TCPStore

from . import fake_cupy
from .cases import run_cases, run_ours
from .harness import run_ranks, try_ranks
from .test_collectives import compare
from .test_process_group import memory_layouts, same_bits, uneven
from .training import train_mini


@pytest.fixture(scope="module")
def port():
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield server.port
    server.close()


_names = iter(range(1000))


def run(function, ranks, port, runner=run_ranks, **options):
    """Call a function on every rank of a group over the stand-in."""
    name = f"test {next(_names)}"
    return runner(start, ranks, function, port, name, process_group=False, **options)


def start(rank, size, function, port, name, timeout=30):
    import minitorch.distributed as dist
    from minitorch.distributed.store import PrefixStore

    cupy = fake_cupy.install(port)
    store = PrefixStore(name, TCPStore("127.0.0.1", port, wait_for_workers=False))
    limit = timedelta(seconds=timeout)
    dist.init_process_group("nccl", store=store, rank=rank, world_size=size, timeout=limit)
    assert dist.get_backend() == "nccl" and dist.is_nccl_available()
    try:
        return function(rank, size, dist, cupy)
    finally:
        dist.destroy_process_group()


def everything(rank, size, dist, cupy):
    import minitorch as torch

    from . import cases

    del cases.CASES["messages"]  # tags, and receives from any rank
    uneven(rank, size)
    return {
        "cases": run_cases(torch, dist, rank, size),
        "bits": same_bits(rank, size),
        "training": train_mini(rank, size),
    }


@pytest.fixture(scope="module")
def results(port):
    return run(everything, 3, port, timeout=120), run_ranks(run_ours, 3)


def test_table_of_collectives(results):
    for rank, (nccl, zmq) in enumerate(zip(*results, strict=True)):
        assert len(nccl["cases"]) > 8
        for name in nccl["cases"].keys() - {"names"}:
            compare(nccl["cases"][name], zmq[name], f"{name} on rank {rank}")


def test_all_ranks_have_the_same_bits(results):
    first, *others = [nccl["bits"] for nccl in results[0]]
    assert all(other == first for other in others)


def test_training_is_that_of_our_own_backend(results):
    ours = run_ranks(train_mini, 3)
    for nccl, (gradients, digest) in zip(results[0], ours, strict=True):
        assert nccl["training"][1] == digest  # the stand-in adds up in the same order
        assert all(map(np.array_equal, nccl["training"][0], gradients))


def pair(rank, size, dist, cupy):
    memory_layouts(rank, size)
    other = 1 - rank
    for count in (1, 300_000):  # both begin with a send
        received = np.zeros(count)
        work = dist.isend(np.full(count, rank + 1.0), other)
        assert dist.recv(received, other) == other
        assert work.wait() and (received == other + 1).all()
    # One NCCL group holds what was started together, in the order of the calls.
    del fake_cupy.calls[:]
    received = [np.zeros(2), np.zeros(2)]
    operations = [dist.P2POp(dist.isend, np.full(2, 1.0 * i + rank), other) for i in range(2)]
    operations += [dist.P2POp(dist.irecv, array, other) for array in received]
    works = dist.batch_isend_irecv(operations)
    assert fake_cupy.calls == []
    assert works[3].wait()
    assert fake_cupy.calls == ["send", "send", "recv", "recv"]
    assert [work.wait() for work in works] == [True] * 4
    assert [array.tolist() for array in received] == [[other, other], [other + 1, other + 1]]
    # A collective takes them along.
    dist.isend(np.ones(1), other)
    work = dist.irecv(np.zeros(1), other)
    dist.barrier()
    assert fake_cupy.calls[4:] == ["send", "recv", "allReduce"] and work.wait()
    with pytest.raises(RuntimeError, match="give src"):
        dist.recv(np.zeros(1))


def on_the_gpu(rank, size, dist, cupy):
    """CuPy's arrays are used where they are."""
    group, sum_ = dist.group.WORLD, dist.ReduceOp.SUM
    array = cupy.asarray(np.arange(4.0) + rank)
    address = array.data.ptr
    group.all_reduce(array, sum_).wait()
    assert cupy.asnumpy(array).tolist() == [1, 3, 5, 7] and array.data.ptr == address
    every_other = cupy.asarray(np.arange(6.0))[::2]
    group.broadcast(every_other, 1).wait()
    group.all_reduce(every_other, dist.ReduceOp.AVG).wait()
    assert cupy.asnumpy(every_other).tolist() == [0, 2, 4]
    whole = cupy.asarray(np.zeros(4))
    group.all_gather([whole[:2], whole[2:]], cupy.asarray(np.full(2, rank + 1.0))).wait()
    assert cupy.asnumpy(whole).tolist() == [1, 1, 2, 2]
    elsewhere = cupy.asarray(np.zeros(2))
    elsewhere.device.id += 1
    with pytest.raises(RuntimeError, match=f"this rank's GPU for NCCL is cuda:{rank}"):
        group.all_reduce(elsewhere, sum_)
    # NCCL waits for what the current stream is still computing.
    slow = lambda: (time.sleep(0.3), array.__setitem__(..., 2.0))  # noqa: E731
    cupy.cuda.get_current_stream().tasks.put(slow)
    group.all_reduce(array, sum_).wait()
    assert cupy.asnumpy(array).tolist() == [4] * 4
    # Under way: the memory of the arrays lives until NCCL is done, whoever has let go of it.
    works = [group.all_reduce(np.full(100_000, 1.0), sum_, True) for _ in range(10)]
    assert all(work.wait() for work in works)


def two_ranks(rank, size, dist, cupy):
    pair(rank, size, dist, cupy)
    on_the_gpu(rank, size, dist, cupy)


def test_two_ranks(port):
    run(two_ranks, 2, port)


def late(rank, size, dist, cupy):
    if rank == 1:
        time.sleep(60)  # it is not awaited
        return None
    begin = time.monotonic()
    with pytest.raises(dist.DistBackendError, match=r"all_reduce .shape \(3,\), float64, MAX") as e:
        dist.all_reduce(np.ones(3), dist.ReduceOp.MAX, async_op=True).wait(timedelta(seconds=1))
    assert "was not over after 1.0 s" in str(e.value) and time.monotonic() - begin < 25
    assert "abort" in fake_cupy.calls  # NCCL's kernels would spin on the GPU for ever
    with pytest.raises(dist.DistBackendError, match="has failed before"):
        dist.barrier()
    return "told"


def test_a_late_rank(port):
    assert run(late, 2, port, try_ranks, awaited=[0])[0].value == "told"


def network_failure(rank, size, dist, cupy):
    dist.group.WORLD._comm.error = "NCCL_ERROR_SYSTEM_ERROR: unhandled system error"
    with pytest.raises(dist.DistBackendError, match="barrier, call 1.*unhandled system error"):
        dist.barrier()


def test_an_error_of_nccl(port):
    run(network_failure, 2, port)


def other_members(rank, size, dist, cupy):
    with pytest.raises(dist.DistBackendError, match="name other members"):
        dist.new_group([rank])


def test_ranks_that_mean_different_groups(port, capfd):
    run(other_members, 2, port)
    assert capfd.readouterr().err.count("not on several GPUs") == 1  # rank 0 says so, once


def without(rank, size, port):
    import minitorch.distributed as dist

    def words():
        with pytest.raises(RuntimeError, match="^the backend 'nccl' (cannot|needs)") as raised:
            dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
        assert not dist.is_initialized()
        return str(raised.value)

    if find_spec("cupy") is None:
        assert "needs the package cupy" in words()
    cupy = fake_cupy.install(port, gpus=0)
    assert "this is rank 0 of its host, and CuPy sees 0 GPUs here" in words()
    fake_cupy.install(port, gpus=1)
    os.environ["CUDA_VISIBLE_DEVICES"] = "3"  # as srun --gpus-per-task=1 does
    from minitorch.distributed.backends import gpu

    assert gpu.choose_gpu(1) == 0
    del os.environ["CUDA_VISIBLE_DEVICES"]
    with pytest.raises(RuntimeError, match="this is rank 1 of its host, and CuPy sees 1 GPUs"):
        gpu.choose_gpu(1)
    cupy.cuda.nccl.available = False
    assert "CuPy finds no NCCL" in words()


def test_what_may_be_missing(port):
    run_ranks(without, 1, port, process_group=False)
