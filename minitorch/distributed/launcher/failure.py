"""A worker that failed: what is known of it, and which of several is the root cause.

Why it exists: when one rank fails, the others lose it and fail too, and those may well be the first
to have ended. Reporting such a one would hide the only error that matters.

PyTorch: ProcessFailure in torch/distributed/elastic/multiprocessing/errors/__init__.py
"""

import contextlib
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

# The last line of a traceback that says no more than that some other process has gone away.
PEER_ERROR = re.compile(
    r"^(minitorch|torch)\.distributed\S*\.Dist\w*Error|Connection closed by peer|"
    r"Connection reset by peer|Broken pipe"
)


@dataclass(frozen=True)
class Failure:
    """A worker that ended with something other than 0, or (rank -1) a launcher that is gone."""

    rank: int
    pid: int
    returncode: int  # as subprocess says it: minus the signal's number when killed by one
    said: str = ""  # its traceback, or the last that it wrote to stderr, where that was read
    node: str = ""  # where, with several nodes
    launcher: str = ""  # for a launcher: what became of it

    @property
    def exit_code(self) -> int:
        """What a shell would say: 128 + signal for a worker that was killed."""
        return 128 - self.returncode if self.returncode < 0 else self.returncode

    @property
    def is_consequence(self) -> bool:
        """Whether it only says that another process went away."""
        return bool(PEER_ERROR.search(self.last_words))

    @property
    def last_words(self) -> str:
        return self.said.rstrip().rpartition("\n")[2]

    def __str__(self) -> str:
        if self.launcher:
            return self.launcher
        end = f"ended with exit code {self.returncode}"
        if self.returncode < 0:
            with contextlib.suppress(ValueError):
                end = f"was killed by {signal.Signals(-self.returncode).name}"
        return f"rank {self.rank} (pid {self.pid}){self.node and f' on {self.node}'} {end}"


def root_cause(failures: Sequence[Failure]) -> Failure | None:
    """The first failure that is not the mere consequence of another."""
    return next((f for f in failures if not f.is_consequence), failures[0] if failures else None)


def recorded_traceback(error_file: str) -> str:
    """What `record` has left in a worker's error file: the traceback; empty if there is none."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        with open(error_file) as file:
            message = json.load(file)["message"]
        return message if isinstance(message, str) else message["extraInfo"]["py_callstack"]
    return ""
