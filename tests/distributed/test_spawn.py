"""multiprocessing: jobs that a script spawns, beside PyTorch's, and tensors between processes."""

import contextlib
import os
import pickle
import re
import signal
import sys
import time

import numpy as np
import pytest
import torch.multiprocessing as torch_mp

import minitorch
import minitorch.multiprocessing as mp
from minitorch.distributed.security import job_secret

from . import children
from .launching import alive, launch, memory_files, started, wait_until

ALL_METHODS = pytest.mark.parametrize(
    "method",
    ["spawn", *[pytest.param(m, marks=pytest.mark.slow) for m in ("fork", "forkserver")]],
)

# How children end


def pids(folder):
    return [int(path.read_text() or 0) for path in folder.iterdir()]


@pytest.mark.parametrize("package, method", [(mp, "spawn"), (mp, "fork"), (torch_mp, "fork")])
def test_children_that_end_well(package, method, tmp_path):
    assert package.start_processes(children.end, ("well", tmp_path), 3, start_method=method) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


FAILURES = {
    "raises": "-- Process 1 terminated with the following error:\n.*ValueError: the reason",
    "exits": "^process 1 terminated with exit code 3$",
    "exits at once": "^process 1 terminated with exit code 4$",
    "is killed": "^process 1 terminated with signal SIGKILL",
    "crashes": "^process 1 terminated with signal SIGSEGV",
}


@pytest.mark.parametrize("package", [mp, torch_mp], ids=["minitorch", "torch"])
@pytest.mark.parametrize("how", FAILURES)
def test_a_child_that_fails_ends_all(package, how, tmp_path):
    raised = package.ProcessRaisedException if how == "raises" else package.ProcessExitedException
    with pytest.raises(raised, match=re.compile(FAILURES[how], re.DOTALL)) as caught:
        package.start_processes(children.end, (how, tmp_path), 3, start_method="fork")
    error = caught.value
    assert error.error_index == 1
    assert str(error.error_pid) == (tmp_path / "1").read_text()
    assert not any(alive(pid) for pid in pids(tmp_path) if pid)
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error) and str(copy) == str(error)
    if how != "raises":
        code = {"exits": 3, "exits at once": 4, "is killed": -9, "crashes": -11}[how]
        assert error.exit_code == code
        assert error.signal_name == (signal.Signals(-code).name if code < 0 else None)


@ALL_METHODS
def test_the_first_failure_is_raised(method, tmp_path):
    with pytest.raises(mp.ProcessRaisedException, match="ZeroDivisionError: first") as caught:
        mp.start_processes(children.fail_together, (tmp_path,), 3, start_method=method)
    assert caught.value.error_index == 2


def test_a_long_message_does_not_keep_a_child_waiting():
    with pytest.raises(mp.ProcessRaisedException, match="long end"):
        mp.start_processes(children.fail_at_length, nprocs=1, start_method="fork")


def test_join_waits_at_most_so_long_and_the_grace_period_ends_with_sigkill(tmp_path):
    context = mp.start_processes(children.end, ("x", tmp_path), 1, join=False, start_method="fork")
    start = time.monotonic()
    assert context.join(timeout=0.2) is False
    assert 0.2 <= time.monotonic() - start < 60
    assert context.pids() == [context.processes[0].pid]
    context.end(0, 10)
    assert not context.processes[0].is_alive()

    context = mp.start_processes(
        children.ignore_sigterm, (tmp_path,), 2, join=False, start_method="fork", daemon=True
    )
    assert all(process.daemon for process in context.processes)
    start = time.monotonic()
    with pytest.raises(mp.ProcessExitedException, match="process 1 .* exit code 7"):
        while not context.join(grace_period=0.5):
            pass
    assert time.monotonic() - start < 25  # 30 without it
    assert not any(process.is_alive() for process in context.processes)
    assert context.join() is True


def test_small_mistakes_are_named():
    with pytest.raises(TypeError, match=r"args must be a tuple, got int: .* write args=\(x,\)"):
        mp.spawn(children.end, args=3, nprocs=1)
    with pytest.warns(FutureWarning, match="start_method='spawn' only"):
        assert mp.spawn(children.end, (), 0, start_method="fork") is None
    with pytest.warns(UserWarning, match="ProcessContext"):
        mp.SpawnContext([], [])
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        mp.spawn(lambda index: None)


