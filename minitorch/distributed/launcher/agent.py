"""One job on one node, from the first worker's start to the last one's end.

The invariant: however the job ends (all workers through, one fails, another node fails, a signal),
the same three things happen in this order: the workers are gone, what they printed is printed, and
the last thing said is why.

PyTorch: torch/distributed/elastic/agent/server/api.py
"""

import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta

from minitorch.distributed.launcher.nodes import Nodes
from minitorch.distributed.launcher.output import Output
from minitorch.distributed.launcher.watchdog import Watchdog
from minitorch.distributed.launcher.workers import Failure, Workers

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

# A rank that fails closes its connections a little before its process ends, so that its peers may
# end first, complaining of it. So long is waited for the one with a cause of its own.
ROOT_CAUSE_WAIT = 2.0

# A rank that was killed could not say what it was doing; its peers can, and do so within this time.
LAST_WORDS_WAIT = 3.0


class Stopped(Exception):
    """A signal told the launcher to end."""

    def __init__(self, signum: int):
        super().__init__(f"was stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum


class Signals:
    """The signals that end the launcher. They interrupt it at once while `interrupt` is set, else
    they are noted and `check` raises Stopped."""

    def __init__(self):
        self.received: list[int] = []
        self.interrupt = True
        self._before = {
            signum: signal.signal(signum, self._handle)
            for signum in SIGNALS
            if signal.getsignal(signum) is not signal.SIG_IGN  # as nohup wants it
        }

    def _handle(self, signum, frame):
        self.received.append(signum)
        if self.interrupt:
            self.check()

    def check(self) -> None:
        if self.received:
            raise Stopped(self.received[0])

    def restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)


@dataclass(frozen=True)
class Job:
    """What the command line asked for."""

    command: list[str]
    nproc: int
    nnodes: int = 1
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 0
    shutdown_timeout: float = 30.0
    join_timeout: timedelta = timedelta(seconds=300)


def run(job: Job) -> int:
    """Run the job; returns the launcher's exit code.

    That is 0 when all workers on all nodes ended with 0, else the root cause's own exit code,
    128 + signal where a signal killed it, and 128 + signal when one stopped the launcher.
    Raises DistError when the nodes do not come together.
    """
    scratch = tempfile.mkdtemp(prefix="minitorchrun-")
    watchdog = Watchdog(scratch)
    signals = Signals()
    nodes = None
    try:
        nodes = Nodes(
            job.node_rank, job.nnodes, job.nproc, job.master_addr, job.master_port,
            job.join_timeout,
        )  # fmt: skip
        return _supervise(job, nodes, watchdog, signals)
    except Stopped as stopped:
        if nodes is not None:
            nodes.failed(stopped.exit_code, f"the launcher of node {job.node_rank} {stopped}")
        _say(str(stopped))
        return stopped.exit_code
    finally:
        signals.interrupt = False
        if nodes is not None:
            nodes.close()
        watchdog.close()
        shutil.rmtree(scratch, ignore_errors=True)
        signals.restore()


def _supervise(job: Job, nodes: Nodes, watchdog: Watchdog, signals: Signals) -> int:
    output = Output()
    signals.interrupt = False  # or one could come between a worker's start and its registration
    workers = Workers(job.command, nodes.place, output, watchdog)
    through = False
    try:
        while nodes.outcome is None and not workers.failures:
            workers.watch(0.05)
            signals.check()
            if not workers.running and not workers.failures and not through:
                nodes.succeeded()
                through = True
        end = time.monotonic() + ROOT_CAUSE_WAIT
        while workers.only_consequences and nodes.outcome is None and time.monotonic() < end:
            if not workers.running and job.nnodes == 1:
                break
            workers.watch(0.05)
            signals.check()
        end = time.monotonic() + LAST_WORDS_WAIT
        while workers.awaits_a_witness and time.monotonic() < end:
            workers.watch(0.05)
            signals.check()
    except Stopped as stopped:
        workers.stop(stopped.signum, job.shutdown_timeout, lambda: len(signals.received) > 1)
        raise
    finally:
        workers.stop(signal.SIGTERM, job.shutdown_timeout, lambda: bool(signals.received))

    failure = workers.root_cause
    outcome = nodes.outcome
    if failure is not None:
        outcome = nodes.failed(failure.exit_code, f"{failure} on node {job.node_rank}")
    assert outcome is not None
    if outcome["message"] and job.nnodes > 1:
        _say(f"the job ended because {outcome['message']}")
    if failure is not None and outcome["message"].startswith(str(failure)):
        _report(failure, workers.failures, alone=nodes.place.nproc == 1)
    return outcome["exit_code"]


def _report(failure: Failure, failures: list[Failure], alone: bool) -> None:
    """Say why the job ended, and the root cause's own traceback last."""
    if alone:
        # Its stderr was the launcher's own, so that all it had to say stands there already.
        if failure.returncode < 0:
            _say(str(failure))
        return
    for other in failures:
        if other is not failure:
            _say(f"{other} as well")
    said = b"\n".join(failure.traceback).decode(errors="replace")
    first = " first" if len(failures) > 1 else ""
    witness = next((f for f in failures if f.is_consequence), None)
    if not said and witness is not None:
        said = f"rank {witness.rank}: " + witness.traceback[-1].decode(errors="replace")
        _say(f"{failure}{first}. What a peer says of it:")
        print(said, file=sys.stderr, flush=True)
        return
    _say(f"{failure}{first}{', saying:' if said else ''}")
    if said:
        print(said, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(f"minitorchrun: {text}", file=sys.stderr, flush=True)
