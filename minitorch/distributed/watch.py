"""When has an operation failed? What this rank knows of the others, and the conclusions.

Three things end an operation, and each is found out by some rank:
- a rank called something else: its messages carry another fingerprint;
- a rank has died, or has left before this call;
- a rank is late: the operation's time is over.
Whoever finds out tells all others (ABORT), and the process group is over on every rank, because the
ranks no longer agree on what comes next.

PyTorch: the watchdog of ProcessGroupNCCL.cpp, and ProcessGroupWrapper.cpp.
"""

import json
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from minitorch.distributed.algorithms import table
from minitorch.distributed.errors import DistBackendError, DistError, DistNetworkError, name_ranks
from minitorch.distributed.link import ANY
from minitorch.distributed.message import Fingerprint, Kind, unpack
from minitorch.distributed.operation import Operation
from minitorch.distributed.transport import Transport

# After this long in one operation a rank tells the others where it is, and for whom it waits, so
# that a time-out can tell the late from the waiting.
NOTICE_SECONDS = 1.0


class Watch:
    """Looks after the operations of one process; `failure` is set when the group is over."""

    def __init__(self, transport: Transport) -> None:
        self.rank = transport.rank
        self.failure: tuple[type[DistError], str] | None = None
        self._transport = transport
        self._reached: dict[tuple[int, int], int] = {}  # (peer, group) -> collective it waits in
        # peer -> the calls that it has been in for a while, and the rank for which each waits
        self._stuck: defaultdict[int, dict[tuple[int, int], tuple[str, int]]] = defaultdict(dict)
        self._left: dict[int, dict[int, int]] = {}  # peer -> group -> its last collective

    def error_for(self, operation: Operation) -> DistError:
        """The error with which an operation ends after the failure."""
        assert self.failure is not None
        error, cause = self.failure
        return error(f"[rank {self.rank}] {operation.label}: {cause}")

    def fail(self, error: type[DistError], cause: str, tell: bool = True) -> None:
        """End the process group, here and (`tell`) on all other ranks. The first cause counts."""
        if self.failure is None:
            self.failure = error, cause
            if tell:
                self._tell_all(Fingerprint("barrier").pack(Kind.ABORT), [error.__name__, cause])

    def say_goodbye(self, last: dict[int, int]) -> None:
        """Tell all ranks that this one leaves, after collective number `last[group]`."""
        self._tell_all(Fingerprint("barrier").pack(Kind.GOODBYE), list(last.items()))

    def hear(self, peer: int, header, payload, active: Iterable[Operation]) -> None:
        """Take note of what a peer says about itself."""
        kind, call = unpack(header)
        if kind is Kind.WAITING:
            lane = call.group, call.number
            if not payload.nbytes:  # it goes on
                self._stuck[peer].pop(lane, None)
                return
            self._stuck[peer][lane] = tuple(json.loads(bytes(payload)))
            if call.number < 0:  # the number of a recv says nothing about ours
                return
            self._reached[peer, call.group] = call.number
            for operation in active:
                if operation.lane == lane and operation.call != call:
                    self.mismatch(operation, peer, header)
        elif kind is Kind.GOODBYE:
            self._left[peer] = dict(json.loads(bytes(payload)))
        elif kind is Kind.ABORT:
            name, cause = json.loads(bytes(payload))
            network = name == DistNetworkError.__name__
            # Passed on, so that whoever hears our goodbye has heard the reason before.
            self.fail(DistNetworkError if network else DistBackendError, cause)

    def inspect(self, active: Iterable[Operation], lost: set[int], now: float) -> None:
        """Look for deaths, departures, and operations that have lasted too long."""
        dead = lost - self._left.keys()
        for operation in active:
            if dead:
                self.fail(
                    DistNetworkError,
                    f"rank {self.rank} has lost {name_ranks(dead)}: killed, stopped or unreachable",
                )
            for peer, last in self._left.items():
                if _needs(operation, peer, last):
                    self.fail(
                        DistNetworkError,
                        f"rank {peer} left the process group after "
                        f"{last.get(operation.call.group, 0)} collectives, while rank {self.rank} "
                        f"is in {operation.label}",
                    )
            elapsed = now - operation.started
            if elapsed > operation.timeout:
                self._time_out(operation)
            elif elapsed > min(NOTICE_SECONDS, operation.timeout / 3):
                self._announce(operation)

    def mismatch(self, operation: Operation, peer: int, header) -> None:
        """A message shows that a peer is in another call than `operation`."""
        theirs, mine = unpack(header)[1], unpack(operation.expected(peer))[1]
        if theirs.named != mine.named and theirs._replace(named=mine.named) == mine:
            self.fail(
                DistBackendError,
                f"the ranks disagree about the algorithms: rank {self.rank} has named "
                f"{table.named()}, rank {peer} others. Call algorithms.use() on every rank, with "
                "the same names, at the same place in the program.",
            )
            return
        ours = str(mine)
        if operation.is_collective:
            group = f" of group {operation.call.group}" if operation.call.group else ""
            what = f"collective #{operation.call.number}{group}"
            advice = "All ranks must call the same, in the same order, on equal sizes and types."
        else:
            what, ours = "a message", ours.replace("send", "recv")
            advice = "Both sides must agree on its size and type."
        self.fail(
            DistBackendError,
            f"the ranks disagree about {what}: rank {self.rank} called {ours}, "
            f"rank {peer} called {theirs}. {advice}",
        )

    def go_on(self, operation: Operation) -> None:
        """An operation is done; the others need to know if they have heard of it."""
        if operation.announced:
            self._tell_all(operation.call.pack(Kind.WAITING))

    def _announce(self, operation: Operation) -> None:
        if not operation.announced:
            operation.announced = True
            where = [operation.label, operation.awaited]
            self._tell_all(operation.call.pack(Kind.WAITING), where)

    def _time_out(self, operation: Operation) -> None:
        group, number = operation.lane
        if operation.is_collective:
            others = [peer for peer in operation.members if peer != self.rank]
            missing = [peer for peer in others if self._reached.get((peer, group), 0) < number]
            failing = "did not call it"
        else:
            missing = [] if operation.awaited == ANY else [operation.awaited]
            failing = "has not sent"
        absent = [peer for peer in missing if not self._stuck[peer]]
        reasons = [f"{name_ranks(absent)} {failing}"] if absent else []
        reasons += [
            f"rank {peer} {self._whereabouts(peer)}" for peer in missing if self._stuck[peer]
        ]
        if not reasons:
            reasons = ["all ranks are in it" if operation.is_collective else "no rank has sent"]
        seconds = round(operation.timeout, 2)
        self.fail(
            DistBackendError,
            f"rank {self.rank} timed out after {seconds:g} s in {operation.label}: "
            + "; ".join(reasons),
        )

    def _whereabouts(self, peer: int) -> str:
        """Where a peer is stuck, and the one for whom it waits, and so on."""
        steps, seen = [], {self.rank}
        while self._stuck[peer] and peer not in seen:
            seen.add(peer)
            label, awaited = next(iter(self._stuck[peer].values()))
            who = "any rank" if awaited == ANY else f"rank {awaited}"
            steps.append(f"is in {label}, waiting for {who}")
            peer = awaited
        return ", which ".join(steps)

    def _tell_all(self, header: bytes, content: list | None = None) -> None:
        payload = None if content is None else np.frombuffer(json.dumps(content).encode(), np.uint8)
        for peer in self._transport.peers:
            self._transport.send(peer, header, payload)


def _needs(operation: Operation, peer: int, last: dict[int, int]) -> bool:
    """Whether an operation needs a peer that left after the collectives in `last`."""
    if not operation.is_collective:
        return operation.awaited == peer
    return peer in operation.members and last.get(operation.call.group, 0) < operation.call.number