def test_the_name_space_is_multiprocessings():
    names = set(__import__("multiprocessing").__all__) | set(torch_mp.__all__)
    assert not [name for name in names if not hasattr(mp, name)]
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    before = mp.get_sharing_strategy()
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    mp.set_sharing_strategy(before)
    with pytest.raises(AssertionError, match="invalid sharing strategy 'pigeon'"):
        mp.set_sharing_strategy("pigeon")


# Nobody is left behind

WAIT = """
import os, sys, time
import minitorch.multiprocessing as mp

def wait(index, folder):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(600)

if __name__ == "__main__":
    mp.start_processes(wait, (sys.argv[1],), 2, start_method=sys.argv[2])
"""


@contextlib.contextmanager
def waiting(path, folder, method="spawn"):
    """A script whose two children wait for ever: its process, and the children's numbers."""
    folder.mkdir()
    with started(path, str(folder), method, launcher=[sys.executable]) as process:
        assert wait_until(lambda: len(os.listdir(folder)) == 2)
        children = [int(name) for name in os.listdir(folder)]
        try:
            yield process, children
        finally:
            for pid in filter(alive, children):
                os.kill(pid, signal.SIGKILL)


@ALL_METHODS
def test_children_die_with_their_parent(script, tmp_path, method):
    with waiting(script(WAIT), tmp_path / "pids", method) as (process, children):
        process.kill()
        assert wait_until(lambda: not any(alive(pid) for pid in children))


@pytest.mark.parametrize("to_all", [True, False], ids=["ctrl-c", "kill -INT"])
def test_an_interrupt_ends_everything(script, tmp_path, to_all):
    """Ctrl-C in a terminal goes to the children as well, `kill -INT` does not."""
    with waiting(script(WAIT), tmp_path / "pids") as (process, children):
        os.killpg(process.pid, signal.SIGINT) if to_all else process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert not any(alive(pid) for pid in children)
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


SLOW_IMPORT = """
import os, sys, time
import minitorch.multiprocessing as mp

open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
if __name__ != "__main__":
    time.sleep(2)  # as if there was much to import

def never(index):
    print("began")

if __name__ == "__main__":
    os.remove(f"{sys.argv[1]}/{os.getpid()}")
    mp.spawn(never, nprocs=2)
"""


def test_an_interrupt_while_children_import_is_told_once(script, tmp_path):
    with waiting(script(SLOW_IMPORT), tmp_path / "pids") as (process, children):
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert not any(alive(pid) for pid in children)
    assert output == "" and errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


# Jobs


@ALL_METHODS
def test_children_share_a_secret_for_a_job_of_their_own(method, tmp_path, monkeypatch):
    monkeypatch.delenv("MINITORCH_SECRET", raising=False)
    mp.start_processes(children.secret_of_job, (tmp_path,), 2, start_method=method)
    (first, other), second = ((tmp_path / str(i)).read_bytes().split(b" ") for i in range(2))
    assert second == [first, b""] and other == b"" and len(first) == 64
    mp.start_processes(children.secret_of_job, (tmp_path,), 2, start_method="fork")
    assert (tmp_path / "0").read_bytes().split()[0] != first
    assert job_secret(2) == b""  # the parent has none


def test_two_spawns_make_one_job(tmp_path):
    """As on two nodes: neither knows the secret of the other's children."""
    url = f"file://{tmp_path}/meeting"
    (tmp_path / "out").mkdir()
    contexts = [
        mp.spawn(children.average, (url, first, 4, tmp_path / "out"), nprocs=2, join=False)
        for first in (0, 2)
    ]
    for context in contexts:
        while not context.join():
            pass
    assert [(tmp_path / "out" / str(rank)).read_text() for rank in range(4)] == ["6.0"] * 4


