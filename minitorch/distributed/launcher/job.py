"""What a command line asks for, checked: the one thing that the parts of the launcher share.

PyTorch: LaunchConfig in torch/distributed/launcher/api.py
"""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

RUN_PATH = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


@dataclass(frozen=True)
class Timeouts:
    """How long the launchers wait for each other, in seconds: what --rdzv-conf can set."""

    join: float = 600.0  # for enough nodes to come
    last_call: float = 30.0  # for more of them, once there are enough
    silence: float = 10.0  # until a launcher that says nothing counts as gone


@dataclass(frozen=True)
class Logs:
    """Where the output of the workers goes. Bit 1 is stdout, bit 2 stderr; the key None of a map
    stands for all local ranks that it does not name."""

    folder: str | None = None
    redirects: dict[int | None, int] = field(default_factory=dict)  # into a file
    tee: dict[int | None, int] = field(default_factory=dict)  # into a file and to the console
    shown: frozenset[int] | None = None  # local ranks that reach the console; None: all


@dataclass(frozen=True)
class Job:
    """What the command line asked for."""

    program: str
    arguments: Sequence[str] = ()
    kind: str = "script"  # or "module", "path" (through runpy), "program" (no Python)
    spawn: bool = True  # False: in the launcher's own process, and only once
    nproc: int = 1
    min_nodes: int = 1
    max_nodes: int = 1
    node_rank: int | None = 0  # None: the launchers agree on an order
    host: str = "127.0.0.1"  # where they meet
    port: int = 0
    is_host: bool | None = None  # whether this launcher serves the store; None: to be found out
    run_id: str = "none"
    role: str = "default"
    local_addr: str | None = None
    max_restarts: int = 0
    monitor_interval: float = 0.1
    shutdown_timeout: float = 30.0
    signals: tuple[signal.Signals, ...] = SIGNALS
    timeouts: Timeouts = Timeouts()
    logs: Logs = Logs()
    virtual_local_rank: bool = False
    numa_binding: str | None = None

    def command(self, local_rank: int) -> list[str]:
        """What a worker executes. Python runs unbuffered, so that output appears when printed."""
        python = [os.environ.get("PYTHON_EXEC", sys.executable), "-u"]
        start = {
            "script": python,
            "module": [*python, "-m"],
            "path": [*python, "-c", RUN_PATH],
            "program": [],
        }[self.kind]
        return [*start, self.program, *self.own_arguments(local_rank)]

    def own_arguments(self, local_rank: int) -> list[str]:
        """The program's arguments, where ${local_rank} stands for just that."""
        return [word.replace("${local_rank}", str(local_rank)) for word in self.arguments]
