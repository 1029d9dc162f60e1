"""Ends the workers when the launcher is gone, however it went.

Why it exists: a launcher killed with SIGKILL can clean up nothing itself, and workers without it
would compute on, or wait for each other, unseen. This tiny process reads a pipe whose other end
only the launcher holds. The kernel closes that end when the launcher dies, and then everything
that was on the list is killed, with all descendants, and removed.

It is run as a script, without site-packages, and imports nothing of minitorch.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys


class Watchdog:
    """The launcher's end of the pipe."""

    def __init__(self, scratch: str):
        """Start watching; the directory `scratch` is removed when the launcher is gone."""
        self.scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for the launcher
            text=True,
        )

    def _say(self, word: str, group: int) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody killed the watchdog
            self._process.stdin.write(f"{word} {group}\n")
            self._process.stdin.flush()

    def watch(self, group: int) -> None:
        """Kill this process group when the launcher is gone."""
        self._say("watch", group)

    def forget(self, group: int) -> None:
        self._say("forget", group)

    def close(self) -> None:
        """The launcher ends; whatever is still on the list is killed."""
        self._process.communicate()


def main(scratch: str) -> None:
    groups = set()
    for line in sys.stdin:
        word, group = line.split()
        if word == "watch":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
