"""What the backends on another engine have in common: how a call waits, and how it fails.

An engine such as MPI or NCCL starts an operation and can be asked whether it is over. It cannot be
told to give up after a while, and some of its calls block. So a Work here asks again and again,
until the answer is yes or its time is up.

Invariant: what an engine may still read or write stays alive. A Work that is under way is kept in
`Engine.pending`, with its buffers, until the engine is done with them; one that has failed stays.

PyTorch: torch/csrc/distributed/c10d/Work.cpp, and the watchdog of ProcessGroupNCCL.cpp.
"""

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from minitorch.distributed.backend import ProcessGroup, Work
from minitorch.distributed.errors import DistBackendError
from minitorch.distributed.message import checksum
from minitorch.distributed.reduce_op import ReduceOp

# So long a wait only lets other threads and processes run between two questions, as messages take
# microseconds. After that it sleeps in between: somebody is late.
BUSY_SECONDS = 1.0
NAP_SECONDS = 0.001


class Engine:
    """What all groups of a process share: the calls under way, and what went wrong.

    A job in which one call has failed is over, as the ranks no longer agree on what comes next.
    """

    def __init__(self) -> None:
        self.pending: dict[EngineWork, None] = {}
        self.failure: DistBackendError | None = None

    def fail(self, problem: str) -> DistBackendError:
        """Take note of the first error, and return the new one."""
        error = DistBackendError(problem)
        self.failure = self.failure or error
        return error

    def settle(self, seconds: float) -> bool:
        """Give what is under way so long to end; whether it has."""
        deadline = time.monotonic() + seconds
        return all([work.ends_before(deadline) for work in list(self.pending)])


class EngineWork(Work):
    """A call that an engine is asked about.

    `over()` says whether the engine is done, and may raise; `finish(self)` then puts the result
    where it belongs. `call` describes it in errors. `buffers` (anything that holds them) lives as
    long as the engine may touch them.
    """

    def __init__(
        self,
        engine: Engine,
        call: Callable[[], str],
        timeout: float,
        over: Callable[[], bool],
        finish: Callable[["EngineWork"], Any] | None = None,
        buffers: Any = None,
    ) -> None:
        self.source = -1  # where a receive's message came from
        self._engine = engine
        self.call = call
        self._timeout = timeout
        self._started = time.monotonic()
        self._over = over
        self._finish = finish
        self._buffers = buffers
        self._done = False
        self._error: Exception | None = None
        self._asking = threading.Lock()  # engines want one thread at a time
        engine.pending[self] = None

    def wait(self, timeout: timedelta | None = None) -> bool:
        seconds = self._timeout
        if timeout:  # PyTorch's default is a timedelta of 0, which means none
            waited = time.monotonic() - self._started
            seconds = min(seconds, waited + timeout.total_seconds())
        if not self.ends_before(self._started + seconds):
            self._fail(
                f"{self.call()} was not over after {seconds:.1f} s: another rank has not called "
                "it, or calls something else, or is gone"
            )
        if self._error is not None:
            raise self._error
        return True

    def is_completed(self) -> bool:
        return self._ask()

    def exception(self) -> Exception | None:
        return self._error

    def source_rank(self) -> int:
        return self.source

    def ends_before(self, deadline: float) -> bool:
        """Wait for the engine until then; whether the call is over."""
        begin = time.monotonic()
        while not self._ask():
            now = time.monotonic()
            if now >= deadline:
                return False
            if now - begin < BUSY_SECONDS:
                os.sched_yield()
            else:
                time.sleep(NAP_SECONDS)
        return True

    def _ask(self) -> bool:
        with self._asking:
            if not self._done:
                try:
                    if self._over():
                        if self._finish is not None:
                            self._finish(self)
                        del self._engine.pending[self]
                        self._over = self._finish = self._buffers = None  # type: ignore
                        self._done = True
                except Exception as error:
                    self._fail(f"{self.call()}: {error}", error)
            return self._done

    def _fail(self, problem: str, cause: Exception | None = None) -> None:
        self._error = self._engine.fail(problem)
        self._error.__cause__ = cause
        self._done = True


class EngineGroup(ProcessGroup):
    """What the groups of both engines do alike: name their calls, refuse them after a failure."""

    def __init__(self, engine: Engine, ranks: list[int], rank: int, timeout: float) -> None:
        super().__init__(ranks, rank, timeout)
        self._engine = engine
        self._calls = 0
        self._destroyed = False

    def new_group(self, ranks, number, timeout):
        call = f"new_group (ranks {ranks})"
        if number > 0:
            self._agree(call, ranks)
        me = self.ranks[self._rank]
        return self._part(ranks, me, number, timeout, call) if me in ranks else None

    @abstractmethod
    def _part(
        self, ranks: list[int], me: int, number: int, timeout: float, call: str
    ) -> "EngineGroup":
        """The group of some of these ranks, made by the members; `me` is this one's global rank."""

    def _begin(
        self, op: str, array: np.ndarray, reduce_op: ReduceOp | None = None, root: int | None = None
    ) -> Callable[[], str]:
        """Count a new call; returns what describes it. Raises DistBackendError in a dead group."""
        self._calls += 1
        number, shape = self._calls, tuple(array.shape)

        def call() -> str:
            words = [f"shape {shape}", array.dtype.name] if op != "barrier" else []
            words += [reduce_op.name] if reduce_op is not None else []
            words += [f"root {root}"] if root is not None else []
            words += [f"group {self.group_name}"] if self.group_name != "0" else []
            detail = f" ({', '.join(words)})" if words else ""
            return f"[rank {self.ranks[self._rank]}] {op}{detail}, call {number} of the group"

        if self._destroyed:
            raise DistBackendError(f"{call()}: the process group has been destroyed")
        if self._engine.failure is not None:
            raise DistBackendError(f"{call()}: this job has failed before: {self._engine.failure}")
        return call

    def _agree(self, call: str, members: list[int]) -> None:
        """Raise DistBackendError on every rank of this group unless all name the same members."""
        own = checksum(members)
        numbers = np.zeros(self.size(), np.int64)
        self.all_gather(list(numbers.reshape(-1, 1)), np.array([own])).wait()
        others = [self.ranks[i] for i in np.flatnonzero(numbers != own)]
        if others:
            raise self._engine.fail(f"{call}: ranks {others} name other members")


def within(seconds: float, call: str, blocking: Callable[[], Any]) -> Any:
    """The result of a function that blocks; DistBackendError if it takes too long.

    It runs in a thread of its own, which is left behind if it never returns.
    """
    outcome: list = []

    def run() -> None:
        try:
            outcome.append((blocking(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name=f"minitorch {call}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise DistBackendError(
            f"{call} was not over after {seconds:.1f} s: another rank has not called it, or is gone"
        )
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
