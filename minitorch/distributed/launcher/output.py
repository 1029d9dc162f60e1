"""What the workers print, merged line by line.

Why it exists: several processes writing to one terminal tear each other's lines apart and nobody
knows who said what. Here each worker writes into pipes of its own, and whole lines come out, each
with its rank in front; a file gets the bytes as they come.

The invariant: bytes between two newlines of one worker appear together. A line that is still being
written (a progress bar that redraws itself with a carriage return, a prompt) is shown at once on a
terminal, as the last line, and is taken away while other lines are printed above it. In a file or
pipe only finished lines appear, a progress bar as its last state.

PyTorch: torch/distributed/elastic/multiprocessing/tail_log.py
"""

import collections
import contextlib
import os
import selectors
import shutil
from typing import IO

from minitorch.distributed.launcher.failure import PEER_ERROR

ERASE_LINE = b"\r\x1b[K"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
TRACEBACK = ("Traceback (most recent call last):", "  + Exception Group Traceback")


class Stream:
    """One worker's stdout or stderr: the end of the pipe and the line begun."""

    def __init__(self, rank: int, pipe: IO[bytes], target: int, prefix: bytes):
        self.pipe = pipe
        self.target = target  # the launcher's file descriptor where its lines go
        self.prefix = prefix
        self.own_prefix = b"[rank %d] " % rank if prefix else b""  # with which our log begins
        self.file: IO[bytes] | None = None  # gets all as it comes
        self.shown = True  # whether the console gets it
        self.history: collections.deque[bytes] | None = None
        self.begun = b""
        self._traceback: list[bytes] = []  # the one that is being written

    def folded(self, line: bytes) -> list[bytes]:
        """What to show now that this line has come. Of a traceback that only ends in having lost a
        peer the last line is enough, or one rank's error would drown in those of all others."""
        if not self._traceback:
            if line.startswith(TRACEBACK[0].encode()):
                self._traceback = [line]
                return []
            return [line]
        self._traceback.append(line)
        if line.startswith(b" "):
            return []
        whole, self._traceback = self._traceback, []
        return [line] if PEER_ERROR.search(line.decode(errors="replace")) else whole

    def rest(self) -> list[bytes]:
        """What has been kept back."""
        whole, self._traceback = self._traceback, []
        return whole


class Output:
    """Prints the lines of all workers, and remembers the end of each one's stderr."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._terminal = {fd: os.isatty(fd) for fd in (1, 2)}
        self._shown: Stream | None = None  # whose unfinished line is on the terminal now
        self._stderr: dict[int, collections.deque[bytes]] = {}

    def follow(
        self, rank: int, pipe: IO[bytes], stream: str, prefix: bytes, path: str | None, shown: bool
    ) -> None:
        """Pass on what comes out of `pipe`, a worker's "stdout" or "stderr": as it is into the file
        `path`, if there is one, and if it is to be `shown`, with a prefix to the console."""
        os.set_blocking(pipe.fileno(), False)
        followed = Stream(rank, pipe, 1 if stream == "stdout" else 2, prefix)
        followed.shown = shown
        if path is not None:
            followed.file = open(path, "wb", buffering=0)  # noqa: SIM115  closed in _finish
        if stream == "stderr":
            followed.history = self._stderr[rank] = collections.deque(maxlen=10_000)
        self._selector.register(pipe, selectors.EVENT_READ, followed)

    def pump(self, seconds: float) -> bool:
        """Print what has come, waiting at most `seconds` for the first; whether there was any."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            stream = key.data
            data = os.read(stream.pipe.fileno(), 1 << 16)
            if data:
                if stream.file is not None:
                    stream.file.write(data)
                self._take(stream, data)
            else:
                self._finish(stream)
        return bool(ready)

    def drain(self) -> None:
        """Print all that is left. For when the workers have ended."""
        for _ in range(1000):  # not for ever, should something outside our reach still write
            if not self.pump(0):
                break
        for key in list(self._selector.get_map().values()):
            self._finish(key.data)
        self._show(None)

    def traceback(self, rank: int) -> str:
        """The last traceback that a worker printed, with the exceptions it was chained to; its last
        lines if there is none."""
        lines = [line.decode(errors="replace") for line in self._stderr.get(rank, ())]
        start = None
        for number in reversed(range(len(lines))):
            if lines[number].startswith(TRACEBACK):
                start = number
                above = [line for line in lines[max(0, number - 2) : number] if line.strip()]
                if not (above and above[-1].strip() in CHAINED):
                    break
        return "\n".join(lines[-10:] if start is None else lines[start:])

    def _take(self, stream: Stream, data: bytes) -> None:
        *lines, stream.begun = (stream.begun + data).split(b"\n")
        for line in lines:
            self._print(stream, line)
        # Of a line that redraws itself only the newest state is worth keeping.
        state = stream.begun.rstrip(b"\r")
        stream.begun = stream.begun[state.rfind(b"\r") + 1 :]
        if not self._terminal[stream.target] or not stream.shown:
            return
        if stream.begun.strip():
            self._show(stream)
        elif self._shown is stream:
            self._show(None)

    def _print(self, stream: Stream, line: bytes) -> None:
        line = line.rstrip(b"\r").rpartition(b"\r")[2]
        if stream.history is not None:
            stream.history.append(line)
        self._put(stream, stream.folded(line))

    def _put(self, stream: Stream, lines: list[bytes]) -> None:
        if not stream.shown or not lines:
            return
        # The prefix of our own log would name the rank a second time.
        lines = [stream.prefix + line.removeprefix(stream.own_prefix) + b"\n" for line in lines]
        shown = self._shown
        self._show(None)
        _write(stream.target, b"".join(lines))
        self._show(self._unfinished() if shown is stream else shown)

    def _unfinished(self) -> Stream | None:
        """Somebody whose begun line could be on the terminal."""
        streams = [key.data for key in self._selector.get_map().values()]
        shown = (s for s in streams if s.shown and self._terminal[s.target])
        return next((s for s in shown if s.begun.strip()), None)

    def _finish(self, stream: Stream) -> None:
        if stream.begun.strip():
            line, stream.begun = stream.begun, b""
            self._print(stream, line)
        self._put(stream, stream.rest())
        self._selector.unregister(stream.pipe)
        stream.pipe.close()
        if stream.file is not None:
            stream.file.close()

    def _show(self, stream: Stream | None) -> None:
        """Put this stream's unfinished line at the bottom of the terminal, in place of another."""
        if stream is None and self._shown is None:
            return
        text = stream.prefix + stream.begun.rstrip(b"\r") if stream else b""
        width = shutil.get_terminal_size().columns - 1
        target = 2 if self._terminal[2] else 1
        _write(target, ERASE_LINE + text.decode(errors="replace")[:width].encode())
        self._shown = stream


def _write(target: int, data: bytes) -> None:
    # When nobody reads any more, as after `| head`, the job goes on without its output.
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(target, data) :]
