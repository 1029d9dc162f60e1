"""One launcher decides for all: when the nodes have come together, and how a round ends.

Why it exists: the launchers of a job must agree which of them take part, in which order, which
failure was first, and whether to start again. The launcher that hosts the store decides, since
without it the job is over anyway; so no vote is needed, and no lock.

How it works: the launchers put *events* into one queue ("ready", "failed", "idle", "leaving",
"beat"); their order in the queue is the order that counts, and no clock of another machine does.
The coordinator takes them out and writes a *journal*, whose pages every launcher reads in order:
"waiting" (for whom), "round" (who takes part; start your workers), "restart", "end", "refused".

The invariant: this class is nothing but those decisions. It has no sockets and no threads, gets
the time as an argument, and so can be tested as one writes down a conversation.

PyTorch: torch/distributed/elastic/rendezvous/dynamic_rendezvous.py
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from minitorch.distributed.launcher.failure import Failure, root_cause
from minitorch.distributed.launcher.job import Job

# A rank that fails closes its connections a little before its process ends, so that its peers may
# end first, complaining of it. So long is waited for the one with a cause of its own.
ROOT_CAUSE_WAIT = 2.0

# A rank that was killed could not say what it was doing; its peers can, and do so within this time.
LAST_WORDS_WAIT = 3.0


@dataclass
class Member:
    """A node's launcher, as its first event has introduced it."""

    id: int
    name: str
    nproc: int
    role: str
    nnodes: str
    run_id: str
    node_rank: int | None
    is_host: bool
    heard: float = 0.0
    ready: bool = False
    idle: bool = False  # its workers have ended
    seat: int | None = None  # its node rank in this round, or in the last


