"""Either launcher starts either package's scripts, and so do mpirun and Slurm.

One training script, written as PyTorch's users write it, is started in every way; each time all
ranks end with the same parameters, and with those of every other way.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import minitorch.distributed as dist
from minitorch.distributed import schedulers

from .launching import (
    LAUNCHER,
    OURS,
    TORCHRUN,
    environment,
    finish,
    free_port,
    place_for_mpi,
    started,
)

RANKS = 2

SCRIPT = """
import importlib, json, os, sys
torch = importlib.import_module(sys.argv[1])
dist = importlib.import_module(sys.argv[1] + ".distributed")
record = importlib.import_module(
    sys.argv[1] + ".distributed.elastic.multiprocessing.errors").record

@record
def main(folder, fails):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(rank)  # DDP makes them alike
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(100 + rank)
    for step in range(4):
        x = torch.rand(5, 4, generator=generator)
        optimizer.zero_grad()
        ddp(x).square().sum().backward()
        optimizer.step()
        if fails and rank == 1:
            raise ValueError("the training data is gone")
    parameters = [p.tolist() for p in model.parameters()]
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump({"parameters": parameters, "local": dist.get_node_local_rank(-1)}, file)
    dist.barrier()  # Gloo may abort a rank whose peer has left
    dist.destroy_process_group()

if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:] == ["fails"])
    if sys.argv[1] == "torch":
        os._exit(0)  # PyTorch's threads may outlive Python, and abort the process
"""


@pytest.fixture
def train_script(script):
    return script(SCRIPT, "train.py")


def together(*commands, code=0):
    """Run commands side by side, each (command, environment); what they printed, and their errors.

    All must end with this exit code.
    """
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started(launcher=command, env=env)) for command, env in commands
        ]
        results = finish(processes, timeout=240)
    codes, outputs, errors = zip(*results, strict=True)
    assert codes == (code,) * len(commands), "\n".join(errors)
    return "\n".join(outputs), "\n".join(errors)


def train(folder, *commands):
    """What each rank has written."""
    together(*commands)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def parameters(results):
    """The parameters that the ranks have in common."""
    assert results[0]["parameters"] == results[1]["parameters"]
    return results[0]["parameters"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """{package: its parameters when its own launcher has started it}"""
    found = {}
    for package, launcher in (("minitorch", LAUNCHER), ("torch", TORCHRUN)):
        folder = tmp_path_factory.mktemp(package)
        (folder / "train.py").write_text(SCRIPT)
        path, options = str(folder / "train.py"), [f"--nproc_per_node={RANKS}"]
        command = [*launcher, *options, path, package, str(folder)]
        found[package] = parameters(train(folder, (command, environment())))
    return found


def test_both_packages_train_alike(expected):
    for ours, theirs in zip(expected["minitorch"], expected["torch"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("package, launcher", [("torch", LAUNCHER), ("minitorch", TORCHRUN)])
def test_the_others_launcher(package, launcher, train_script, tmp_path, expected):
    command = [*launcher, f"--nproc_per_node={RANKS}", train_script, package, str(tmp_path)]
    results = train(tmp_path, (command, environment()))
    assert parameters(results) == expected[package]
    assert [result["local"] for result in results] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("package, launcher", [("torch", LAUNCHER), ("minitorch", TORCHRUN)])
def test_two_nodes_of_the_others_launcher(package, launcher, train_script, tmp_path, expected):
    """They meet at a c10d rendezvous; each starts one worker."""
    meeting = f"--rdzv_backend=c10d --rdzv_endpoint=127.0.0.1:{free_port()} --rdzv_id=job".split()
    command = [*launcher, "--nnodes=2", "--nproc_per_node=1", *meeting]
    nodes = [([*command, train_script, package, str(tmp_path)], environment())] * 2
    results = train(tmp_path, *nodes)
    assert parameters(results) == expected[package]
    assert [result["local"] for result in results] == [0, 0]


@pytest.mark.parametrize(
    "package, launcher",
    [pytest.param("torch", LAUNCHER, marks=pytest.mark.slow), ("minitorch", TORCHRUN)],
)
def test_the_others_launcher_reads_what_record_wrote(package, launcher, train_script, tmp_path):
    command = [
        *launcher,
        f"--nproc_per_node={RANKS}",
        train_script,
        package,
        str(tmp_path),
        "fails",
    ]
    _, errors = together((command, environment()), code=1)
    # torchrun goes by a clock of whole seconds, and may take for the cause that rank 0 was left
    # alone; but it prints what either has written.
    report = errors[errors.rindex("FAILED" if launcher is TORCHRUN else "minitorchrun: ") :]
    assert re.search(r"rank      : 1 \(local|rank 1 \(", report)
    assert "ValueError: the training data is gone" in report and "in main" in report


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun: install Open MPI")
def test_mpirun(train_script, tmp_path, expected):
    """It sets OMPI_COMM_WORLD_RANK and its like (or PMI_RANK); where to meet is the user's."""
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
    options = ["--oversubscribe", "--allow-run-as-root"] if "Open" in version else []
    command = [
        "mpirun",
        *options,
        "-n",
        str(RANKS),
        sys.executable,
        train_script,
        "minitorch",
        str(tmp_path),
    ]
    with place_for_mpi() as place:
        env = environment(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), **place)
        results = train(tmp_path, (command, env))
    assert parameters(results) == expected["minitorch"]
    assert [result["local"] for result in results] == [-1, -1]  # what the script asked for


