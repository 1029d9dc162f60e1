"""minitorchrun: start a script as several processes that know of each other.

    minitorchrun --nproc-per-node 4 train.py --lr 0.1
    python -m minitorch.distributed.run --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 \\
        --nproc-per-node 8 train.py

Why it exists: every process of a distributed job needs to know its rank, how many there are and
where to meet, and somebody must end all of them when one fails. This module is the command; its
options are in `launcher.options`, and what it starts is run by `launcher.agent`.

PyTorch: torch/distributed/run.py
"""

import argparse
import sys
from collections.abc import Sequence

from minitorch.distributed.errors import DistError
from minitorch.distributed.launcher.agent import run as run_job
from minitorch.distributed.launcher.arguments import job_from
from minitorch.distributed.launcher.inline import run_here
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.launcher.options import Parser
from minitorch.distributed.launcher.report import say


def get_args_parser() -> argparse.ArgumentParser:
    """The parser of minitorchrun's command line. Mirrors torch.distributed.run."""
    return Parser()


def parse_args(args: Sequence[str] | None) -> argparse.Namespace:
    """The options in `args` (None: those of the command line). Mirrors torch.distributed.run."""
    return get_args_parser().parse_args(args)


def run(args: argparse.Namespace) -> int:
    """Run the job that these options ask for; its exit code. Mirrors torch.distributed.run.

    Raises ValueError for options that make no sense.
    """
    return _start(job_from(args))


def main(args: Sequence[str] | None = None, parser: argparse.ArgumentParser | None = None) -> None:
    """Run minitorchrun with these arguments (default: the command line), and exit as it did."""
    parser = parser or get_args_parser()
    options = parser.parse_args(args)
    try:
        job = job_from(options)
    except ValueError as error:
        parser.error(str(error))
    sys.exit(_start(job))


def _start(job: Job) -> int:
    if not job.spawn:
        if job.nproc > 1 or job.max_nodes > 1:
            say("--no-spawn: one process, whatever else is asked for")
        run_here(job)
        return 0
    try:
        return run_job(job)
    except (DistError, OSError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    main()
