"""Start a function in several processes, which end as one: `spawn`.

Why it exists: the ranks of a job need each other. If one fails the others would wait for it, and
nobody would know why. So the parent waits for all of them at once, ends the rest when one fails,
and raises an exception that tells what the first one to fail has said.

Which was the first? A rank's failure makes others fail, and they may even end before it, while it
still cleans up. Therefore each child notes, by a clock that all processes share, when its exception
left the function, and sends that, with the traceback, through a pipe of its own. A child that was
killed could send nothing, and had no cause in here: it comes before all others.

Invariant: when `ProcessContext.join` has raised, or `spawn` has returned or raised, none of the
children is alive. A child whose parent is gone ends as well.

PyTorch: torch/multiprocessing/spawn.py.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import secrets
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any

from minitorch.distributed.security import offer_secret

GRACE = 30.0  # seconds from SIGTERM to SIGKILL, if the caller has no wish
PATIENCE = 2.0  # after a Ctrl-C, which a terminal sends to the children as well
LONGEST = 50_000  # bytes of a traceback: as much as a pipe takes without a reader


class ProcessException(Exception):
    """A child has failed: number `error_index`, which was process `error_pid`."""

    def __init__(self, msg: str, error_index: int, error_pid: int):
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = error_pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The child's function raised an exception; the message ends with its traceback."""


class ProcessExitedException(ProcessException):
    """The child ended with `exit_code`, which is negative if the signal `signal_name` did it."""

    def __init__(
        self,
        msg: str,
        error_index: int,
        error_pid: int,
        exit_code: int,
        signal_name: str | None = None,
    ):
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self):
        kind, arguments = super().__reduce__()
        return kind, (*arguments, self.exit_code, self.signal_name)


class ProcessContext:
    """The children of one `start_processes`. `processes` lists them, `pids()` their numbers."""

    def __init__(self, processes: list, reports: list):
        self.processes = processes
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}
        self._reports = reports  # of each child the pipe through which it tells how it failed

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until a child ends, or for `timeout` seconds. True if all have ended, and well.

        If one has failed, the others are ended: first they get `grace_period` seconds to end by
        themselves (none by default), then SIGTERM, and SIGKILL after another `grace_period` (30).
        Raises ProcessRaisedException or ProcessExitedException, for the first that failed.
        """
        if not self.sentinels:
            return True
        for sentinel in multiprocessing.connection.wait(list(self.sentinels), timeout):
            self.processes[self.sentinels.pop(sentinel)].join()
        failed = [index for index, process in enumerate(self.processes) if process.exitcode]
        if not failed:
            return not self.sentinels
        self.end(grace_period or 0.0, GRACE if grace_period is None else grace_period)
        self.sentinels.clear()
        raise self._first_failure(failed)

    def end(self, patience: float, grace: float) -> None:
        """End all children: SIGTERM after `patience` seconds, SIGKILL after `grace` more."""
        try:
            self._wait(patience)
            for process in self.processes:
                if process.is_alive():
                    process.terminate()
            self._wait(grace)
        finally:  # also if a second Ctrl-C comes
            for process in self.processes:
                process.kill()
                process.join()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))

    def _first_failure(self, failed: list[int]) -> ProcessException:
        said = {index: words for index, pipe in enumerate(self._reports) if (words := _read(pipe))}
        silent = [index for index in failed if index not in said]
        index = silent[0] if silent else min(said, key=lambda index: said[index][0])
        process = self.processes[index]
        text = said[index][1] if index in said else None
        if text is not None:
            return ProcessRaisedException(
                f"\n\n-- Process {index} terminated with the following error:\n{text}",
                index,
                process.pid,
            )
        code = process.exitcode
        if code >= 0:
            message = f"process {index} terminated with exit code {code}"
            return ProcessExitedException(message, index, process.pid, code)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"<Unknown signal {-code}>"
        message = f"process {index} terminated with signal {name}"
        if name == "SIGKILL":
            message += " (if nobody sent it, the kernel did, for want of memory: see dmesg)"
        return ProcessExitedException(message, index, process.pid, code, name)


class SpawnContext(ProcessContext):
    """The former name of ProcessContext."""

    def __init__(self, processes: list, reports: list):
        warnings.warn("SpawnContext is now called ProcessContext", stacklevel=2)
        super().__init__(processes, reports)


def start_processes(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Call `fn(i, *args)` for i from 0 to nprocs - 1, each in a process of its own.

    Args:
        fn: defined at the top of a module, so that the new processes can import it (unless
            `start_method` is "fork").
        join: whether to wait for all of them, and return None; else returns a ProcessContext,
            whose `join` has to be called until it returns True.
        daemon: whether they are daemons, which end with the parent and have no children.
        start_method: "spawn", "fork" or "forkserver", see Python's multiprocessing.

    Raises what `ProcessContext.join` raises. Mirrors torch.multiprocessing.start_processes.
    """
    if not isinstance(args, (tuple, list)):
        raise TypeError(
            f"args must be a tuple, got {type(args).__name__}: fn(i, *args) is called; for one "
            "argument write args=(x,)"
        )
    multiprocess: Any = multiprocessing.get_context(start_method)
    # The children may be the ranks of a job, which lets in only those who know its secret.
    secret = secrets.token_hex(32)
    processes: list = []
    reports: list = []
    try:
        for index in range(nprocs):
            ours, theirs = multiprocess.Pipe(duplex=False)
            process = multiprocess.Process(
                target=_child, args=(fn, index, args, theirs, nprocs, secret), daemon=daemon
            )
            with _interrupts_later():
                process.start()
                processes.append(process)  # a Ctrl-C at the end of the block must find it
                reports.append(ours)
            theirs.close()
        context = ProcessContext(processes, reports)
        while join and not context.join():
            pass
    except BaseException:  # a child could not be started; or Ctrl-C
        ProcessContext(processes, reports).end(PATIENCE, GRACE)
        raise
    return None if join else context


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """`start_processes` with the start method "spawn". Mirrors torch.multiprocessing.spawn."""
    if start_method != "spawn":
        warnings.warn(
            f"spawn() starts processes by start_method='spawn' only (got {start_method!r}): use "
            "start_processes() for another",
            FutureWarning,
            stacklevel=2,
        )
    return start_processes(fn, args, nprocs, join, daemon)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Start a child that hears Ctrl-C only when it calls `fn`: in the middle of its imports, each
    child would print a long traceback."""
    resource_tracker.ensure_running()  # the first start would do it, and lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _child(fn: Callable, index: int, args: tuple, report, nprocs: int, secret: str) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    offer_secret(secret, nprocs)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        fn(index, *args)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # the parent has heard it, too
    except SystemExit as exit:
        if exit.code not in (None, 0):
            report.send((time.monotonic(), None))
        raise
    except Exception:
        text = traceback.format_exc().encode()[-LONGEST:].decode(errors="replace")
        report.send((time.monotonic(), text))
        sys.exit(1)


def _follow_parent() -> None:
    """End this process when its parent has ended, whatever that died of."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _read(pipe) -> tuple[float, str | None] | None:
    """When a child failed and what it said; None if it could not say."""
    with contextlib.suppress(EOFError, OSError):
        if pipe.poll():
            return pipe.recv()
    return None
