"""The workers of one node: started together, watched, and ended together.

The invariant: when `stop` has returned, no worker is alive, nor any process that one of them
started and that stayed in its process group.

PyTorch: torch/distributed/elastic/multiprocessing/api.py
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from minitorch.distributed.launcher.environment import Place, worker_environment
from minitorch.distributed.launcher.failure import Failure, recorded_traceback
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.launcher.logs import LogFolder
from minitorch.distributed.launcher.numa import bound
from minitorch.distributed.launcher.output import Output
from minitorch.distributed.launcher.watchdog import Watchdog


class Workers:
    """Starts the job's program once for every local rank.

    A single one has the terminal to itself; the output of several, or what goes into a file, passes
    through `output`. Each leads a session of its own, so that signals reach it with all it has
    started.
    """

    def __init__(self, job: Job, place: Place, node: str, logs: LogFolder, watchdog: Watchdog):
        self._job, self._place, self._node, self._logs = job, place, node, logs
        self._watchdog = watchdog
        self._output = Output()
        self._error_files: dict[int, str] = {}
        self.running: dict[int, subprocess.Popen] = {}  # by rank
        try:
            for local_rank in range(place.nproc):
                self._start(local_rank)
        except BaseException:
            self.stop(signal.SIGKILL, 0.0)
            raise

    def _start(self, local_rank: int) -> None:
        place, rank = self._place, self._place.first_rank + local_rank
        error_file = self._logs.error_file(place.round, local_rank)
        piped = place.world_size > 1 or self._logs.takes(local_rank)
        with bound(self._job.numa_binding, local_rank, place.nproc):
            process = subprocess.Popen(
                self._job.command(local_rank),
                env=worker_environment(self._job, place, local_rank, error_file),
                stdin=None if local_rank == 0 else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else None,
                stderr=subprocess.PIPE if piped else None,
                start_new_session=True,
            )
        self.running[rank] = process
        self._error_files[rank] = error_file
        self._watchdog.watch(process.pid)
        if piped:
            prefix = self._prefix(rank, local_rank) if place.world_size > 1 else b""
            for stream in ("stdout", "stderr"):
                path, shown = self._logs.destination(error_file, local_rank, stream)
                self._output.follow(rank, getattr(process, stream), stream, prefix, path, shown)

    def _prefix(self, rank: int, local_rank: int) -> bytes:
        """What stands before each line; torchrun's variable for it may say something else."""
        text = os.environ.get("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "[rank${rank}] ")
        words = {"rank": rank, "local_rank": local_rank, "role_name": self._place.role}
        for word, value in words.items():
            text = text.replace(f"${{{word}}}", str(value))
        return text.encode()

    def watch(self, seconds: float) -> list[Failure]:
        """Print output for at most `seconds`; who has failed meanwhile, in order."""
        self._output.pump(seconds)
        failed = []
        for rank, process in list(self.running.items()):
            if process.poll() is None:
                continue
            del self.running[rank]
            _signal_group(process, signal.SIGKILL)  # what it left running
            self._watchdog.forget(process.pid)
            if process.returncode != 0:
                failed.append((rank, process))
        if failed:
            self._output.pump(0)  # a read takes all that a pipe can hold
        failures = [self._failure(rank, process) for rank, process in failed]
        # Who ended within one look cannot be told apart by time, but a signal comes from outside
        # and has no cause in here.
        return sorted(failures, key=lambda failure: failure.returncode >= 0)

    def _failure(self, rank: int, process: subprocess.Popen) -> Failure:
        path = self._error_files[rank]
        said = recorded_traceback(path) or self._output.traceback(rank)
        return Failure(rank, process.pid, process.returncode, said, self._node)

    def stop(
        self, signum: int, grace: float, impatient: Callable[[], bool] = lambda: False
    ) -> None:
        """Send `signum` to all that run, and SIGKILL to those that still do after `grace` seconds,
        or as soon as `impatient` says so. What fails after that is no failure."""
        for process in self.running.values():
            _signal_group(process, signum)
            _signal_group(process, signal.SIGCONT)  # or a stopped one would sleep through it
        end = time.monotonic() + grace
        try:
            while self.running and time.monotonic() < end and not impatient():
                self.watch(0.05)
        finally:
            for process in self.running.values():
                _signal_group(process, signal.SIGKILL)
            while self.running:
                self.watch(0.05)
            self._output.drain()


def _signal_group(process: subprocess.Popen, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)
