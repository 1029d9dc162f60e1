"""DataLoader's worker processes: PyTorch's batches and random numbers, and every way to end."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.data as theirs

import minitorch
import minitorch.utils.data as ours
from minitorch.utils.data import workers

LIBRARIES = ((minitorch, ours), (torch, theirs))


pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Noisy:
    """Each sample is drawn with all three generators that a worker has."""

    def __init__(self, library):
        self.library = library

    def __len__(self):
        return 11

    def __getitem__(self, i):
        return i, self.library.rand(2), np.random.rand(), random.random()


def plain(batch):
    return [part.tolist() if hasattr(part, "tolist") else part for part in batch]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3, "shuffle": True, "num_workers": 2},
        {"batch_size": 2, "shuffle": True, "num_workers": 3, "persistent_workers": True},
        {"batch_size": None, "num_workers": 2, "prefetch_factor": 1},
        {"batch_size": 4, "num_workers": 2, "in_order": False, "drop_last": True},
    ],
    ids=str,
)
def test_batches_and_random_numbers_are_pytorchs(options):
    epochs = []
    for library, data in LIBRARIES:
        library.manual_seed(3)
        loader = data.DataLoader(Noisy(library), **options)
        got = [[plain(batch) for batch in loader] for _ in range(2)]
        if not options.get("in_order", True):  # who is quicker is a matter of chance
            got = [sorted(epoch, key=str) for epoch in got]
        epochs.append((got, library.rand(2).tolist()))
    assert epochs[0] == epochs[1]


def stream_of(data):
    class Stream(data.IterableDataset):
        """Worker k of n has every n-th sample, and the last one only two."""

        def __iter__(self):
            me = data.get_worker_info()
            last = me.id == me.num_workers - 1
            return iter(range(me.id, 6 if last else 20, me.num_workers))

    return Stream()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 3, "persistent_workers": True},
    ],
    ids=str,
)
def test_streams(options):
    got, expected = (
        [
            [np.asarray(batch).tolist() for batch in loader]
            for loader in [data.DataLoader(stream_of(data), num_workers=3, **options)]
            for _ in range(2)
        ]
        for _, data in LIBRARIES
    )
    assert got == expected
    assert ours.get_worker_info() is None


def test_other_start_methods():
    dataset = ours.TensorDataset(minitorch.arange(5))
    loader = ours.DataLoader(dataset, 2, num_workers=1, multiprocessing_context="spawn")
    assert [batch.tolist() for (batch,) in loader] == [[0, 1], [2, 3], [4]]


class Failing:
    """Sample 5 is `fail`'s."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.fail() if i == 5 else i


def no_such_sample():
    raise KeyError("no such sample")


class StrangeError(Exception):
    def __init__(self, two, arguments):
        pass


def strange():
    raise StrangeError(1, 2)


def local():
    class LocalError(Exception):
        pass

    raise LocalError("of a class that has no name outside")


def test_an_error_in_a_worker():
    """It is raised with its traceback, in its place, and the epoch can go on."""
    loader = ours.DataLoader(Failing(no_such_sample), num_workers=2)
    epoch = iter(loader)
    assert [next(epoch).item() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError) as caught:
        next(epoch)
    assert "Caught KeyError in DataLoader worker process 1." in str(caught.value)
    assert "raise KeyError(" in str(caught.value) and "no_such_sample" in str(caught.value)
    assert [batch.item() for batch in epoch] == [6, 7]

    for fail, kind in ((strange, "StrangeError"), (local, "LocalError")):
        with pytest.raises(RuntimeError, match=f"Caught {kind} in DataLoader worker process 0"):
            list(ours.DataLoader(Failing(fail), num_workers=1))
    unsendable = ours.DataLoader(Failing(lambda: lambda: 0), batch_size=None, num_workers=1)
    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        list(unsendable)


def test_an_error_in_worker_init_fn():
    def init(worker):
        raise OSError(f"no disk for {worker}")

    with pytest.raises(OSError, match="no disk for 0"):
        list(ours.DataLoader(range(4), num_workers=2, worker_init_fn=init))


def test_a_worker_that_is_killed():
    loader = ours.DataLoader(Failing(lambda: os.kill(os.getpid(), signal.SIGKILL)), num_workers=2)
    with pytest.raises(RuntimeError, match=r"exited unexpectedly: worker 1, SIGKILL; if nobody"):
        list(loader)
    with pytest.raises(RuntimeError, match=r"exited unexpectedly: worker 1, exit code 3"):
        list(ours.DataLoader(Failing(lambda: os._exit(3)), num_workers=2))


def test_a_worker_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    loader = ours.DataLoader(Failing(lambda: time.sleep(300)), num_workers=1, timeout=1)
    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        for _ in range(100):  # an overloaded machine may time out before sample 5
            list(loader)


def test_an_epoch_that_is_left_ends_its_workers(monkeypatch):
    """Also those that are stuck in sending, as nobody reads what they send."""
    monkeypatch.setattr(workers, "PATIENCE", 60)
    large = ours.TensorDataset(minitorch.zeros(8, 1_000_000))
    epoch = iter(ours.DataLoader(large, num_workers=2))
    next(epoch)
    processes = list(epoch._batches.workers.processes)
    assert all(process.is_alive() for process in processes)
    del epoch
    assert [process.exitcode for process in processes] == [0, 0]


class Slow:
    def __len__(self):
        return 1000

    def __getitem__(self, i):
        time.sleep(0.3)
        return i


def test_a_worker_makes_nothing_that_nobody_wants_any_more(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 60)
    epoch = iter(ours.DataLoader(Slow(), num_workers=1, prefetch_factor=1000))
    next(epoch)
    (process,) = epoch._batches.workers.processes
    del epoch
    assert process.exitcode == 0  # not killed in the midst of the thousand


def test_without_any_batch_ahead():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(ours.DataLoader(range(4), num_workers=1, prefetch_factor=0))


def test_an_epoch_of_persistent_workers_that_is_left():
    loader = ours.DataLoader(range(6), num_workers=2, persistent_workers=True)
    left = iter(loader)
    next(left)
    processes = loader.workers.processes
    assert [batch.item() for batch in loader] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(RuntimeError, match="this epoch is over"):
        next(left)
    assert loader.workers.processes is processes


SCRIPT = """
import os, time
from minitorch.utils.data import DataLoader

class Slow:
    def __len__(self):
        return 100
    def __getitem__(self, i):
        time.sleep(0.5 * i)
        return os.getpid()

for pids in DataLoader(Slow(), 2, num_workers=2):
    print(pids[0].item(), flush=True)
"""


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_with_a_main_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE) as main:
        pids = [int(main.stdout.readline()) for _ in range(2)]
        assert len(set(pids)) == 2 and not any(map(gone, pids))
        main.kill()
    deadline = time.monotonic() + 60
    while not all(map(gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(gone, pids))
