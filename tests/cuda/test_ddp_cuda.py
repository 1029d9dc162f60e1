"""Several processes with GPUs: collectives of their tensors, and DistributedDataParallel.

What is expected is what the same calls give on the CPU, which tests/distributed holds against
PyTorch. As elsewhere in these tests, a rank's GPU need not be its current one.
"""

import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import minitorch
from minitorch.distributed import staging

from ..distributed.harness import run_ranks
from .gpus import COUNT, environment

MNIST = Path(__file__).parents[2] / "examples" / "train_mnist.py"

DTYPES = ["float32", "float16", "bfloat16", "float64", "complex64", "int64", "uint8", "bool"]


def play(rank, world_size, scenarios, gpus):
    """Each scenario, on the CPU and on this rank's GPU: {name: (expected, got)}."""
    os.environ |= environment(gpus)
    import minitorch as torch

    here, there = torch.device("cpu"), torch.device("cuda", rank % min(gpus, COUNT))
    results = {}
    for function in scenarios:
        results[function.__name__] = tuple(function(torch, rank, where) for where in (here, there))
        assert torch.cuda.current_device() == 0
    return results


SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def values(*tensors):
    """As lists, which compare exactly."""
    return [(str(t.dtype), t.cpu().tolist()) for t in tensors]


def numbers(torch, rank, where, *shape, dtype="float32"):
    """Other ones for each rank, whose sums have no rounding errors."""
    random = np.random.default_rng(rank)
    made = torch.tensor(random.integers(0, 5, shape).tolist(), dtype=getattr(torch, dtype))
    return made.reshape(shape).to(where)


@scenario
def every_collective(torch, rank, where):
    dist = torch.distributed
    other = 1 - rank
    make = lambda *shape: numbers(torch, rank, where, *shape)  # noqa: E731
    x = [make(3, 4) for _ in range(8)]
    dist.all_reduce(x[0])
    dist.all_reduce(x[1], dist.ReduceOp.MAX)
    dist.reduce(x[2], 1)
    dist.broadcast(x[3], 1)
    blocks = [make(3, 4) * 0 for _ in range(2)]
    dist.all_gather(blocks, x[4])
    whole, part = make(6, 4), make(3, 4) * 0
    dist.reduce_scatter_tensor(part, whole)
    single = make(6, 4) * 0
    dist.all_gather_into_tensor(single, x[4])
    swapped = [make(2) * 0, make(3) * 0][:: 1 if rank == 0 else -1]
    dist.all_to_all(swapped, [make(2), make(3)][:: 1 if rank == 0 else -1])
    gathered = [make(2, 2) * 0 for _ in range(2)] if rank == 0 else None
    dist.gather(make(2, 2), gathered, 0)
    dist.scatter(x[5], [make(3, 4), make(3, 4) + 1] if rank == 1 else None, 1)
    work = dist.irecv(x[6], other, tag=3)
    dist.send(x[4], other, tag=3)
    work.wait()
    assert work.is_completed() and work.is_success()
    pieces = make(4, 3) * 0
    dist.all_to_all_single(pieces, make(4, 3))
    made = [*x, *blocks, part, single, *swapped, *(gathered or []), pieces]
    assert {t.device for t in made} == {where}
    return values(*made)


@scenario
def every_dtype(torch, rank, where):
    made = [numbers(torch, rank, where, 7, dtype=name) for name in DTYPES]
    works = [torch.distributed.all_reduce(t, async_op=True) for t in made]
    for work in works:
        work.wait()
    return values(*made)


@scenario
def every_reduction(torch, rank, where):
    """Or its error."""
    results = []
    for name in [*DTYPES, "int8", "int16", "int32", "complex128"]:
        for op in torch.distributed.ReduceOp:
            t = numbers(torch, rank, where, 9, dtype=name)
            try:
                torch.distributed.all_reduce(t, op)
                results.append(values(t))
            except (RuntimeError, ValueError) as error:
                results.append(str(error))
    return results


