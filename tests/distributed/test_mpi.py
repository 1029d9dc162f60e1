"""The backend mpi under mpirun: the table of collectives, training, and the ways to fail.

`python -m tests.distributed.test_mpi FUNCTION FOLDER` is what mpirun starts: it calls one of the
functions below on each rank and leaves what they return in the folder.
"""

import os
import pickle
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if __name__ != "__main__":
    from .test_collectives import compare

from .cases import run_cases, run_ours
from .harness import run_ranks
from .launching import environment, place_for_mpi
from .test_process_group import asynchronous, memory_layouts, point_to_point, same_bits, uneven
from .training import train_mini

RANKS = 4

pytestmark = pytest.mark.skipif(
    shutil.which("mpirun") is None or find_spec("mpi4py") is None,
    reason="needs mpirun and mpi4py: install Open MPI or MPICH and minitorch[mpi]",
)


def mpirun(function, ranks, folder, *options, code=0, timeout=240):
    """What a function returned on every rank; the output if it was to fail with another code."""
    command = ["mpirun", "-n", str(ranks), *options, sys.executable]
    command += ["-m", "tests.distributed.test_mpi", function, str(folder)]
    if is_open_mpi():
        command[1:1] = ["--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
    with place_for_mpi() as place:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=Path(__file__).parents[2],
            env=environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", **place),
        )
    output = run.stdout + run.stderr
    assert (run.returncode == 0) == (code == 0), output
    if code:
        return output
    return [pickle.loads(Path(folder, f"{rank}").read_bytes()) for rank in range(ranks)]


def is_open_mpi():
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
    return "Open MPI" in version or "OpenRTE" in version


def everything(rank, size):
    """All in one start, as starting takes longer than the rest."""
    import minitorch as torch
    import minitorch.distributed as dist

    assert dist.get_backend() == "mpi" and dist.is_mpi_available()
    uneven(rank, size)
    asynchronous(rank, size)
    local_groups(rank, size)
    again(rank, size)
    return {
        "cases": run_cases(torch, dist, rank, size),
        "bits": same_bits(rank, size),
        "training": train_mini(rank, size),
    }


def local_groups(rank, size):
    """Groups that only their members make, and one inside another."""
    import minitorch.distributed as dist

    for _ in range(2):
        half = dist.split_group(split_ranks=[[0, 1], [3, 2]])
        assert dist.get_process_group_ranks(half) == ([0, 1] if rank < 2 else [2, 3])
        dist.all_reduce(array := np.array([rank]), group=half)
        assert array == (1 if rank < 2 else 5)
    dist.destroy_process_group(half)


