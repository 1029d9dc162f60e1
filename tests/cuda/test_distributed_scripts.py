"""What the project's origin shows PyTorch doing, on GPUs: tests/distributed/test_must_run.py."""

import pytest

import minitorch as torch

from ..distributed.launching import environment, free_port
from ..distributed.test_must_run import (
    BY_HAND,
    LAUNCHED,
    SPAWN,
    check_training,
    halves,
    on_each_node,
    start,
)
from .gpus import OTHER

GPUS = {"MINITORCH_CUDA": "emulate:3", "MINITORCH_CUDA_CHECKS": "0"}


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.py"
        text = text.replace("29500", str(free_port()))
        # A GPU's outputs are compared with labels that are there, too.
        path.write_text(text.replace("outputs, labels)", "outputs, labels.to(outputs.device))"))
        return str(path)

    return write


def test_by_hand(write):
    """7, 8, 9: set_device, model.cuda(rank), backend "nccl", RANK and the others set by hand."""
    path = write(BY_HAND)
    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    shells = [([path, "--backend=nccl"], environment(**GPUS, **where, RANK=str(r))) for r in (0, 1)]
    check_training(start(*shells), 2)


@pytest.mark.slow
def test_spawn(write):
    """10: the children find the GPUs, too."""
    check_training(start(([write(SPAWN)], environment(**GPUS))), 3)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["run", "launch"])
def test_launchers(write, module):
    """16, 17, 18: two nodes, a rank on each."""
    nodes = on_each_node(module, 1, write(LAUNCHED))
    check_training(start(*[(command, env | GPUS) for command, env in nodes]), 2)


def test_model_parallel():
    """13: layers of one model on different devices."""
    x = torch.arange(12.0).view(3, 4) / 12
    grads = []
    for here, there in (("cpu", "cpu"), ("cuda:0", OTHER)):
        lower, upper = halves()
        lower, upper = lower.to(here), upper.to(there)
        upper(lower(x.to(here)).to(there)).square().sum().backward()
        grads.append([p.grad.cpu() for p in [*lower.parameters(), *upper.parameters()]])
    for on_cpu, on_gpus in zip(*grads, strict=True):
        torch.testing.assert_close(on_gpus, on_cpu)


def test_data_parallel():
    """11: one process, two devices; the gradients come to the module of the first."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    x = torch.randn(6, 4)
    parts = [model.train()(half) for half in x.chunk(2)]
    torch.cat(parts).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for buffer in model.buffers():
        buffer.zero_()
    on_two = torch.nn.DataParallel(model.cuda(), device_ids=["cuda:0", OTHER])
    out = on_two(x.cuda())
    assert out.device == torch.device("cuda:0")
    out.square().sum().backward()
    torch.testing.assert_close(out.cpu(), torch.cat(parts), rtol=1e-4, atol=1e-5)
    for p, grad in zip(model.parameters(), expected, strict=True):
        assert p.grad.device == p.device
        torch.testing.assert_close(p.grad.cpu(), grad, rtol=1e-3, atol=1e-4)
