"""minitorchrun: start a script as several processes that know of each other.

    minitorchrun --nproc_per_node 4 train.py --lr 0.1
    python -m minitorch.distributed.run --nnodes 2 --node_rank 0 --master_addr 10.0.0.1 \\
        --nproc_per_node 8 train.py

Why it exists: every process of a distributed job needs to know its rank, how many there are and
where to meet, and somebody must end all of them when one fails. This module is the command line;
what it starts is run by `launcher.agent`. The options are torchrun's, each also with dashes for
underscores, and each also read from an environment variable PET_<NAME>, which the command line
overrides.

PyTorch: torch/distributed/run.py
"""

import argparse
import glob
import os
import shutil
import sys

from minitorch.distributed.errors import DistError
from minitorch.distributed.launcher.agent import Job, run


class Parser(argparse.ArgumentParser):
    """torchrun's conventions on top of argparse."""

    def option(self, name: str, **settings) -> None:
        """Add --a_b, with its alias --a-b, and its default from PET_A_B."""
        flags = [f"--{name}"]
        if "_" in name:
            flags.append(f"--{name.replace('_', '-')}")
        if name == "module":
            flags.insert(0, "-m")
        environment = os.environ.get(f"PET_{name.upper()}")
        if environment is not None:
            on = environment.lower() not in ("", "0", "false")
            switch = settings.get("action") == "store_true"
            settings["default"] = on if switch else environment
        self.add_argument(*flags, dest=name, **settings)


def parser() -> Parser:
    """The command line of minitorchrun."""
    p = Parser(
        prog="minitorchrun",
        description="Start a script as several processes that know of each other.",
        allow_abbrev=False,  # an abbreviation would swallow options of torchrun's not known here
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.option("nproc_per_node", default="1", help="workers on this node: a number, auto, cpu or gpu")
    p.option("nnodes", default="1", help="number of nodes")
    p.option("node_rank", type=int, default=0, help="which of them this is, counted from 0")
    p.option("master_addr", default="127.0.0.1", help="address of node 0")
    p.option(
        "master_port",
        type=int,
        default=None,
        help="port on node 0 (by default a free one with one node, 29500 with several)",
    )
    p.option("standalone", action="store_true", help="one node, on a free port")
    p.option("module", action="store_true", help="the program is a module, as in python -m")
    p.option("no_python", action="store_true", help="the program is not a Python script")
    p.option(
        "shutdown_timeout",
        type=float,
        default=30.0,
        help="seconds between SIGTERM and SIGKILL when workers are stopped",
    )
    p.add_argument("training_script", help="the program that each worker runs")
    p.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its own arguments")
    return p


def main(args: list[str] | None = None) -> None:
    """Run minitorchrun with these arguments (default: the command line), and exit as it did."""
    p = parser()
    options = p.parse_args(args)
    try:
        job = _job(options)
    except ValueError as error:
        p.error(str(error))
    try:
        code = run(job)
    except (DistError, OSError) as error:
        print(f"minitorchrun: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _job(options: argparse.Namespace) -> Job:
    nnodes = _nodes(options.nnodes)
    port = options.master_port
    if options.standalone:
        if nnodes > 1 or port is not None:
            raise ValueError("--standalone is for one node on a free port: it excludes the others")
        port = 0
    if port is None:
        port = 0 if nnodes == 1 else 29500
    if not 0 <= port < 1 << 16 or (port == 0 and nnodes > 1):
        raise ValueError(f"--master_port must be a port that all nodes know, got {port}")
    if not 0 <= options.node_rank < nnodes:
        raise ValueError(
            f"--node_rank counts the {nnodes} nodes from 0 to {nnodes - 1}, got {options.node_rank}"
        )
    return Job(
        command=_command(options),
        nproc=_processes(options.nproc_per_node),
        nnodes=nnodes,
        node_rank=options.node_rank,
        master_addr=options.master_addr,
        master_port=port,
        shutdown_timeout=options.shutdown_timeout,
    )


def _command(options: argparse.Namespace) -> list[str]:
    """What each worker executes. Python runs unbuffered, so that output appears when printed."""
    program, arguments = options.training_script, options.training_script_args
    if options.no_python:
        if options.module:
            raise ValueError("--module needs Python, --no_python excludes it")
        if shutil.which(program) is None:
            raise ValueError(f"no such program: {program!r}")
        return [program, *arguments]
    if options.module:
        return [sys.executable, "-u", "-m", program, *arguments]
    if not os.path.exists(program):
        raise ValueError(f"no such script: {program!r} (in {os.getcwd()})")
    return [sys.executable, "-u", program, *arguments]


def _nodes(text: str) -> int:
    low, _, high = text.partition(":")
    if not low.isdigit() or (high and high != low) or int(low) < 1:
        raise ValueError(f"--nnodes must be a fixed number of at least 1, got {text!r}")
    return int(low)


def _processes(text: str) -> int:
    if text.isdigit() and int(text) > 0:
        return int(text)
    if text == "cpu":
        return os.cpu_count() or 1
    if text == "gpu":
        if _gpus() == 0:
            raise ValueError("--nproc_per_node gpu: no GPU is visible on this machine")
        return _gpus()
    if text == "auto":
        return _gpus() or os.cpu_count() or 1
    raise ValueError(f"--nproc_per_node must be a number above 0, auto, cpu or gpu, got {text!r}")


def _gpus() -> int:
    """GPUs that the workers will see, found without loading a CUDA library in the launcher."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(glob.glob("/dev/nvidia[0-9]*"))


if __name__ == "__main__":
    main()