def again(rank, size):
    import minitorch.distributed as dist

    dist.destroy_process_group()
    assert not dist.is_initialized()
    dist.init_process_group("MPI")
    dist.all_reduce(array := np.ones(3))
    assert array.tolist() == [size] * 3


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The same under mpirun and over our own backend."""
    return mpirun("everything", RANKS, tmp_path_factory.mktemp("mpi")), run_ranks(run_ours, RANKS)


def test_table_of_collectives(results):
    for rank, (mpi, zmq) in enumerate(zip(*results, strict=True)):
        for name in zmq.keys() - {"names"}:  # which begins with a name that differs
            compare(mpi["cases"][name], zmq[name], f"{name} on rank {rank}")
        for (_, dtype, op), got in mpi["cases"]["reductions"].items():
            if dtype == "bool" and not isinstance(got, str):
                assert got.array.view(np.uint8).max() <= 1, op  # a bool that is 2 equals True


def test_all_ranks_have_the_same_bits(results):
    first, *others = [mpi["bits"] for mpi in results[0]]
    assert all(other == first for other in others)


def test_training_is_that_of_our_own_backend(results):
    ours = run_ranks(train_mini, RANKS)
    for (gradients, digest), (ours_gradients, _) in zip(
        [mpi["training"] for mpi in results[0]], ours, strict=True
    ):
        assert digest == results[0][0]["training"][1], "the ranks' parameters differ"
        for mine, expected in zip(gradients, ours_gradients, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-7)


def pair(rank, size):
    memory_layouts(rank, size)
    point_to_point(rank, size)


def test_two_ranks(tmp_path):
    mpirun("pair", 2, tmp_path)


def late(rank, size):
    import minitorch.distributed as dist

    dist.destroy_process_group()
    dist.init_process_group("mpi", timeout=timedelta(seconds=1.5))
    if rank == 1:
        time.sleep(600)
    begin = time.monotonic()
    with pytest.raises(dist.DistBackendError, match="has failed before"):
        try:
            dist.all_reduce(np.ones((2, 3), np.float32), dist.ReduceOp.MAX)
        except dist.DistBackendError as error:
            print(f"[{time.monotonic() - begin:.1f} s] {error}")
            dist.barrier()


def test_a_late_rank(tmp_path):
    begin = time.monotonic()
    output = mpirun("late", 2, tmp_path, code=1)
    seconds, _, words = output.partition(" s] [rank 0] all_reduce (shape (2, 3), float32, MAX), ")
    assert words.startswith("call 1 of the group was not over after 1.5 s"), output
    assert 1.4 < float(seconds.rpartition("[")[2]) < 25
    assert time.monotonic() - begin < 100  # and not as long as rank 1 sleeps


def waiting(rank, size):
    import minitorch.distributed as dist

    work = dist.irecv(np.ones(2), 1 - rank)
    with pytest.raises(dist.DistBackendError, match=r"recv from rank . \(tag 0\).*after 0.2 s"):
        work.wait(timedelta(seconds=0.2))
    assert work.is_completed() and not work.is_success()
    print("it has said so")


def test_wait_with_a_timeout(tmp_path):
    assert "it has said so" in mpirun("waiting", 2, tmp_path, code=1)


def raising(rank, size):
    import minitorch.distributed as dist

    if rank == 0:
        raise KeyError("the user's own")
    dist.barrier()


def test_an_exception_on_one_rank_ends_the_job(tmp_path):
    begin = time.monotonic()
    assert 'KeyError: "the user\'s own"' in mpirun("raising", 3, tmp_path, code=1)
    assert time.monotonic() - begin < 100


def wrong_size(rank, size):
    import minitorch.distributed as dist

    if rank == 0:
        dist.send(np.ones(3), 1)
        dist.barrier()
    else:
        dist.recv(np.ones(4), 0)


def test_a_message_of_another_size(tmp_path):
    output = mpirun("wrong_size", 2, tmp_path, code=1)
    assert "rank 0 sent 3 elements, where 4 were expected" in output


def other_groups(rank, size):
    import minitorch.distributed as dist

    dist.new_group([0, 1] if rank else [0, 1, 2])


def test_ranks_that_mean_different_groups(tmp_path):
    output = mpirun("other_groups", 3, tmp_path, code=1)
    assert "new_group (ranks [0, 1, 2]): ranks [1, 2] name other members" in output


SCRIPT = """
import minitorch as torch, minitorch.distributed as dist
dist.init_process_group("mpi", rank=0, world_size=0)
x = torch.ones(2)
dist.all_reduce(x)
print(dist.get_rank(), dist.get_world_size(), x)
"""


def alone(**variables):
    """The script's end, started without mpirun."""
    command = [sys.executable, "-c", SCRIPT]
    with place_for_mpi() as place:
        env = environment(**place, **variables)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


def test_without_mpirun_there_is_one_rank():
    run = alone()
    assert "0 1 tensor([1., 1.])" in run.stdout, run.stderr
    assert "are ignored: MPI says that this is rank 0 of 1" in run.stderr  # as PyTorch does


def test_another_launcher_than_mpirun():
    run = alone(WORLD_SIZE="4", RANK="2")
    assert run.returncode == 1
    assert "`mpirun -n 4 python script.py`" in run.stderr


def test_without_mpi4py(monkeypatch):
    import minitorch.distributed as dist
    from minitorch.distributed import registry

    find = registry.importlib.util.find_spec
    monkeypatch.setattr(
        registry.importlib.util, "find_spec", lambda name: None if name == "mpi4py" else find(name)
    )
    assert not dist.is_mpi_available()
    with pytest.raises(RuntimeError, match=r"'mpi' cannot be used here.* package mpi4py"):
        dist.init_process_group("mpi")


if __name__ == "__main__":
    import minitorch.distributed as dist

    dist.init_process_group("mpi")
    result = globals()[sys.argv[1]](dist.get_rank(), dist.get_world_size())
    Path(sys.argv[2], f"{dist.get_rank()}").write_bytes(pickle.dumps(result))