def test_a_rank_that_fails_in_a_job_is_the_one_that_is_named(script):
    """The others hear of it and fail as well, at nearly the same time."""
    path = script("""
import os
import minitorch as torch
import minitorch.distributed as dist
import minitorch.multiprocessing as mp

def main(rank, folder):
    dist.init_process_group(init_method=f"file://{folder}/meeting", rank=rank, world_size=3)
    for step in range(100):
        if step == 20 and rank == 1:
            raise ValueError("bad batch")
        dist.all_reduce(torch.ones(10))

if __name__ == "__main__":
    mp.spawn(main, (os.path.dirname(__file__),), nprocs=3)
""")
    done = launch(path, launcher=[sys.executable])
    assert done.returncode == 1
    assert "-- Process 1 terminated with the following error:" in done.stderr
    assert done.stderr.rstrip().endswith("ValueError: bad batch")


# Tensors on their way


@ALL_METHODS
def test_a_shared_tensor_stays_shared(method):
    context = mp.get_context(method)
    queue, arrived = context.Queue(), context.Event()
    x = minitorch.zeros(2, 3).share_memory_()
    process = context.Process(target=children.add_one, args=(x, x[:, 1:], queue, arrived))
    process.start()
    y, view, shared = queue.get(timeout=60)
    arrived.set()
    expected = [[1, 11, 11]] * 2
    assert shared and y.is_shared() and view.is_shared()
    assert x.tolist() == y.tolist() == expected and view.tolist() == [[11, 11]] * 2
    view[0, 0] = 7  # it came back through the queue, and is still the same memory
    assert x[0, 1].item() == 7 and view.stride() == (3, 1)
    process.join()


def test_a_shared_model_is_trained_by_its_children():
    """Hogwild, with parameters that PyTorch's examples share by share_memory()."""
    model = minitorch.nn.Linear(2, 1)
    with minitorch.no_grad():
        model.weight.fill_(5), model.bias.fill_(5)
    model.share_memory()
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(children.gradients, (model, queue), nprocs=2)
    assert model.weight.tolist() == [[3, 3]] and model.bias.tolist() == [3]
    assert queue.get() == ["Parameter", "Parameter"]


def test_other_tensors_are_copied():
    x = minitorch.zeros(3)
    mp.start_processes(children.change, (x,), 1, start_method="forkserver")
    assert x.tolist() == [0, 0, 0] and not x.is_shared()


@ALL_METHODS
def test_copies_arrive_after_their_sender_has_gone(method):
    """PyTorch's receivers fail then."""
    context = mp.get_context(method)
    queue = context.Queue()
    process = context.Process(target=children.produce, args=(queue, False))
    process.start()
    process.join()
    a, b, c, d, e = (queue.get(timeout=60) for _ in range(5))
    assert a.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert b.dtype == minitorch.bfloat16 and b.tolist() == [1, 1, 1]
    assert c.shape == (0, 4)
    assert isinstance(d, minitorch.nn.Parameter) and d.requires_grad and d.is_leaf
    assert e.item() == 3 and e.dtype == minitorch.int8


def test_a_shared_tensor_whose_sender_has_gone_is_an_error():
    context = mp.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=children.send_ones, args=(queue,))
    process.start()
    process.join()
    with pytest.raises(RuntimeError, match="has ended before the tensor arrived: let it wait"):
        queue.get(timeout=60)


def test_a_tensor_with_a_graph_is_refused(T):
    package = T.multiprocessing
    x = T.ones(2, requires_grad=True) * 2
    receiver, sender = package.Pipe(duplex=False)
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        sender.send(x)
    sender.send(x.detach())
    assert receiver.recv().tolist() == [2, 2]


def test_pool():
    with mp.get_context("fork").Pool(2) as pool:
        results = pool.map(children.double, [minitorch.full((2,), float(i)) for i in range(4)])
    assert [r.tolist() for r in results] == [[2.0 * i] * 2 for i in range(4)]


def test_shared_memory_is_given_back():
    before = memory_files()
    tensors = [minitorch.ones(1000).share_memory_() for _ in range(20)]
    views = [np.asarray(t)[1:] for t in tensors]
    del tensors
    assert len(memory_files()) >= len(before) + 20 and views[3].sum() == 999
    del views
    assert memory_files() == before
