"""The workers of one node: started together, watched, and ended together.

The invariant: when `stop` has returned, no worker is alive, nor any process that one of them
started and that stayed in its process group.

PyTorch: torch/distributed/elastic/multiprocessing/api.py
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from minitorch.distributed.launcher.environment import Place, worker_environment
from minitorch.distributed.launcher.output import Output
from minitorch.distributed.launcher.watchdog import Watchdog

# The last line of a traceback that says no more than that some other process has gone away.
PEER_ERROR = re.compile(
    rb"^(minitorch|torch)\.distributed\S*\.Dist\w*Error|Connection closed by peer|"
    rb"Connection reset by peer|Broken pipe"
)


@dataclass(frozen=True)
class Failure:
    """A worker that ended with something other than 0."""

    rank: int
    pid: int
    returncode: int  # as subprocess says it: minus the signal's number when killed by one
    traceback: tuple[bytes, ...]  # the last it wrote to stderr, empty when that was not read

    @property
    def exit_code(self) -> int:
        """What a shell would say: 128 + signal for a worker that was killed."""
        return 128 - self.returncode if self.returncode < 0 else self.returncode

    @property
    def is_consequence(self) -> bool:
        """Whether it only says that another process went away."""
        return any(PEER_ERROR.search(line) for line in self.traceback[-1:])

    def __str__(self) -> str:
        if self.returncode < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-self.returncode).name
                return f"rank {self.rank} (pid {self.pid}) was killed by {name}"
        return f"rank {self.rank} (pid {self.pid}) ended with exit code {self.returncode}"


class Workers:
    """Starts `command` once for every local rank.

    With several, their output goes through `output`; a single one has the terminal to itself.
    Each leads a session of its own, so that signals reach it with all it has started.
    """

    def __init__(self, command: list[str], place: Place, output: Output, watchdog: Watchdog):
        self._output = output
        self._watchdog = watchdog
        self.running: dict[int, subprocess.Popen] = {}  # by rank
        self.failures: list[Failure] = []  # in the order in which they were seen
        self._scratch = watchdog.scratch
        try:
            for local_rank in range(place.nproc):
                self._start(command, place, local_rank)
        except BaseException:
            self.stop(signal.SIGKILL, 0.0)
            raise

    def _start(self, command: list[str], place: Place, local_rank: int) -> None:
        piped = subprocess.PIPE if place.nproc > 1 else None
        process = subprocess.Popen(
            command,
            env=worker_environment(place, local_rank, self._scratch),
            stdin=None if local_rank == 0 else subprocess.DEVNULL,
            stdout=piped,
            stderr=piped,
            start_new_session=True,
        )
        rank = place.first_rank + local_rank
        self.running[rank] = process
        self._watchdog.watch(process.pid)
        if piped:
            self._output.follow(rank, process)

    def watch(self, seconds: float) -> None:
        """Print output and notice who has ended; returns after at most `seconds`."""
        self._output.pump(seconds)
        ended = []
        for rank, process in list(self.running.items()):
            if process.poll() is None:
                continue
            del self.running[rank]
            _signal_group(process, signal.SIGKILL)  # what it left running
            self._watchdog.forget(process.pid)
            if process.returncode != 0:
                ended.append((rank, process))
        if ended:
            self._output.pump(0)  # a read takes all that a pipe can hold
            seen = [
                Failure(rank, p.pid, p.returncode, tuple(self._output.traceback(rank)))
                for rank, p in ended
            ]
            # Who ended within one look cannot be told apart by time, but a signal comes from
            # outside and has no cause in here, while a lost connection always has another.
            seen.sort(key=lambda failure: (failure.is_consequence, failure.returncode >= 0))
            self.failures += seen

    def stop(
        self, signum: int, grace: float, impatient: Callable[[], bool] = lambda: False
    ) -> None:
        """Send `signum` to all that run, and SIGKILL to those that still do after `grace` seconds,
        or as soon as `impatient` says so."""
        for process in self.running.values():
            _signal_group(process, signum)
            _signal_group(process, signal.SIGCONT)  # or a stopped one would sleep through it
        end = time.monotonic() + grace
        before = list(self.failures)
        try:
            while self.running and time.monotonic() < end and not impatient():
                self.watch(0.05)
        finally:
            for process in self.running.values():
                _signal_group(process, signal.SIGKILL)
            while self.running:
                self.watch(0.05)
            self.failures = before  # what fails after being told to stop is no failure
            self._output.drain()

    @property
    def only_consequences(self) -> bool:
        """Whether those that failed only complain of somebody else, who has not ended yet."""
        return bool(self.failures) and all(f.is_consequence for f in self.failures)

    @property
    def awaits_a_witness(self) -> bool:
        """Whether a worker was killed, and those still running have not yet complained of it."""
        killed = any(f.returncode < 0 for f in self.failures)
        return killed and bool(self.running) and not any(f.is_consequence for f in self.failures)

    @property
    def root_cause(self) -> Failure | None:
        """The first failure that is not the mere consequence of another."""
        return next((f for f in self.failures if not f.is_consequence), None) or (
            self.failures[0] if self.failures else None
        )


def _signal_group(process: subprocess.Popen, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)
