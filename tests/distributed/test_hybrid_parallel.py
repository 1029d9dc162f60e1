"""Mixtures of the ways to split work, and the examples that show them by hand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .harness import run_ranks
from .test_tensor_parallel import build, check, one_process, plans, train

EXAMPLES = Path(__file__).parents[2] / "examples"


def data_and_tensor(rank, world_size):
    """DistributedDataParallel over the columns of a 2 x 2 mesh, tensor parallelism along its rows:
    each column has half of every batch."""
    import minitorch as torch
    from minitorch.distributed.tensor.parallel import full_tensor, parallelize_module

    mesh = torch.distributed.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    model = parallelize_module(build(torch), mesh["tp"], plans(torch)["all"])
    ddp = torch.nn.parallel.DistributedDataParallel(model, process_group=mesh.get_group("dp"))
    half = slice(2 * mesh.get_local_rank("dp"), 2 * mesh.get_local_rank("dp") + 2)

    class Half(torch.nn.Module):
        """So that `train` need not know of it."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return ddp(x[half])

    def loss_of(out, target):
        """Such that the mean over the columns is the mean over the batch's words that count."""
        mine = target.reshape(4, -1)[half].flatten()
        total = torch.nn.functional.cross_entropy(out.flatten(0, 1), mine, reduction="sum")
        return 2 * total / (target != -100).sum()

    losses, grads = train(torch, Half(), loss_of)
    losses = torch.tensor(losses, dtype=torch.float64)
    torch.distributed.all_reduce(losses, torch.distributed.ReduceOp.AVG, mesh.get_group("dp"))
    named = dict(model.named_parameters())
    grads = {n: full_tensor(grads[f"model.{n}"], p).numpy() for n, p in named.items()}
    return losses.tolist(), grads, {n: full_tensor(p).numpy() for n, p in named.items()}


def test_data_and_tensor_parallel():
    import minitorch as torch

    expected = one_process(torch)
    for rank, found in enumerate(run_ranks(data_and_tensor, 4, method="forkserver")):
        check(found, expected, f"rank {rank}")


def run(script, ranks, *launcher):
    done = subprocess.run(
        [sys.executable, *launcher, "--nproc_per_node", str(ranks), str(script)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


OURS = ("-m", "minitorch.distributed.run")


def losses(output):
    """{"by hand": [...], "GPipe": [...], "one rank": [...]}"""
    lines = re.findall(r"(by hand|GPipe|one rank): +([\d. ]+)", output)
    return {name: [float(number) for number in numbers.split()] for name, numbers in lines}


def test_example_of_data_and_pipeline():
    found = losses(run(EXAMPLES / "hybrid_parallel.py", 4, *OURS))
    assert list(found) == ["by hand", "GPipe", "one rank"]
    for numbers in found.values():
        assert len(numbers) == 8 and numbers[-1] < numbers[0] - 0.1
        np.testing.assert_allclose(numbers, found["one rank"], rtol=1e-4)


def test_example_of_tensor_parallel():
    output = run(EXAMPLES / "tensor_parallel.py", 2, *OURS)
    assert "25184 of 49984 parameters on each of 2 ranks" in output
    assert "4 all_reduces of 32 KiB: 2 forward, 2 back" in output
    assert len(re.findall("differ from one process by at most .e-", output)) == 6


@pytest.mark.slow
def test_examples_are_pytorchs_as_well(tmp_path):
    for name in ("hybrid_parallel", "tensor_parallel"):
        text = (EXAMPLES / f"{name}.py").read_text().replace("minitorch", "torch")
        (tmp_path / f"{name}.py").write_text(text)
    theirs = run(tmp_path / "hybrid_parallel.py", 4, "-m", "torch.distributed.run")
    ours = run(EXAMPLES / "hybrid_parallel.py", 4, *OURS)
    for name, numbers in losses(theirs).items():
        np.testing.assert_allclose(numbers, losses(ours)[name], rtol=1e-4)
    theirs = run(tmp_path / "tensor_parallel.py", 2, "-m", "torch.distributed.run")
    assert len(re.findall("differ from one process by at most .e-", theirs)) == 6