@scenario
def messages(torch, rank, where):
    """Many at once, in both directions; a rank's part may be larger than the other's, or none."""
    dist, other = torch.distributed, 1 - rank
    mine = [numbers(torch, rank + i, where, 4, 3) for i in range(4)]
    came = [torch.zeros(4, 3, device=where) for _ in range(4)]
    ops = [dist.P2POp(dist.isend, t, other) for t in mine]
    ops += [dist.P2POp(dist.irecv, t, other) for t in came]
    for work in dist.batch_isend_irecv(ops):
        work.wait()
    parts = [torch.zeros(n, 2, device=where) for n in (5, 0)]
    dist.all_gather(parts, numbers(torch, rank, where, (5, 0)[rank], 2))
    rows = torch.zeros(3 + rank, 2, device=where)
    splits = [1 + rank, 2]
    dist.all_to_all_single(
        rows, numbers(torch, rank, where, 3 + rank, 2), splits, [1, 2] if rank == 0 else [2, 2]
    )
    # What is overwritten may still be in use when the call is made.
    late = torch.ones(1000, device=where)
    for _ in range(3):
        late = late * 2
    dist.broadcast(late.fill_(rank), 0)
    return values(*came, *parts, rows, late)


@scenario
def every_layout(torch, rank, where):
    """Views with gaps and of another order, none at all, and no dimension."""
    wide = numbers(torch, rank, where, 6, 8)
    made = [wide[:3].t(), wide[3:, ::3], wide[:0], wide[5, 7]]
    for part in made:
        torch.distributed.all_reduce(part)
    blocks = list(numbers(torch, rank, where, 4, 2).t())
    torch.distributed.all_gather(blocks, wide[0, :4])
    return values(wide, *made, *blocks)


@scenario
def objects_and_versions(torch, rank, where):
    x = numbers(torch, rank, where, 3)
    version = x._version
    torch.distributed.all_reduce(x)
    assert x._version > version
    dist = torch.distributed
    objects = [None, None]
    dist.all_gather_object(objects, x)
    found = [x if rank == 0 else None, {"on": rank}]
    dist.broadcast_object_list(found, 0)
    objects.append(found[0])
    given = [x, x + 1] if rank == 1 else None
    dist.scatter_object_list(found, given, 1)
    objects.append(found[0])
    gathered = [None, None] if rank == 0 else None
    dist.gather_object(x * 2, gathered, 0)
    if rank == 0:
        dist.send_object_list([x], 1)
        objects += gathered
    else:
        dist.recv_object_list(found[:1], 0)
    assert {o.device for o in objects} <= {torch.device("cpu"), *map(torch.device, range(2))}
    return values(*objects)


@scenario
def much_at_once(torch, rank, where):
    """Larger than what is copied at once, several under way."""
    made = [numbers(torch, rank, where, 100_003) for _ in range(6)]
    works = [torch.distributed.all_reduce(t, async_op=True) for t in made]
    torch.distributed.barrier()
    for work in works[::-1]:
        work.wait()
    return [t.cpu().numpy().sum(dtype=np.float64) for t in made] + [made[3][-3:].tolist()]


def trained(torch, rank, where, model, hook=None, **options):
    """The losses and the final parameters of three steps."""
    on_gpu = where.type == "cuda"
    ddp = torch.nn.parallel.DistributedDataParallel(
        model.to(where), device_ids=[where.index] if on_gpu else None, **options
    )
    if hook is not None:
        ddp.register_comm_hook(None, hook)
    losses = []
    for step in range(3):
        x = numbers(torch, 7 * step + rank, torch.device("cpu"), 6, 8)  # DDP brings it to the GPU
        out = ddp(x)
        assert out.device == where
        loss = out.square().mean()
        ddp.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in ddp.parameters():
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.01)
        losses.append(loss.item())
    buffers = [b.tolist() for b in ddp.buffers()]
    return losses, [p.tolist() for p in ddp.parameters()], buffers


def mlp(torch, rank=0):
    torch.manual_seed(rank)  # rank 0's parameters are brought to the others
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
    )


@scenario
def ddp(torch, rank, where):
    return trained(torch, rank, where, mlp(torch, rank))


@scenario
def ddp_in_small_buckets(torch, rank, where):
    return trained(
        torch, rank, where, mlp(torch), bucket_cap_mb=0.0005, gradient_as_bucket_view=True
    )


