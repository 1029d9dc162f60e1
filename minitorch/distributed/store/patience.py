"""Waiting for others: never for ever, and never in silence.

Why it exists: a store waits for keys, clients for their server, a rendezvous for ranks. All of them
should tell every few seconds for whom they wait, and stop when the time is up.

Invariant: whatever waits in this package's start-up waits here.
"""

import time
from collections.abc import Callable
from datetime import timedelta

from minitorch.distributed.log import logger

REPORT_EVERY = 5.0  # seconds between two "still waiting" warnings


def wait_until(
    attempt: Callable[[float], bool], limit: float, waiting_for: Callable[[], str]
) -> bool:
    """Call `attempt(seconds)`, which waits that long at most, until it returns True; False when
    `limit` seconds have passed first. `waiting_for` says what is still missing, for the reports."""
    start = time.monotonic()
    while True:
        left = start + limit - time.monotonic()
        seconds = max(0.0, min(left, REPORT_EVERY))
        if attempt(seconds):
            return True
        if seconds < REPORT_EVERY:  # that was the last piece of the time
            return False
        logger.warning("waiting for %s, %.0f s", waiting_for(), time.monotonic() - start)


def poll(
    ready: Callable[[], bool], seconds: float, pause: float = 0.01, longest: float = 0.1
) -> bool:
    """Ask `ready` again and again, less and less often, for so many seconds; its last answer."""
    end = time.monotonic() + seconds
    while not ready():
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, longest)
    return True


def seconds_of(timeout: timedelta) -> float:
    """A time-out in seconds. Raises TypeError for a bare number: seconds or milliseconds?"""
    if not isinstance(timeout, timedelta):
        raise TypeError(f"a time-out is a datetime.timedelta, not {timeout!r}")
    return timeout.total_seconds()
