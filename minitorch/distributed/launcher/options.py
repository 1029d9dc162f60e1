"""minitorchrun's options: the parser, and what each of them means for the job.

Every option can be written with dashes or underscores, and is also read from an environment
variable PET_<NAME>, which the command line overrides. Names, defaults and meanings are torchrun's.

PyTorch: get_args_parser and config_from_args in torch/distributed/run.py
"""

import argparse
import difflib
import os
import sys
from typing import Any, NoReturn

# Name, settings for argparse, and what it is for. `None` as a type is a switch.
OPTIONS: list[tuple[str, Any, Any, str]] = [
    ("nnodes", str, "1:1", "number of nodes, or MIN:MAX (with --rdzv-backend c10d)"),
    ("nproc_per_node", str, "1", "workers on this node: a number, auto, cpu or gpu"),
    ("rdzv_backend", str, "static", "how nodes meet: static (each is told its rank) or c10d"),
    ("rdzv_endpoint", str, "", "host:port where nodes meet (c10d: port 29400 if none is given)"),
    ("rdzv_id", str, "none", "name of the job, the same on all nodes"),
    ("rdzv_conf", str, "", "key=value,...: join_timeout, last_call_timeout, keep_alive_interval, "
     "keep_alive_max_attempt (seconds), is_host"),
    ("standalone", None, False, "one node, on a free port"),
    ("max_restarts", int, 0, "how often all workers may be started again after a failure"),
    ("monitor_interval", float, 0.1, "seconds between two looks at the workers"),
    ("start_method", str, "spawn", "changes nothing: a script is always a new process"),
    ("role", str, "default", "name for the workers of this node"),
    ("module", None, False, "the program is a module, as in python -m"),
    ("no_python", None, False, "the program is not a Python script"),
    ("run_path", None, False, "start the script with runpy.run_path"),
    ("no_spawn", None, False, "start nothing: run the script in this very process, as the only "
     "rank, for a debugger"),
    ("log_dir", str, None, "folder for log files; a new one is made in it for each run"),
    ("redirects", str, "0", "write output into files: 1 stdout, 2 stderr, 3 both, or a map "
     "from local rank, as in 0:1,12:3"),
    ("tee", str, "0", "like --redirects, and to the console as well"),
    ("local_ranks_filter", str, "", "local ranks whose output reaches the console, as in 0,3"),
    ("node_rank", int, 0, "which of the nodes this is, counted from 0 (static)"),
    ("master_addr", str, "127.0.0.1", "address of node 0 (static)"),
    ("master_port", int, None, "port on node 0 (static; by default a free one with one node, "
     "29500 with several)"),
    ("local_addr", str, None, "address of this node, under which the others reach it"),
    ("signals_to_handle", str, "SIGTERM,SIGINT,SIGHUP,SIGQUIT", "signals that end the job"),
    ("shutdown_timeout", float, None, "seconds between SIGTERM and SIGKILL when workers are "
     "stopped (30)"),
    ("numa_binding", str, None, "keep workers on the processors near their GPUs, or on shares of "
     "all: node, socket, exclusive or core-complex"),
    ("event_log_handler", str, "null", "for torchrun's sake: only null is here"),
    ("logs_specs", str, None, "not here: use the other options for logs"),
    ("virtual_local_rank", None, False, "each worker sees one GPU only, and is local rank 0"),
]  # fmt: skip

SHORT = {"nproc_per_node": "-n", "module": "-m", "redirects": "-r", "tee": "-t"}


class Parser(argparse.ArgumentParser):
    """torchrun's conventions on top of argparse."""

    def __init__(self, prog: str = "minitorchrun"):
        super().__init__(
            prog=prog,
            usage="%(prog)s [options] training_script [its own arguments]",
            description="Start a script as several processes that know of each other.",
            allow_abbrev=False,  # one could stand for an option of a later version
        )
        for name, kind, default, purpose in OPTIONS:
            self.option(name, kind, default, purpose)
        self.add_argument("training_script", help="the program that each worker runs")
        self.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its arguments")

    def option(self, name: str, kind: Any, default: Any, purpose: str) -> None:
        """Add --a-b, with its alias --a_b, and its default from PET_A_B."""
        flags = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
        if name in SHORT:
            flags = {SHORT[name]: None, **flags}
        environment = os.environ.get(f"PET_{name.upper()}")
        if kind is None:
            on = environment is not None and environment.lower() not in ("", "0", "false")
            self.add_argument(
                *flags, dest=name, action="store_true", default=on or default, help=purpose
            )
            return
        if default not in (None, "", "none"):
            purpose += f" (default: {default})"
        default = default if environment is None else environment
        self.add_argument(
            *flags, dest=name, type=kind, default=default, help=purpose, metavar="VALUE"
        )

    def parse_args(self, args=None, namespace=None):
        options, unknown = self.parse_known_args(args, namespace)
        for word in unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(word.partition("=")[0], known, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            self.error(f"there is no option {word!r}{guess}")
        return options

    def error(self, message: str) -> NoReturn:
        """One line, and where to find more."""
        print(f"{self.prog}: {message}\nTry: {self.prog} --help", file=sys.stderr)
        sys.exit(2)