@scenario
def ddp_with_buffers(torch, rank, where):
    model = torch.nn.Sequential(mlp(torch), torch.nn.BatchNorm1d(4))
    return trained(torch, rank, where, model)


@scenario
def ddp_with_unused_parameters(torch, rank, where):
    model = mlp(torch)
    model.register_parameter("idle", torch.nn.Parameter(torch.ones(3)))
    return trained(torch, rank, where, model, find_unused_parameters=True)


@scenario
def ddp_with_inputs_of_all_kinds(torch, rank, where):
    """Inputs come to the GPU whatever they are in; there may be none."""

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))

        def forward(self, *tensors, factor=None):
            first = self.weight.new_ones(2)
            for t in [t for pair in tensors for t in pair]:
                first = first + t
            return first * self.weight * (1 if factor is None else factor["by"])

    model = torch.nn.parallel.DistributedDataParallel(
        Sum().to(where), device_ids=None if where.type == "cpu" else [where]
    )
    one = numbers(torch, rank, torch.device("cpu"), 2)
    outs = [model(), model((one, one), factor={"by": torch.tensor(3.0)}), model((one.sum(), one))]
    sum(out.sum() for out in outs).backward()
    return [out.tolist() for out in outs], model.module.weight.grad.tolist()


@scenario
def ddp_with_a_hook(torch, rank, where):
    from minitorch.distributed.algorithms.ddp_comm_hooks import default

    return trained(torch, rank, where, mlp(torch), hook=default.fp16_compress_hook)


def flat(nested):
    """The numbers in lists of lists."""
    return [x for part in nested for x in flat(part)] if type(nested) in (list, tuple) else [nested]


@pytest.mark.parametrize("gpus", [1, 2], ids=["one GPU for both", "a GPU for each"])
def test_the_same_as_on_the_cpu(gpus):
    ranks = run_ranks(play, 2, SCENARIOS, gpus, timeout=240, method="forkserver")
    for rank, results in enumerate(ranks):
        for name, (expected, got) in results.items():
            if name.startswith("ddp"):  # a GPU's kernels add in another order
                for e, g in zip(expected, got, strict=True):
                    for one, other in zip(e, g, strict=True):
                        np.testing.assert_allclose(
                            other, one, 1e-4, 1e-5, err_msg=f"{name}, {rank}"
                        )
            else:
                assert got == expected, f"{name} on rank {rank}"


def train_mnist(rank, world_size):
    """The losses of some steps of the example's network, on the CPU and on this rank's GPU."""
    os.environ |= environment(2, checks=False)
    import minitorch as torch

    example = runpy.run_path(str(MNIST))
    train_set, _ = example["load_mnist"]()
    losses = {}
    for device in ("cpu", f"cuda:{rank % COUNT}"):
        torch.manual_seed(0)
        net = example["Net"](dropout=0).to(device)
        ids = None if device == "cpu" else [rank % COUNT]
        model = torch.nn.parallel.DistributedDataParallel(net, device_ids=ids)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses[device] = []
        for step in range(4):
            first = 8 * (2 * step + rank)
            images, labels = train_set[first : first + 8]
            optimizer.zero_grad()
            loss = torch.nn.functional.nll_loss(model(images), labels.to(device))
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    return list(losses.values())


def test_mnist_on_two_ranks():
    for on_cpu, on_gpu in run_ranks(train_mnist, 2, timeout=240, method="forkserver"):
        assert on_gpu == pytest.approx(on_cpu, rel=1e-4) and len(on_cpu) == 4


def meanwhile(rank, world_size):
    """While the data of one call are on their way to the host, an earlier call goes on."""
    os.environ["MINITORCH_CUDA"] = "emulate"
    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed import staging

    class Event:
        done = False

    event = Event()
    if rank == 0:
        fetch = staging.Copier.fetch
        staging.Copier.fetch = lambda self, array: (fetch(self, array)[0], event, array)
    there, message = torch.full((3,), 1.0 + rank, device="cuda"), torch.zeros(2)
    if rank == 1:
        work = dist.all_reduce(there, async_op=True)
        dist.send(message + 5, 0)
        dist.recv(message, 0)  # rank 0 has got it
    else:
        answer = dist.irecv(message, 1)
        work = dist.all_reduce(there, async_op=True)  # returns at once
        answer.wait()
        assert message.tolist() == [5, 5]
        time.sleep(0.2)
        assert not work.is_completed()
        event.done = True
        dist.send(message, 1)
    work.wait()
    return there.tolist()


