"""`@record`: a failing process leaves its traceback in a file, for whoever has started it.

    from minitorch.distributed.elastic.multiprocessing.errors import record

    @record
    def main(): ...

Why it exists: a scheduler, or a launcher on another host, cannot read a process's terminal.
minitorchrun prints the traceback of the failing rank without it; torchrun does not.

The invariant: the file is PyTorch's, at TORCHELASTIC_ERROR_FILE (`error_handler`), so that either
launcher reads what either package wrote.

PyTorch: torch/distributed/elastic/multiprocessing/errors/__init__.py.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .error_handler import ErrorHandler

__all__ = ["ChildFailedError", "ErrorHandler", "ProcessFailure", "get_error_handler", "record"]

NOT_AVAILABLE = "<N/A>"


def get_error_handler() -> ErrorHandler:
    """What `record` uses if it is given none. Mirrors torch's function."""
    return ErrorHandler()


@dataclass
class ProcessFailure:
    """How a child failed: from its error file if it has left one, else from its exit code.

    `exitcode` is as subprocess says it, minus the signal's number for a child that was killed.
    `message` is what the file holds under that name, a dict if `ErrorHandler` wrote it.
    Mirrors torch's class.
    """

    local_rank: int
    pid: int
    exitcode: int
    error_file: str
    error_file_data: dict[str, Any] = field(init=False)
    message: Any = field(init=False)
    timestamp: int = field(init=False)

    def __post_init__(self) -> None:
        self.error_file_data = {"message": "<NONE>"}
        self.timestamp = int(time.time())
        if os.path.isfile(self.error_file):
            with open(self.error_file) as file:
                self.error_file_data = json.load(file)
            self.message = self.error_file_data["message"]
            at = self.message["extraInfo"] if isinstance(self.message, dict) else {}
            self.timestamp = int(at.get("timestamp") or self.error_file_data.get("timestamp", 0))
            return
        self.error_file = NOT_AVAILABLE
        self.message = f"exit code {self.exitcode}; its output says more, or @record its main()"
        if self.exitcode < 0:
            self.message = (
                f"Signal {-self.exitcode} ({self.signal_name()}) received by PID {self.pid}"
            )

    def signal_name(self) -> str:
        """The name of the signal that killed the child, "<N/A>" if none did."""
        with contextlib.suppress(ValueError):
            if self.exitcode < 0:
                return signal.Signals(-self.exitcode).name
        return NOT_AVAILABLE

    def timestamp_isoformat(self) -> str:
        return datetime.fromtimestamp(self.timestamp).isoformat(sep="_")

    def traceback(self) -> str:
        """The child's traceback, or the best that there is in its place."""
        if isinstance(self.message, dict):
            message = self.message.get("message", NOT_AVAILABLE)
            return self.message.get("extraInfo", {}).get("py_callstack", message)
        return self.message


class ChildFailedError(Exception):
    """Some children of `name` failed; `failures` tells how, by global rank.

    Raised in a function under `@record`, it passes the file of the child that failed first on to
    this process's own launcher. Mirrors torch's class.
    """

    def __init__(self, name: str, failures: dict[int, ProcessFailure]):
        if not failures:
            raise ValueError("a ChildFailedError needs at least one failure")
        self.name = name
        self.failures = failures
        super().__init__(self.format_msg())

    def get_first_failure(self) -> tuple[int, ProcessFailure]:
        """The rank of the child that failed first, and how it did."""
        return min(self.failures.items(), key=lambda item: item[1].timestamp)

    def format_msg(self) -> str:
        """One line for each failure, and the first one's traceback last."""
        first, cause = self.get_first_failure()
        lines = [f"{self.name} FAILED"]
        for rank, failure in self.failures.items():
            name = failure.signal_name()
            killed = f", {name}" if name != NOT_AVAILABLE else ""
            lines.append(
                f"  rank {rank} (local rank {failure.local_rank}, pid {failure.pid} on "
                f"{socket.gethostname()}): exit code {failure.exitcode}{killed}, at "
                f"{failure.timestamp_isoformat()}, error file {failure.error_file}"
            )
        return "\n".join(
            [*lines, f"Root Cause (first observed failure): rank {first}", cause.traceback()]
        )


def record(fn: Callable, error_handler: ErrorHandler | None = None) -> Callable:
    """Decorates a script's main function: an exception that leaves it is written to the error file.

    Use it once in a process. `sys.exit(0)` becomes a return. Mirrors torch's function.
    """
    handler = error_handler or get_error_handler()

    @functools.wraps(fn)
    def recorded(*args, **kwargs):
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as exit:
            if exit.code != 0:
                raise
            return None
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.error_file != NOT_AVAILABLE:
                handler.dump_error_file(failure.error_file, failure.exitcode)
            raise
        except Exception as error:
            handler.record_exception(error)
            raise

    return recorded
