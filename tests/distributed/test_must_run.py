"""The distributed half of what the project's origin shows PyTorch doing: it must run here as well.

Rows 1 to 7 are in tests/test_must_run.py; 11, nn.DataParallel, in tests/nn/test_data_parallel.py;
14, the ways to split work and their mixture, in test_pipelining.py, test_tensor_parallel.py,
test_fsdp.py and test_hybrid_parallel.py. Each script is what a user types, but for the imports.
"""

import os
import re
import sys

import numpy as np
import pytest

import minitorch as torch
import minitorch.distributed as dist

from .harness import run_ranks
from .launching import environment, free_port
from .test_interop import together

TRAIN = """
import argparse, os
import minitorch as torch
import minitorch.distributed as dist
import minitorch.multiprocessing as mp
from minitorch.nn.parallel import DistributedDataParallel as DDP

def train(rank, world_size, backend="gloo", init_method="env://"):
    dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world_size)
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 3)
    device_ids = None
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
        model, device_ids = model.cuda(rank), [rank]
    model = DDP(model, device_ids=device_ids)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(rank)
    for step in range(5):
        inputs = torch.randn(16, 10, generator=generator)
        labels = torch.randint(0, 3, (16,), generator=generator)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
    print(f"rank {rank} of {world_size}:", model.module.weight.sum(1).tolist(), flush=True)
    dist.destroy_process_group()
"""

BY_HAND = f"""{TRAIN}
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dist-url", default="env://")
    parser.add_argument("--world-size", type=int, default=-1)
    parser.add_argument("--rank", type=int, default=-1)
    parser.add_argument("--backend", default="gloo")
    args = parser.parse_args()
    if args.rank == -1:
        args.rank, args.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    train(args.rank, args.world_size, args.backend, args.dist_url)
"""

SPAWN = f"""{TRAIN}
def main(rank, world_size):
    os.environ["MASTER_ADDR"] = "localhost"
    os.environ["MASTER_PORT"] = "29500"
    train(rank, world_size)

if __name__ == "__main__":
    world_size = 3
    mp.spawn(main, args=(world_size,), nprocs=world_size, join=True)
"""

LAUNCHED = f"""{TRAIN}
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--local-rank", "--local_rank", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    local_rank = int(os.environ["LOCAL_RANK"])
    assert args.local_rank in (None, local_rank)
    print("local rank", local_rank, "argument", args.local_rank, "epochs", args.epochs, flush=True)
    train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
"""


@pytest.fixture
def write(script):
    """Writes a script, with a port that is free in place of 29500."""
    return lambda text: script(text.replace("29500", str(free_port())), "train.py")


def start(*commands):
    """Run commands side by side, each (arguments of Python, environment); what all have printed."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return together(*[([sys.executable, *args], env | one_thread) for args, env in commands])[0]


def check_training(output, world_size):
    """All ranks have trained, and have the weights that one process with all their data has."""
    found = dict(re.findall(rf"rank (\d+) of {world_size}: (\[.*\])", output))
    assert sorted(map(int, found)) == list(range(world_size)), output
    assert len(set(found.values())) == 1, found
    np.testing.assert_allclose(eval(found["0"]), expected(world_size), rtol=1e-4, atol=1e-6)


def expected(world_size):
    """The same training in PyTorch, in one process, each batch being those of all ranks."""
    import torch as pytorch

    pytorch.manual_seed(0)
    model = pytorch.nn.Linear(10, 3)
    optimizer = pytorch.optim.SGD(model.parameters(), lr=0.1)
    generators = [pytorch.Generator().manual_seed(rank) for rank in range(world_size)]
    for _ in range(5):
        parts = []
        for generator in generators:
            inputs = pytorch.randn(16, 10, generator=generator)
            parts.append((inputs, pytorch.randint(0, 3, (16,), generator=generator)))
        inputs, labels = (pytorch.cat(column) for column in zip(*parts, strict=True))
        optimizer.zero_grad()
        pytorch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.weight.sum(1).tolist()


def test_init_process_group(write):
    """8: `env://` with MASTER_ADDR, MASTER_PORT, WORLD_SIZE and RANK set by hand in separate
    shells, and `tcp://host:port` with rank and world_size; file:// is in test_rendezvous.py."""
    path = write(BY_HAND)
    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    shells = [([path], environment(**where, WORLD_SIZE="2", RANK=str(rank))) for rank in range(2)]
    check_training(start(*shells), 2)

    url = f"--dist-url=tcp://127.0.0.1:{free_port()}"
    shells = [([path, url, "--world-size=2", f"--rank={rank}"], environment()) for rank in range(2)]
    check_training(start(*shells), 2)