def test_a_late_gpu_keeps_nobody_waiting():
    assert run_ranks(meanwhile, 2, method="forkserver") == [[3, 3, 3]] * 2


def test_results_wait_until_the_array_is_free(monkeypatch):
    """What was asked of the GPU before the call may still read what the call overwrites."""
    array = minitorch.zeros(3, device="cuda").array
    copier, stage = staging._copier(array.device.id), staging.Stage()
    stream = mock.MagicMock(wraps=copier._stream)
    monkeypatch.setattr(copier, "_stream", stream)
    host = stage.fill(array)
    host[:] = 7
    ((_, _, free),) = stage._results
    assert list(stage.around(lambda link: iter(()))(None)) == []
    assert stream.wait_event.call_args_list == [mock.call(free)]
    stage.hand_over()
    assert array.tolist() == [7, 7, 7]


SCRIPT = """
import os
import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn
from minitorch.nn.parallel import DistributedDataParallel as DDP
from minitorch.utils.data import DataLoader, DistributedSampler, TensorDataset

def main():
    use_cuda = torch.cuda.is_available()
    dist.init_process_group(backend="nccl" if use_cuda else "gloo", init_method="env://")
    local_rank = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local_rank) if use_cuda else torch.device("cpu")
    torch.manual_seed(0)
    if use_cuda:
        torch.cuda.set_device(local_rank)
        torch.cuda.manual_seed_all(0)
        torch.backends.cudnn.benchmark = True
    data = TensorDataset(torch.randn(48, 1, 6, 6), torch.randint(0, 3, (48,)))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=8, sampler=sampler, pin_memory=use_cuda)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    if use_cuda:
        model = model.cuda()
    ids = {"device_ids": [local_rank], "output_device": local_rank} if use_cuda else {}
    model = DDP(model, **ids)
    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scaler = torch.cuda.amp.GradScaler(enabled=use_cuda)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for images, labels in loader:
            images = images.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            mean = loss.detach().clone()
            dist.all_reduce(mean, op=dist.ReduceOp.AVG)
            if dist.get_rank() == 0:
                print("loss", mean.item(), flush=True)
        dist.barrier(device_ids=[local_rank] if use_cuda else None)
    if dist.get_rank() == 0:
        torch.save(model.module.state_dict(), "model.pt")
    dist.barrier()
    where = {"cuda:0": f"cuda:{local_rank}"} if use_cuda else None
    state = torch.load("model.pt", map_location=where)
    assert all(t.device == device for t in state.values())
    model.module.load_state_dict(state)
    print("backend", dist.get_backend(), "on", next(model.parameters()).device, flush=True)
    dist.destroy_process_group()

if __name__ == "__main__":
    main()
"""


def test_a_script_that_insists_on_nccl(tmp_path):
    """What people write, started by minitorchrun. Emulated GPUs have no NCCL; it runs all the
    same, with the losses that it has on a CPU."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "minitorch.distributed.run", "--nproc_per_node=2", "script.py"]
    printed = {}
    for emulated in (False, True):
        here = environment(2, checks=False) if emulated else {"CUDA_VISIBLE_DEVICES": ""}
        env = {k: v for k, v in os.environ.items() if k != "MINITORCH_CUDA"} | here
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        ours = "backend nccl: minitorch's own backend, zmq, takes its place" in done.stderr
        assert ours == emulated
        losses = [float(x) for x in re.findall(r"loss ([\d.]+)", done.stdout)]
        printed[emulated] = losses, sorted(re.findall(r"backend \w+ on [\w:]+", done.stdout))
    (on_cpu, cpus), (on_gpu, gpus) = printed.values()
    assert len(on_cpu) == 6 and on_gpu == pytest.approx(on_cpu, rel=1e-4)
    assert cpus == ["backend gloo on cpu"] * 2
    assert gpus == [f"backend nccl on cuda:{rank}" for rank in range(2)]
