"""Who holds what: replays the chunks of a collective, as they were recorded, round by round.

What a rank holds of a piece of the data is the set of ranks whose shares are in it: {1} is its own,
{0, 1} a partial sum. A message carries the set that its sender held when it sent. The receiver
combined it into its own (then there is an event that says so), or put it in place of its own.

A message's round is the number of hops that lie behind what it carries: data goes on in round 2
when it came in round 1. In a ring these are the rounds of the algorithm, in a tree its levels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from typing import Any, NamedTuple

from .recording import Event, Recording

# Every rank begins with a share of all the data in these; in the others only with its own block.
REDUCING = ("all_reduce", "reduce_scatter")

Shares = frozenset  # of the ranks whose shares are in a piece of the data


class Move(NamedTuple):
    """Blocks `first` to `last` (inclusive) go from one rank to another.

    `after` is what the receiver holds of each of them when the round is over; `sent` is when the
    first message left, `received` when the last one had come.
    """

    source: int
    target: int
    first: int
    last: int
    combined: bool
    nbytes: int
    messages: int
    sent: int
    received: int
    after: tuple[Shares, ...]


class Collective(NamedTuple):
    """A collective. `blocks` are the edges, in bytes, of what travels together. `start` is what
    each member holds of each block before `rounds`."""

    name: str
    group: int
    op: str
    nbytes: int
    begin: int
    end: int
    members: list[int]
    blocks: list[int]
    start: dict[int, list[Shares]]
    rounds: list[list[Move]]

    def states(self) -> list[dict[int, list[Shares]]]:
        """What every member holds of every block: before the first round, and after each."""
        states = [self.start]
        for moves in self.rounds:
            now = {rank: list(held) for rank, held in states[-1].items()}
            for move in moves:
                now[move.target][move.first : move.last + 1] = move.after
            states.append(now)
        return states


def collectives(recording: Recording) -> list[Collective]:
    """Those that can be replayed, in the order of their beginnings: every member's record is
    there, and every message says what part of the data it carried."""
    calls: dict[tuple, dict[int, list[Event]]] = defaultdict(lambda: defaultdict(list))
    spans: dict[tuple, dict[int, Event]] = defaultdict(dict)
    for process in recording.processes:
        if process.rank is None:
            continue
        for event in process.events:
            key = event.details.get("group"), event.name
            if event.kind == "collective" and not event.details["failed"]:
                spans[key][process.rank] = event
            elif event.kind in ("send", "receive", "combine") and event.details["bytes"]:
                calls[key][process.rank].append(event)
    found = []
    for key, by_rank in spans.items():
        members = next(iter(by_rank.values())).details["members"]
        if by_rank.keys() == set(members) and calls[key] and _has_places(calls[key]):
            replay = _Replay(by_rank, calls[key], members)
            if replay.complete:
                found.append(replay.collective())
    return sorted(found, key=lambda c: c.begin)


def _has_places(by_rank: dict[int, list[Event]]) -> bool:
    return all(
        e.kind == "receive" or e.details["place"] is not None
        for events in by_rank.values()
        for e in events
    )


class _Replay:
    """Plays the ranks' events, each rank's in its order, and a receive after its send."""

    def __init__(self, spans: dict[int, Event], by_rank: dict[int, list[Event]], members) -> None:
        self.spans = spans
        self.members = members
        self.op = spans[members[0]].details["op"]
        events = [e for part in by_rank.values() for e in part if e.kind != "receive"]
        edges = {(e.details["place"], e.details["place"] + e.details["bytes"]) for e in events}
        self.edges = sorted(set(sum(edges, ())))
        pieces = len(self.edges) - 1
        own = self.op in REDUCING
        self.start = {r: [Shares([r] if own else [])] * pieces for r in members}
        self.held = {r: list(held) for r, held in self.start.items()}
        self.hops = {r: [0] * pieces for r in members}
        self.arrived: dict[tuple, deque] = defaultdict(deque)
        # (round, rank, piece) -> what the rank holds of it when the round is over
        self.after: dict[tuple[int, int, int], Shares] = {}
        # (round, source, target) -> piece -> (whether it was combined, when it was sent, received)
        self.moves: dict[tuple, dict[int, Any]] = defaultdict(dict)
        queues = {rank: deque(by_rank.get(rank, ())) for rank in members}
        going_on = True
        while going_on:
            going_on = any([self._play(rank, queue) for rank, queue in queues.items()])
        self.complete = not any(queues.values())

    def _play(self, rank: int, queue: deque[Event]) -> bool:
        """Play a rank's events up to a receive whose message is still to be sent."""
        before = len(queue)
        while queue:
            event = queue[0]
            if event.kind == "send":
                self._send(rank, event)
            elif event.kind == "combine":  # without a message: with what it had kept of its own
                for piece in self._pieces(event):
                    self._hold(rank, piece, self.held[rank][piece] | {rank})
            elif not self.arrived[event.details["peer"], rank]:
                break
            else:
                combined = len(queue) > 1 and queue[1].kind == "combine"
                self._receive(rank, event, combined)
                if combined:
                    queue.popleft()
            queue.popleft()
        return len(queue) < before

    def _pieces(self, event: Event) -> range:
        place = event.details["place"]
        end = place + event.details["bytes"]
        return range(bisect_left(self.edges, place), bisect_left(self.edges, end))

    def _send(self, rank: int, event: Event) -> None:
        pieces = self._pieces(event)
        for piece in pieces:
            if not self.held[rank][piece]:  # what a rank sends without having got it is its own
                self.held[rank][piece] = self.start[rank][piece] = Shares([rank])
        shares = [self.held[rank][piece] for piece in pieces]
        number = max(self.hops[rank][piece] for piece in pieces)
        self.arrived[rank, event.details["peer"]].append((event, pieces, shares, number))

    def _receive(self, rank: int, event: Event, combined: bool) -> None:
        source = event.details["peer"]
        sent, pieces, shares, number = self.arrived[source, rank].popleft()
        # Not before the round in which the last message for the same place came.
        number = max(number, *[self.hops[rank][piece] - 1 for piece in pieces])
        for piece, share in zip(pieces, shares, strict=True):
            self.hops[rank][piece] = number + 1
            self._hold(rank, piece, share | self.held[rank][piece] if combined else share)
            self.moves[number, source, rank][piece] = combined, sent.start, event.start

    def _hold(self, rank: int, piece: int, shares: Shares) -> None:
        self.held[rank][piece] = self.after[self.hops[rank][piece] - 1, rank, piece] = shares

    def collective(self) -> Collective:
        """Pieces that always travel together become one block."""
        numbers = range(len(self.edges) - 1)
        story: list[list] = [[self.start[r][i] for r in self.members] for i in numbers]
        for key, pieces in sorted(self.moves.items()):
            for piece, (combined, _, _) in pieces.items():
                story[piece].append((key, self.after[key[0], key[2], piece], combined))
        cuts = [0, *[i for i in numbers[1:] if story[i] != story[i - 1]], len(numbers)]
        block_of = {i: b for b in range(len(cuts) - 1) for i in range(cuts[b], cuts[b + 1])}
        rounds: list[list[Move]] = [[] for _ in range(1 + max(n for n, _, _ in self.moves))]
        for (number, source, target), pieces in sorted(self.moves.items()):
            for run in _runs(sorted(pieces)):
                happened = [pieces[i] for i in run]
                first, last = block_of[run[0]], block_of[run[-1]]
                rounds[number].append(
                    Move(
                        source,
                        target,
                        first,
                        last,
                        any(combined for combined, _, _ in happened),
                        self.edges[run[-1] + 1] - self.edges[run[0]],
                        len({sent for _, sent, _ in happened}),
                        min(sent for _, sent, _ in happened),
                        max(received for _, _, received in happened),
                        tuple(self.after[number, target, cuts[b]] for b in range(first, last + 1)),
                    )
                )
        return Collective(
            next(iter(self.spans.values())).name,
            next(iter(self.spans.values())).details["group"],
            self.op,
            self.edges[-1],
            min(e.start for e in self.spans.values()),
            max(e.end for e in self.spans.values()),
            self.members,
            [self.edges[cut] for cut in cuts],
            {r: [held[cut] for cut in cuts[:-1]] for r, held in self.start.items()},
            rounds,
        )


def _runs(numbers: list[int]) -> list[list[int]]:
    """Consecutive numbers together."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return runs