def test_slurm(train_script, tmp_path, expected):
    """What srun sets for two tasks on one node; the user chooses the port."""
    port = str(free_port())
    commands = [
        (
            [sys.executable, train_script, "minitorch", str(tmp_path)],
            environment(
                OMP_NUM_THREADS="1",
                SLURM_PROCID=str(rank),
                SLURM_NTASKS=str(RANKS),
                SLURM_LOCALID=str(rank),
                SLURM_JOB_NODELIST="localhost",
                MASTER_PORT=port,
            ),
        )
        for rank in range(RANKS)
    ]
    assert parameters(train(tmp_path, *commands)) == expected["minitorch"]


@pytest.fixture
def nothing_set(monkeypatch):
    for name in filter(OURS.match, list(os.environ)):
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    "variables, rank, size, local",
    [
        ({"OMPI_COMM_WORLD_RANK": 3, "OMPI_COMM_WORLD_SIZE": 4, "SLURM_PROCID": 0}, 3, 4, None),
        ({"PMI_RANK": 1, "PMI_SIZE": 2, "MPI_LOCALRANKID": 1}, 1, 2, 1),
        ({"SLURM_PROCID": 0, "SLURM_NTASKS": 6, "SLURM_LOCALID": 0}, 0, 6, 0),
        ({"RANK": 5, "SLURM_PROCID": 0, "SLURM_NTASKS": 6, "SLURM_LOCALID": 0}, 5, None, None),
        ({"WORLD_SIZE": 8, "SLURM_PROCID": 7, "SLURM_NTASKS": 6}, 7, 8, None),
        ({}, None, None, None),
    ],
)
def test_where_the_place_is_looked_up(variables, rank, size, local, nothing_set):
    for name, value in variables.items():
        nothing_set.setenv(name, str(value))
    found = [schedulers.setting(name) for name in schedulers.NAMES]
    assert found == [None if value is None else str(value) for value in (rank, size, local)]
    assert dist.get_node_local_rank(7) == 7
    if local is not None:
        assert dist.get_node_local_rank() == local


@pytest.mark.parametrize(
    "nodes, first",
    [
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("a[1,3]", "a1"),
        ("login,gpu[1-2]", "login"),
        ("rack1-node[003-010]", "rack1-node003"),
        ("n[1-2].cluster,m", "n1.cluster"),
        ("single.example.org", "single.example.org"),
        ("", None),
    ],
)
def test_slurms_first_node(nodes, first, nothing_set):
    nothing_set.setenv("SLURM_JOB_NODELIST", nodes)
    assert schedulers.setting("MASTER_ADDR") == first
    nothing_set.setenv("MASTER_ADDR", "elsewhere")
    assert schedulers.setting("MASTER_ADDR") == "elsewhere"


def test_what_was_looked_for_is_said(nothing_set):
    words = {
        "RANK": "nor OMPI_COMM_WORLD_RANK, PMI_RANK or SLURM_PROCID",
        "WORLD_SIZE": "nor OMPI_COMM_WORLD_SIZE, PMI_SIZE or SLURM_NTASKS",
        "MASTER_ADDR": "nor SLURM_JOB_NODELIST",
        "MASTER_PORT": "choose a free port, the same for all ranks",
    }
    start = time.monotonic()
    for name, rest in words.items():
        with pytest.raises(ValueError, match=f"variable {name} expected, but not set .*{rest}"):
            next(dist.rendezvous("env://"))
        nothing_set.setenv(name, "1" if name == "WORLD_SIZE" else "0")
    assert time.monotonic() - start < 5
