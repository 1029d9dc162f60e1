"""One job on one node, from the first worker's start to the last one's end.

The loop, in short: wait until the nodes of a round have come; start the workers; watch them, and
tell the other nodes who fails or that all have ended, until the verdict on the round comes; stop
them. If the verdict is to start again, do all that once more.

The invariant: however the job ends (all workers through, one fails, another node fails, a signal),
the same three things happen in this order: the workers are gone, what they printed is printed, and
the last thing said is why.

PyTorch: torch/distributed/elastic/agent/server/api.py
"""

import signal

from minitorch.distributed.launcher.environment import Place
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.launcher.logs import LogFolder
from minitorch.distributed.launcher.nodes import Nodes, NotNeeded, Verdict
from minitorch.distributed.launcher.report import report, report_restart, say
from minitorch.distributed.launcher.signals import Signals, Stopped
from minitorch.distributed.launcher.watchdog import Watchdog
from minitorch.distributed.launcher.workers import Workers


def run(job: Job) -> int:
    """Run the job; returns the launcher's exit code.

    That is 0 when all workers on all nodes ended with 0, else the root cause's own exit code,
    128 + signal where a signal killed it, and 128 + signal when one stopped the launcher.
    Raises DistError when the nodes do not come together.
    """
    signals = Signals(job.signals)
    logs = watchdog = nodes = None
    code = 1
    try:
        logs = LogFolder(job.logs, job.run_id)
        watchdog = Watchdog(logs.path if logs.is_temporary and not logs.has_output else "")
        nodes = Nodes(job)
        signals.interrupt = False
        verdict = _round(job, nodes, logs, watchdog, signals)
        while verdict.restart:
            verdict = _round(job, nodes, logs, watchdog, signals)
        code = verdict.exit_code
        return code
    except Stopped as stopped:
        if nodes is not None:
            nodes.leave(str(stopped), stopped.exit_code)
        say(str(stopped))
        return stopped.exit_code
    except NotNeeded as news:
        say(str(news))
        code = 0
        return code
    finally:
        signals.interrupt = False
        if nodes is not None:
            nodes.close()
        if watchdog is not None:
            watchdog.close()
        if logs is not None and (kept := logs.close(success=code == 0)):
            say(f"the output of the workers is in {kept}")
        signals.restore()


def _round(
    job: Job, nodes: Nodes, logs: LogFolder, watchdog: Watchdog, signals: Signals
) -> Verdict:
    """Start the workers, once all nodes are there, and stay with them until the verdict."""
    place = nodes.next_round(signals.check, say)
    workers = Workers(job, place, nodes.node, logs, watchdog)
    told = False
    try:
        verdict = None
        while verdict is None:
            for failure in workers.watch(job.monitor_interval if workers.running else 0):
                nodes.failed(failure)
            if not workers.running and not told:
                nodes.idle()
                told = True
            signals.check()
            verdict = nodes.verdict(0 if workers.running else job.monitor_interval)
    except Stopped as stopped:
        nodes.leave(str(stopped), stopped.exit_code)
        workers.stop(stopped.signum, job.shutdown_timeout, lambda: len(signals.received) > 1)
        raise
    finally:
        workers.stop(signal.SIGTERM, job.shutdown_timeout, lambda: bool(signals.received))
    _tell(verdict, place, quiet=place.world_size == 1 and not logs.takes(0))
    return verdict


def _tell(verdict: Verdict, place: Place, quiet: bool) -> None:
    """Say how the round has ended. `quiet`: the only worker has had the terminal to itself, so all
    that it had to say stands there already."""
    if verdict.restart:
        report_restart(verdict.failures, verdict.why)
    elif not quiet or any(f.launcher or f.returncode < 0 for f in verdict.failures):
        report(verdict.failures, verdict.why)
