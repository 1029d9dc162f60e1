"""What a rank called last, and where, for the day when a job gets stuck.

Each rank keeps a list of its last collectives, sends and receives, with their state and the line of
the program that made them. When the process group fails, and on SIGUSR1, it is written to the
folder that MINITORCH_FLIGHT_RECORDER names, one file for each rank; flight_recorder.py reads them.
Without the variable nothing is written, and SIGUSR1 prints the last calls to stderr.

Invariant: recording never waits and never fails; a list keeps CAPACITY calls and no tensor.
PyTorch: torch/csrc/distributed/c10d/FlightRecorder.hpp.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from minitorch.distributed.operation import Operation

CAPACITY = 1000
VARIABLE = "MINITORCH_FLIGHT_RECORDER"


class FlightRecorder:
    """The last calls of one process, over all groups."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._operations: deque[Operation] = deque(maxlen=CAPACITY)
        self._handler: Any = None
        # Another's handler stays, and only the main thread may set one.
        if (
            hasattr(signal, "SIGUSR1")
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        ):
            self._handler = lambda *_: self.dump("SIGUSR1", show=True)
            signal.signal(signal.SIGUSR1, self._handler)

    def add(self, operation: Operation) -> None:
        """Note a call that is about to start, and the user's line that makes it."""
        operation.site = call_site()
        self._operations.append(operation)

    def entries(self) -> list[dict]:
        """The calls, oldest first, as they are written to the file."""
        return [_entry(operation) for operation in list(self._operations)]

    def dump(self, reason: str, show: bool = False) -> Path | None:
        """Write the list to the folder and return the file; None if no folder is set.

        With `show` the last calls then go to stderr instead. A folder that cannot be written to is
        reported there as well: this is called when something else has failed already.
        """
        folder = os.environ.get(VARIABLE)
        if not folder:
            if show:
                lines = [in_words(entry) for entry in self.entries()[-10:]]
                text = "\n  ".join([f"[rank {self.rank}] last calls:", *lines])
                # Not `print`: the signal may have interrupted one, which must not be entered again.
                os.write(2, f"{text}\n".encode())
            return None
        record = {
            "rank": self.rank,
            "size": self.size,
            "reason": reason,
            "time": time.time(),
            "entries": self.entries(),
        }
        path = Path(folder, f"rank{self.rank}.json")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(record))
            unfinished.replace(path)  # a reader never sees half a file
        except OSError as error:
            print(f"[rank {self.rank}] no flight record was written: {error}", file=sys.stderr)
            return None
        return path

    def close(self) -> None:
        """Give the signal back, unless somebody has taken it meanwhile."""
        if self._handler is not None and signal.getsignal(signal.SIGUSR1) is self._handler:
            with contextlib.suppress(ValueError):  # not in the main thread: it stays
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self._handler = None


def call_site() -> tuple[str, int, str]:
    """File, line and function of the innermost caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith("minitorch.") and frame.f_back:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def _entry(operation: Operation) -> dict:
    file, line, function = operation.site
    now = time.monotonic()
    state = "waiting"
    if operation.done:
        state = "failed" if operation.error is not None else "completed"
    return {
        "group": operation.call.group,
        "members": list(operation.members),
        "number": operation.call.number if operation.is_collective else None,
        "call": str(operation.call),
        "site": f"{file}:{line} ({function})",
        "state": state,
        "seconds_ago": now - operation.started,
        "waits_for": operation.awaited if state == "waiting" else None,
    }


def in_words(entry: dict) -> str:
    """An entry as a line of text."""
    number = "" if entry["number"] is None else f" #{entry['number']}"
    return (
        f"{entry['call']}{number} at {entry['site']}, {entry['state']}, "
        f"begun {entry['seconds_ago']:.1f} s before"
    )
