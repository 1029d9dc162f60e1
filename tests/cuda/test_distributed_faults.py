"""What goes wrong with several processes and GPUs ends soon, on all ranks, in words that help."""

import os
import signal
import threading
import time

import pytest

from ..distributed.faults import check
from ..distributed.harness import run_ranks, try_ranks
from .gpus import environment


def killed_meanwhile(rank, world_size):
    """Rank 1 is killed while collectives of tensors of a GPU are under way."""
    os.environ |= environment(2)
    import minitorch as torch

    array = torch.ones(100_000, device=f"cuda:{rank % torch.cuda.device_count()}")
    torch.distributed.barrier()  # from here on time counts
    if rank == 1:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    began = time.monotonic()
    try:
        while True:
            works = [torch.distributed.all_reduce(array, async_op=True) for _ in range(3)]
            for work in works:
                work.wait()
    except RuntimeError as error:
        return str(error), time.monotonic() - began - 0.2


def test_a_rank_is_killed():
    outcomes = try_ranks(killed_meanwhile, 3, awaited=[0, 2], method="forkserver")
    raised = {rank: outcomes[rank].value for rank in (0, 2)}
    check("killed with tensors on a GPU", raised, "has lost rank 1: killed")


def different_calls(rank, world_size):
    """What the ranks call is compared as ever, and the group is dead afterwards."""
    os.environ |= environment(2)
    import minitorch as torch

    dist = torch.distributed
    x = torch.ones(3 + rank, device="cuda")
    with pytest.raises(dist.DistBackendError, match="rank 1 called all_reduce.SUM, 4 x float32"):
        dist.all_reduce(x, async_op=True).wait()
    with pytest.raises(dist.DistBackendError):
        dist.all_reduce(x)
    assert x.tolist() == [1] * (3 + rank)


def test_ranks_that_call_different_things():
    run_ranks(different_calls, 2, method="forkserver")


def wrong_devices(rank, world_size):
    """What DistributedDataParallel says of devices that do not fit, on each rank alike."""
    os.environ |= environment(2)
    import minitorch as torch

    ddp, nn = torch.nn.parallel.DistributedDataParallel, torch.nn
    with pytest.raises(ValueError, match="device_ids and output_device arguments only work"):
        ddp(nn.Linear(2, 2), device_ids=[0])
    with pytest.raises(ValueError, match="can only be None or contain a single element"):
        ddp(nn.Linear(2, 2, device="cuda"), device_ids=[0, 1])
    with pytest.raises(RuntimeError, match="invalid device ordinal: cuda:5 was asked for"):
        ddp(nn.Linear(2, 2, device="cuda"), device_ids=[5])(torch.ones(1, 2))
    half = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="cuda"))
    with pytest.raises(ValueError, match=r"same type of devices.*\['cpu', 'cuda'\]"):
        ddp(half)
    model = ddp(nn.Linear(2, 2, device="cuda"))  # without device_ids, inputs are not moved
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        model(torch.ones(1, 2))
    outputs = model(torch.ones(1, 2, device="cuda"))
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        nn.functional.cross_entropy(outputs, torch.zeros(1, dtype=torch.long))
    # Each rank's tensors may be on whichever device.
    x = torch.ones(2, device=("cpu", "cuda")[rank])
    torch.distributed.all_reduce(x)
    return x.tolist()


def test_devices_that_do_not_fit():
    assert run_ranks(wrong_devices, 2, method="forkserver") == [[2, 2]] * 2