@pytest.mark.skipif(dist.is_nccl_available(), reason="nccl can be used here: see test_nccl.py")
def test_nccl_without_a_gpu(T):
    """8: backend "nccl"; on a machine that cannot use it PyTorch raises an error, too."""
    with pytest.raises((RuntimeError, ValueError), match="(?i)nccl"):
        T.distributed.init_process_group(
            "nccl", store=T.distributed.HashStore(), rank=0, world_size=1
        )


def test_ddp_training_loop(write):
    """9: DDP, CrossEntropyLoss, SGD; zero_grad, forward, loss, backward, step;
    destroy_process_group. `device_ids=[rank]` is for a GPU; more of DDP in test_ddp*.py."""
    path = write(LAUNCHED)
    command = ["-m", "minitorch.distributed.run", "--nproc_per_node=3", path]
    check_training(start((command, environment())), 3)


def test_spawn(write):
    """10: torch.multiprocessing.spawn(main, args=(world_size,), nprocs=world_size, join=True);
    more of it in test_spawn.py."""
    check_training(start(([write(SPAWN)], environment())), 3)


def average_by_hand(rank, world_size):
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = torch.nn.CrossEntropyLoss()
    generator = torch.Generator().manual_seed(rank)
    for _ in range(5):
        inputs = torch.randn(16, 10, generator=generator)
        labels = torch.randint(0, 3, (16,), generator=generator)
        optimizer.zero_grad()
        criterion(model(inputs), labels).backward()
        for p in model.parameters():
            dist.all_reduce(p.grad.data, op=dist.ReduceOp.SUM)
            p.grad.data /= world_size
        optimizer.step()
    return model.weight.sum(1).tolist()


def test_manual_gradient_averaging():
    """12: dist.all_reduce over each p.grad.data, then divide."""
    results = run_ranks(average_by_hand, 2, method="forkserver")
    assert results[0] == results[1]
    np.testing.assert_allclose(results[0], expected(2), rtol=1e-4, atol=1e-6)


def halves():
    torch.manual_seed(1)
    lower = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    return lower, torch.nn.Linear(8, 2)


def model_in_two_halves(rank, world_size):
    """Rank 0 has the lower layers, rank 1 the upper: activations go up, their gradients down."""
    lower, upper = halves()
    part = (lower, upper)[rank]
    if rank == 0:
        with torch.no_grad():  # to be put right by the broadcast
            for p in lower.parameters():
                p += 1
    for owner, layers in enumerate((lower, upper)):  # each half's state from who is said to have it
        for value in layers.state_dict().values():
            dist.broadcast(value, src=1 - owner)
    x = torch.arange(12.0).view(3, 4) / 12
    if rank == 0:
        activations = part(x)
        dist.send(activations.detach(), dst=1)
        grad = torch.empty_like(activations)
        dist.recv(grad, src=1)
        activations.backward(grad)
    else:
        activations = torch.empty(3, 8)
        dist.recv(activations, src=0)
        activations.requires_grad_()
        part(activations).square().sum().backward()
        dist.send(activations.grad, dst=0)
    return [p.grad.tolist() for p in part.parameters()]


