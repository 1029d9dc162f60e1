"""Worker processes: they make the next batches while the main process computes with this one.

Each worker has a pipe to the main process. Down it go tasks, (epoch, number, indices), up come
(epoch, number, batch). Who gets which task is decided in deliveries.py. A worker's random
generators start at the loader's base seed + id, as PyTorch's do.

Invariant: nobody waits for somebody who is dead. A worker reads its pipe in a thread of its own, so
that the main process never has to wait before it can write; that thread also sees the main process
die, and ends the worker. The main process waits for batches and for deaths alike.
PyTorch: torch/utils/data/_utils/worker.py; torch/utils/data/dataloader.py (its processes).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import random as python_random
import signal
import threading
import time
import traceback
import weakref
from dataclasses import dataclass
from multiprocessing import connection
from types import SimpleNamespace
from typing import Any

import numpy as np

from minitorch import kernels, random
from minitorch.utils.data.fetch import map_fetcher, stream_fetcher

PATIENCE = 5.0  # seconds that workers have for their last batch when nobody wants it any more


@dataclass
class WorkerInfo:
    """What a worker process knows of itself."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker its id, num_workers, seed and copy of the dataset; None in the main process.

    Mirrors torch.utils.data.get_worker_info.
    """
    return _info


class End:
    """A worker's stream has no more samples."""


class _Text(str):
    __repr__ = str.__str__  # KeyError shows the repr of what it is given


class Failure:
    """An exception in a worker, in a form that can go through a pipe."""

    def __init__(self, id: int, error: Exception):
        self.kind: type[Exception] = type(error)
        self.text = (
            f"Caught {self.kind.__name__} in DataLoader worker process {id}.\n"
            f"Original {''.join(traceback.format_exception(error))}"
        )
        try:
            pickle.dumps(self.kind)
        except Exception:  # the class is inside of a function
            self.kind = RuntimeError

    def error(self) -> Exception:
        try:
            return self.kind(_Text(self.text))
        except Exception:  # an exception that wants other arguments
            return RuntimeError(self.text)


# In the worker


def _work(job: SimpleNamespace, pipe: connection.Connection, id: int) -> None:
    global _info
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tasks: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
    kernels.set_num_threads(1)
    seed = job.base_seed + id
    python_random.seed(seed)
    random.manual_seed(seed)
    words = [id, job.base_seed & 0xFFFFFFFF, job.base_seed >> 32, 0]
    np.random.seed(np.random.SeedSequence(words).generate_state(4))
    _info = WorkerInfo(id, job.num_workers, seed, job.dataset)
    make_fetcher = stream_fetcher if job.is_stream else map_fetcher
    failure = fetch = current = None
    try:
        if job.init is not None:
            job.init(id)
    except Exception as error:
        failure = Failure(id, error)
    while (task := tasks.get()) is not None:
        epoch, number, index = task
        batch: Any = failure
        try:
            if failure is None:
                if epoch != current:
                    current, fetch = epoch, make_fetcher(job)
                batch = fetch(index)  # type: ignore[misc]
        except Exception as error:
            at_end = job.is_stream and isinstance(error, StopIteration)
            batch = End() if at_end else Failure(id, error)
        try:
            pipe.send((epoch, number, batch))
        except OSError:
            return  # nobody listens any more
        except Exception as error:  # it cannot be pickled
            pipe.send((epoch, number, Failure(id, error)))


def _listen(pipe: connection.Connection, tasks: queue.SimpleQueue) -> None:
    """Passes on the tasks, and ends this process when the main process has died."""
    parent: Any = multiprocessing.parent_process()
    while True:
        if pipe not in connection.wait([pipe, parent.sentinel]):
            os._exit(1)
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)
        if task is None:  # the end: what has not been begun nobody wants any more
            with contextlib.suppress(queue.Empty):
                while True:
                    tasks.get_nowait()
        tasks.put(task)


# In the main process


class Workers:
    """The worker processes of a loader, for one epoch or, if they are persistent, for all."""

    def __init__(self, loader):
        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        job = SimpleNamespace(
            dataset=loader.dataset,
            is_stream=loader.is_stream,
            batch_sampler=None if loader.batch_sampler is None else True,  # whether there is one
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last,
            init=loader.worker_init_fn,
            base_seed=loader.base_seed,
            num_workers=loader.num_workers,
        )
        self.epoch = 0
        self.pipes: list[connection.Connection] = []
        self.processes: list[Any] = []
        # Runs when nobody holds this object any more, at the latest when Python ends.
        self.stop = weakref.finalize(self, _stop, os.getpid(), self.pipes, self.processes)
        for id in range(loader.num_workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(job, theirs, id), daemon=True)
            self.pipes.append(ours)
            process.start()
            self.processes.append(process)
            theirs.close()

    def answers(self, timeout: float) -> list[tuple]:
        """(worker, epoch, number, batch) of all that has come; waits until something has."""
        sentinels = [process.sentinel for process in self.processes]
        ready = connection.wait([*self.pipes, *sentinels], timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        found = []
        for id, pipe in enumerate(self.pipes):
            if pipe in ready:
                try:
                    found.append((id, *pipe.recv()))
                except (EOFError, OSError):  # it has died, perhaps in the middle of a batch
                    raise self.death(id) from None
        if not found:
            raise self.death(sentinels.index(ready[0]))
        return found

    def death(self, id: int) -> RuntimeError:
        process = self.processes[id]
        process.join()
        how = f"exit code {process.exitcode}"
        if process.exitcode < 0:
            how = signal.Signals(-process.exitcode).name
        if how == "SIGKILL":
            how += "; if nobody sent it, the kernel did, for want of memory"
        return RuntimeError(
            f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly: worker {id}, {how}"
        )


def _stop(owner: int, pipes: list, processes: list) -> None:
    """End the workers: with their last batch if they hurry, else at once."""
    if os.getpid() != owner:
        return  # in a process that was forked off, and has copies of all this
    for pipe in pipes:
        with contextlib.suppress(OSError):  # it is dead already
            pipe.send(None)
    deadline = time.monotonic() + PATIENCE
    waiting: set[Any] = {*pipes, *(process.sentinel for process in processes)}
    alive = {process.sentinel for process in processes}
    while alive & waiting and (left := deadline - time.monotonic()) > 0:
        ready: Any = connection.wait(waiting, left)
        for one in ready:
            try:
                if one in alive:
                    raise EOFError
                one.recv_bytes()  # so that no worker is stuck in sending
            except (EOFError, OSError):
                waiting.discard(one)
    for process in processes:
        if process.sentinel in waiting:
            process.kill()
        process.join()
    for pipe in pipes:
        pipe.close()
    pipes.clear()
    processes.clear()
