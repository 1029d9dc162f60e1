"""The signals that end the launcher, and with it the job.

Invariant: a signal is never lost, and never breaks off a step that must be finished (a worker just
started and not yet registered, a request to the store and its reply). So it is only noted, and
whoever waits calls `check` between two short waits. Only while nothing has been started yet does it
interrupt at once.

PyTorch: SignalException in torch/distributed/elastic/multiprocessing/api.py
"""

import signal
from collections.abc import Sequence


class Stopped(Exception):
    """A signal told the launcher to end."""

    def __init__(self, signum: int):
        super().__init__(f"was stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum


class Signals:
    """Notes these signals from now on, except those that were ignored before, as nohup wants it."""

    def __init__(self, signals: Sequence[signal.Signals]):
        self.received: list[int] = []
        self.interrupt = True  # whether one is raised as Stopped where it arrives
        self._before = {
            signum: signal.signal(signum, self._handle)
            for signum in signals
            if signal.getsignal(signum) is not signal.SIG_IGN
        }

    def _handle(self, signum, frame):
        self.received.append(signum)
        if self.interrupt:
            self.check()

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.received:
            raise Stopped(self.received[0])

    def restore(self) -> None:
        """Handle the signals again as before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
