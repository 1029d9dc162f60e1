"""What the launcher says, and how it tells why a job has ended.

The invariant: the last thing on the screen is the root cause's own traceback, whole; above it one
line for each rank that failed.

PyTorch: ChildFailedError in torch/distributed/elastic/multiprocessing/errors/__init__.py
"""

import sys
from collections.abc import Sequence

from minitorch.distributed.launcher.failure import Failure, root_cause


def say(text: str) -> None:
    """A line of the launcher's own."""
    print(f"minitorchrun: {text}", file=sys.stderr, flush=True)


def report(failures: Sequence[Failure], why: str = "") -> None:
    """Say who failed and why, with the root cause's traceback last; `why` if no worker has."""
    cause = root_cause(failures)
    if cause is None or cause.launcher:
        if why:
            say(f"the job ended because {why}")
        return
    for other in failures:
        if other is not cause:
            say(f"{other} as well")
    said, witness = cause.said.rstrip(), next((f for f in failures if f.is_consequence), None)
    first = f"{'the cause: ' if len(failures) > 1 else ''}{cause}"
    if said:
        say(f"{first}, saying:")
    elif witness is not None:
        say(f"{first}. What a peer says of it:")
        said = f"rank {witness.rank}: {witness.last_words}"
    else:
        say(first)
    if said:
        print(said, file=sys.stderr, flush=True)


def report_restart(failures: Sequence[Failure], why: str) -> None:
    """Say in a line why all workers are started again."""
    cause = root_cause(failures)
    if cause is None:
        say(f"{why}: all workers are started again")
        return
    words = f" ({cause.last_words})" if cause.last_words else ""
    say(f"{cause}{words}: all workers are started again, {why}")