class Coordinator:
    """Hears events, and writes pages to `journal`."""

    def __init__(self, job: Job, place: str, now: float):
        self.journal: list[dict[str, Any]] = []
        self.over = False
        self.members: dict[int, Member] = {}
        self.listeners: set[int] = set()  # who reads the journal: the members, and who was refused
        self._job = job
        self._place = place  # where the nodes meet, for messages
        self._round = 0
        self._gathering = True
        self._since = now  # when gathering began
        self._enough: float | None = None  # since when there have been enough nodes
        self._failures: list[Failure] = []
        self._failed_at = 0.0
        self._restarts_left = job.max_restarts
        self._fixed = job.node_rank is not None  # static: each node has been told its rank

    def hear(self, event: dict[str, Any], now: float) -> None:
        """Take note of one event."""
        kind, number = event["kind"], event["id"]
        self.listeners.add(number)
        if kind == "leaving":
            self.listeners.discard(number)
        if kind == "ready" and number not in self.members:
            self._join(Member(**event["about"]), now)
        member = self.members.get(number)
        if member is None:  # it was refused, or is thought to be gone
            return
        member.heard = now
        if kind == "ready":
            member.ready = True
            self._tell_who_is_missing()
        elif kind == "leaving":
            self._lose(member, event["why"], event["exit_code"], now)
        elif event.get("round") != self._round or self._gathering:
            return  # news from a round that is over
        elif kind == "failed":
            self._fail(Failure(**event["failure"]), now)
        elif kind == "idle":
            member.idle = True

    def look(self, gone: Iterable[int], now: float) -> None:
        """Decide what is due. `gone` are listeners that have hung up."""
        self.listeners.difference_update(gone)
        limit = self._job.timeouts.silence
        for member in list(self.members.values()):
            if member.id in gone:
                self._lose(member, "is gone: it was killed, or its machine has failed", 1, now)
            elif now - member.heard > limit:
                self._lose(member, f"has given no sign of life for {limit:g} s", 1, now)
        if self.over:
            return
        if self._gathering:
            self._try_to_begin(now)
        elif self._failures:
            self._judge(now)
        elif all(member.idle for member in self._seated):
            self._end("", 0)

    @property
    def _seated(self) -> list[Member]:
        """Who takes part in this round, or has in the last, in order."""
        seated = [member for member in self.members.values() if member.seat is not None]
        return sorted(seated, key=lambda member: member.seat or 0)

    def _join(self, new: Member, now: float) -> None:
        problem = self._objection(new)
        beginning = self._gathering and self._round == 0
        full = not self._gathering and len(self._seated) == self._job.max_nodes
        if self.over:
            problem = "the job is over"
        elif full and not problem and not self._restarts_left:
            problem = f"the job at {self._place} has all its nodes, and no restarts left"
        if problem:
            self._write("refused", id=new.id, why=problem)
            if beginning and not self.over:  # who knows which of them is wrong
                self._end(problem, 1)
            return
        new.heard = now
        self.members[new.id] = new
        ending = bool(self._failures) or any(member.idle for member in self._seated)
        if not (self._gathering or full or ending):
            self._restart(f"{new.name} has joined", now)
        elif full:
            self._write(
                "waiting", missing=f"a place in the job at {self._place}, which has all its nodes"
            )

    def _objection(self, new: Member) -> str:
        """Why this launcher cannot be one of the job; empty if it can."""
        job = self._job
        nnodes = f"{job.min_nodes}:{job.max_nodes}"
        if new.run_id != job.run_id:
            return (
                f"{new.name} came to {self._place} for the job {new.run_id!r}, but the one there "
                f"is {job.run_id!r}: give each job its own port"
            )
        if new.nnodes != nnodes or (new.node_rank is None) is self._fixed:
            return (
                f"{new.name} came to {self._place} for a job of {_nodes(new.nnodes)}, but the "
                f"others for one of {_nodes(nnodes)}: start all with the same --nnodes and "
                f"--rdzv_backend"
            )
        for other in self.members.values():
            if self._fixed and other.node_rank == new.node_rank:
                return (
                    f"node rank {new.node_rank} at {self._place} is taken twice: by {other.name} "
                    f"and by {new.name}. Give each node its own --node_rank"
                )
        return ""

    def _tell_who_is_missing(self) -> None:
        job, ready = self._job, [member for member in self.members.values() if member.ready]
        if not self._gathering or len(ready) >= job.max_nodes:
            return
        absent = set(range(job.max_nodes)) - {member.node_rank for member in ready}
        which = f": node {', '.join(map(str, sorted(absent)))}" if self._fixed else ""
        enough = job.min_nodes if len(ready) < job.min_nodes else job.max_nodes
        self._write(
            "waiting",
            missing=f"{enough - len(ready)} of {enough} nodes at {self._place}{which}",
        )

    def _try_to_begin(self, now: float) -> None:
        job, limits = self._job, self._job.timeouts
        ready = [member for member in self.members.values() if member.ready]
        if len(ready) < job.min_nodes:
            self._enough = None
            if now - self._since > limits.join:
                self._tell_who_is_missing()
                missing = self.journal[-1].get("missing")
                self._end(
                    f"{missing} did not come within {limits.join:g} s: are they started, with this "
                    f"address, and can they reach it?",
                    1,
                )
            return
        self._enough = now if self._enough is None else self._enough
        # After the first round those who were there are waited for, but nobody else.
        complete = all(m.ready for m in self.members.values()) and self._round > 0
        if len(ready) < job.max_nodes and not complete and now - self._enough < limits.last_call:
            return
        if any(not member.ready and member.seat is not None for member in self.members.values()):
            return  # still stopping its workers
        # Whoever was there keeps its place before the others, so that ranks change little.
        ready.sort(key=lambda m: (m.seat is None, m.seat or 0, not m.is_host, m.name, m.id))
        chosen = ready[: job.max_nodes]
        if self._fixed:
            chosen.sort(key=lambda member: member.node_rank or 0)
        for member in self.members.values():
            member.seat = None
        for seat, member in enumerate(chosen):
            member.seat, member.ready, member.idle = seat, False, False
        self._gathering, self._failures, self._enough = False, [], None
        self._write("round", round=self._round, seats=[asdict(member) for member in chosen])

    def _lose(self, member: Member, what: str, exit_code: int, now: float) -> None:
        """A member leaves, or has left."""
        del self.members[member.id]
        who = f"the launcher of node {member.seat} ({member.name})"
        if self.over:
            return
        if member.is_host:
            self._end(f"{who} {what}", exit_code)
        elif not self._gathering and member.seat is not None:
            # An idle one as well: it has not heard yet that the others are through.
            self._fail(Failure(-1, 0, exit_code, launcher=f"{who} {what}"), now)
        else:
            self._tell_who_is_missing()

    def _fail(self, failure: Failure, now: float) -> None:
        if not self._failures:
            self._failed_at = now
        self._failures.append(failure)

    def _judge(self, now: float) -> None:
        """After a failure: wait for the one behind it, and for a witness; then restart or end."""
        cause = root_cause(self._failures)
        assert cause is not None
        waited = now - self._failed_at
        if not all(member.idle for member in self._seated):
            if cause.is_consequence and waited < ROOT_CAUSE_WAIT:
                return
            witnessed = any(failure.is_consequence for failure in self._failures)
            if cause.returncode < 0 and not witnessed and waited < LAST_WORDS_WAIT:
                return
        # A launcher that was told to end ends the job, unless fewer nodes are enough for it.
        told = cause.launcher and cause.exit_code > 128
        if self._restarts_left and not (told and len(self._seated) < self._job.min_nodes):
            self._restarts_left -= 1
            used = self._job.max_restarts - self._restarts_left
            self._restart(f"restart {used} of {self._job.max_restarts}", now)
        else:
            self._end(str(cause), cause.exit_code)

    def _restart(self, why: str, now: float) -> None:
        self._write("restart", why=why, failures=[asdict(f) for f in self._failures], exit_code=0)
        self._round += 1
        self._gathering, self._since = True, now

    def _end(self, why: str, exit_code: int) -> None:
        failures = [asdict(failure) for failure in self._failures]
        self._write("end", why=why, failures=failures, exit_code=exit_code)
        self.over = True

    def _write(self, kind: str, **page: Any) -> None:
        self.journal.append({"kind": kind, **page})


def _nodes(text: str) -> str:
    low, high = text.split(":")
    return low if low == high else text