def test_model_parallel():
    """13: layers of one model in different processes, activations sent between them; broadcast of
    sub-models' state. (On different devices: needs GPUs.)"""
    lower, upper = halves()
    upper(lower(torch.arange(12.0).view(3, 4) / 12)).square().sum().backward()
    results = run_ranks(model_in_two_halves, 2, method="forkserver")
    assert results == [[p.grad.tolist() for p in part.parameters()] for part in (lower, upper)]


def epochs(rank, world_size):
    from minitorch.utils.data import DataLoader, DistributedSampler, TensorDataset

    data = TensorDataset(torch.arange(22))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=4, sampler=sampler)
    seen = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        seen.append([batch.tolist() for (batch,) in loader])
    return seen


def test_dataloader_with_distributed_sampler():
    """15: sampler=..., set_epoch every epoch: PyTorch's very batches."""
    import torch as pytorch
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    results = run_ranks(epochs, 3, method="forkserver")
    data = TensorDataset(pytorch.arange(22))
    for rank, seen in enumerate(results):
        sampler = DistributedSampler(data, num_replicas=3, rank=rank)
        loader = DataLoader(data, batch_size=4, sampler=sampler)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            assert seen[epoch] == [batch.tolist() for (batch,) in loader], (rank, epoch)
    for epoch in range(3):
        everything = [i for seen in results for batch in seen[epoch] for i in batch]
        assert set(everything) == set(range(22)) and len(everything) == 24
    assert results[0][0] != results[0][1]


def on_each_node(module, nproc, path, *script_arguments, nnodes=2):
    """The command for each node, all on this machine."""
    common = [f"--nnodes={nnodes}", f"--nproc_per_node={nproc}", f"--master_port={free_port()}"]
    command = ["-m", f"minitorch.distributed.{module}", "--master_addr=127.0.0.1", *common]
    return [
        ([*command, f"--node_rank={node}", path, *script_arguments], environment())
        for node in range(nnodes)
    ]


def test_torchrun(write):
    """16: `--nnodes=2 --nproc_per_node=... --node_rank=0 --master_addr=... --master_port=...
    train.py script-args`, on each node."""
    output = start(*on_each_node("run", 2, write(LAUNCHED), "--epochs=3"))
    check_training(output, 4)
    said = re.findall(r"local rank (\d) argument None epochs 3", output)
    assert sorted(said) == ["0", "0", "1", "1"]


def test_torchrun_in_one_process(write):
    """16: `-n 1`, and `--no_spawn`: one process, nothing spawned, for debugging."""
    path = write(LAUNCHED)
    check_training(start((["-m", "minitorch.distributed.run", "-n", "2", path], environment())), 2)
    path = write(
        f"import os; print(f'process {{os.getpid()}}, child of {{os.getppid()}}')\n{LAUNCHED}"
    )
    output = start((["-m", "minitorch.distributed.run", "--no_spawn", path], environment()))
    check_training(output, 1)
    parent, itself = re.search(r"process (\d+), child of (\d+)", output).groups()[::-1]
    assert int(parent) == os.getpid() != int(itself)


def test_launch(write):
    """17: `python -m torch.distributed.launch --nproc_per_node=... --nnodes=2 --node_rank=0
    --master_addr --master_port train.py`; the script gets --local-rank or reads LOCAL_RANK."""
    output = start(*on_each_node("launch", 2, write(LAUNCHED)))
    check_training(output, 4)
    said = re.findall(r"local rank (\d) argument (\d) epochs 1", output)
    assert sorted(said) == [("0", "0"), ("0", "0"), ("1", "1"), ("1", "1")]


@pytest.mark.slow
def test_run_as_a_module_on_two_machines_of_eight(write):
    """18: torch.distributed.run as a module, two machines of eight processes, script options after
    the script's name. (Two of two are in 16.)"""
    output = start(*on_each_node("run", 8, write(LAUNCHED), "--epochs", "7"))
    check_training(output, 16)
    assert output.count("argument None epochs 7") == 16
