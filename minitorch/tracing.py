"""What a process did, and when: the record that `python -m minitorch.viz.timeline` draws.

    MINITORCH_TRACE=folder minitorchrun --nproc-per-node 4 train.py

makes each process write folder/rank<k>.jsonl, a line of JSON for each event. Before a process knows
its rank, or if it never has one, the file is called pid<n>.jsonl. A rank that is started again
begins anew. An event is a span (a backward operation, a collective, a wait) or a mark (a bucket is
ready, a chunk was sent). A program may add its own:

    with tracing.region("forward", "encoder"): ...

Invariants:
- Switched off it costs one look at `tracing.on` wherever there would be something to record.
- Recording appends to a list and never waits for the disk: a thread writes the list out, so that a
  process which is killed loses FLUSH_SECONDS at most. The list is bounded, and so is the file.
- Times are `time.perf_counter_ns()`. Within a host all processes read the same clock. Between hosts
  the reader finds the differences out from the messages (viz/recording.py).

(`trace` is a function of PyTorch's, the sum of a diagonal; so this module is `tracing`.)
PyTorch: torch.profiler, whose traces open in the same viewers.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections import deque
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

VARIABLE = "MINITORCH_TRACE"
FLUSH_SECONDS = 0.25
# A list this long does not wait for its thread any more.
MOST_UNWRITTEN = 50_000
# After so many events, some 100 MB, recording ends: nobody would look at more.
MOST_EVENTS = 1_000_000

on = False  # whether this process records; look at it before you build what you would record

_recorder: _Recorder | None = None


def span(kind: str, name: str, start_ns: int, end_ns: int, **details: Any) -> None:
    """Record what took from `start_ns` to `end_ns`, by time.perf_counter_ns().

    kind: which row of the picture it belongs to: "forward", "backward", "op", "collective", "wait",
    or any other. details: whatever JSON can hold.
    """
    if _recorder is not None:
        _recorder.add((kind, name, start_ns, end_ns, details))


def mark(kind: str, name: str, **details: Any) -> None:
    """Record that something happened now."""
    now = time.perf_counter_ns()
    span(kind, name, now, now, **details)


@contextlib.contextmanager
def region(kind: str, name: str, **details: Any):
    """Record how long a `with` block took."""
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        if on:
            span(kind, name, start, time.perf_counter_ns(), **details)


def start(folder: str | os.PathLike) -> None:
    """Record from now on, into `folder`, which is made if it is not there."""
    global on, _recorder
    stop()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{VARIABLE}={folder} is no folder to write a trace into: {error}") from error
    _recorder = _Recorder(Path(folder))
    on = True


def stop() -> None:
    """Write what is left, and record no more."""
    global on, _recorder
    on = False
    if _recorder is not None:
        _recorder.close()
        _recorder = None


def joined(rank: int, size: int, run: str) -> None:
    """This process is rank `rank` of `size`; `run` is the same on all ranks, and in no other run.

    Called when the process group stands.
    """
    if _recorder is not None:
        _recorder.name(rank, size, run)


class _Recorder:
    """The events of this process, on their way to its file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"pid{os.getpid()}.jsonl"
        self.named = False
        self.count = 0
        self.events: deque[tuple] = deque()
        self.file: Any = None  # opened for the first event: who has nothing to say leaves no file
        self.writing = threading.Lock()
        self.wake = threading.Event()
        self.closed = False

    def add(self, event: tuple) -> None:
        self.events.append(event)
        self.count += 1
        if self.file is None or len(self.events) >= MOST_UNWRITTEN:
            self.write()
        if self.count == MOST_EVENTS:
            self.events.append(("full", f"{MOST_EVENTS} events", event[3], event[3], {}))
            stop()

    def name(self, rank: int, size: int, run: str) -> None:
        """The file is called after the rank. What an earlier run has left there is replaced."""
        if self.named:
            return  # another group, later in the same process
        self.named = True
        self.write(rank=rank, size=size, run=run)
        if not self.closed:
            self.path = self.path.replace(self.path.with_name(f"rank{rank}.jsonl"))

    def write(self, **about: Any) -> None:
        """Put the list into the file, behind a line about this process if there is any news."""
        with self.writing:
            try:
                if self.file is None:
                    self._open()
                    about |= _about_this_process()
                lines = [about] if about else []
                while self.events:
                    kind, name, start_ns, end_ns, details = self.events.popleft()
                    event = {"kind": kind, "name": name, "start": start_ns, "end": end_ns}
                    lines.append(event | details)
                self.file.write("".join([json.dumps(line) + "\n" for line in lines]))
                self.file.flush()
            except (OSError, ValueError) as error:  # a full disk must not end the training
                print(f"the trace {self.path} ends here: {error}", file=sys.stderr)
                self._give_up()

    def close(self) -> None:
        if self.file is not None and not self.closed:
            self.closed = True
            self.write()
            self.file.close()
        self.wake.set()

    def _open(self) -> None:
        self.file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - until `close`
        threading.Thread(target=self._flush, name="minitorch-trace", daemon=True).start()
        # Unlike `atexit`, this is also called at the end of a process of multiprocessing. After the
        # process group has been left (exit priority 0).
        Finalize(None, stop, exitpriority=-1)

    def _flush(self) -> None:
        while not self.wake.wait(FLUSH_SECONDS):
            if self.events:
                self.write()

    def _give_up(self) -> None:
        global on, _recorder
        on, _recorder = False, None
        self.closed = True
        self.wake.set()


def _about_this_process() -> dict:
    """The first line of a file: who writes it, and what its clock shows now."""
    return {
        "trace": 1,  # the format's number
        "pid": os.getpid(),
        "host": _boot(),
        "command": " ".join(sys.argv)[:200],
        "time_ns": time.time_ns(),
        "perf_ns": time.perf_counter_ns(),
    }


def _boot() -> str:
    """The same for all processes that read the same clock."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _after_fork() -> None:
    """A forked child records into a file of its own, if it has anything to record."""
    global _recorder
    if _recorder is not None:
        _recorder = _Recorder(_recorder.path.parent)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

if _folder := os.environ.get(VARIABLE):
    start(_folder)
