"""What each rank of a pipeline does, in which order: pure functions, before anything is sent.

Cut a network into stages, one to a rank, and only one rank works at a time: each waits for the one
before it, and in backward for the one behind it. So the batch is cut, too, into micro-batches, and
while rank 1 works on the first, rank 0 begins the second. A *schedule* is the order in which a rank
does the forwards (F) and backwards (B) of its stages. It decides how long the ranks are idle (the
*bubble*) and how many micro-batches' activations a rank has to keep:

    picture(gpipe(2, 3), backward=1)          picture(one_f_one_b(2, 3), backward=1)
    rank 0  F0 F1 F2 .  .  B0 B1 B2           rank 0  F0 F1 .  B0 F2 B1 .  B2
    rank 1  .  F0 F1 F2 B0 B1 B2 .            rank 1  .  F0 B0 F1 B1 F2 B2 .

Invariant: what one rank has to send to another comes in the same order in the list of both. So they
agree on what each message is without a word about it.
PyTorch: torch/distributed/pipelining/schedules.py (`_get_pipeline_order` and its neighbours).
"""

from __future__ import annotations

from typing import NamedTuple

FORWARD, BACKWARD = "F", "B"


class Action(NamedTuple):
    """One piece of work: the forward or the backward of one micro-batch through one stage."""

    stage: int
    kind: str
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


Orders = list[list[Action]]  # by rank


def gpipe(ranks: int, microbatches: int) -> Orders:
    """All forwards, then all backwards: every micro-batch's activations are alive in between."""
    return [
        [Action(rank, kind, i) for kind in (FORWARD, BACKWARD) for i in range(microbatches)]
        for rank in range(ranks)
    ]


def one_f_one_b(ranks: int, microbatches: int, stages_per_rank: int = 1) -> Orders:
    """As few forwards as it takes to keep the later ranks busy, then one backward after each.

    A rank that is n ranks from the end begins with n forwards. So it keeps n + 1 micro-batches'
    activations, however many there are; the bubble is GPipe's.

    With several stages on a rank ("interleaved": rank r has the stages r, r + ranks, ...) a
    micro-batch goes round the ranks several times, and the bubble shrinks by that factor. The ranks
    then take turns in rounds of about as many micro-batches as there are ranks: each round goes
    through all of a rank's stages before the next begins. Raises ValueError if the rounds would be
    unequal.
    """
    n, total = stages_per_rank, stages_per_rank * microbatches
    rounds = max(1, microbatches // ranks) if n > 1 else 1
    if microbatches % rounds:
        raise ValueError(
            f"interleaved 1F1B does {microbatches} micro-batches on {ranks} ranks in {rounds} "
            f"rounds, and {microbatches} does not divide by {rounds}"
        )
    in_round = microbatches // rounds

    def nth(rank: int, kind: str, i: int) -> Action:
        turn, place = divmod(i, in_round)
        lap = turn % n if kind == FORWARD else n - 1 - turn % n
        return Action(rank + lap * ranks, kind, turn // n * in_round + place)

    orders = []
    for rank in range(ranks):
        behind = ranks - 1 - rank
        ahead = min(total, (n - 1) * in_round + (2 if n > 1 else 1) * behind)
        order = [nth(rank, FORWARD, i) for i in range(ahead)]
        for i in range(total - ahead):
            order += [nth(rank, FORWARD, ahead + i), nth(rank, BACKWARD, i)]
        orders.append(order + [nth(rank, BACKWARD, i) for i in range(total - ahead, total)])
    return orders


def most_alive(order: list[Action]) -> int:
    """For how many (stage, micro-batch)es at once a rank keeps the activations."""
    alive = most = 0
    for action in order:
        alive += 1 if action.kind == FORWARD else -1
        most = max(most, alive)
    return most


class Span(NamedTuple):
    """An action with its time."""

    action: Action
    start: float
    end: float


def timeline(orders: Orders, forward: float = 1, backward: float = 2) -> list[list[Span]]:
    """When each rank does what, if a forward and a backward take so long and messages no time.

    Raises ValueError if the ranks wait for each other: such a schedule would deadlock.
    """
    last = max(action.stage for order in orders for action in order)
    ends: dict[Action, float] = {}
    spans: list[list[Span]] = [[] for _ in orders]
    while any(len(spans[r]) < len(order) for r, order in enumerate(orders)):
        before = len(ends)
        for rank, order in enumerate(orders):
            for action in order[len(spans[rank]) :]:
                needed = _needs(action, last)
                if any(other not in ends for other in needed):
                    break
                free = spans[rank][-1].end if spans[rank] else 0
                start = max([free, *[ends[other] for other in needed]])
                ends[action] = start + (forward if action.kind == FORWARD else backward)
                spans[rank].append(Span(action, start, ends[action]))
        if len(ends) == before:
            stuck = [str(o[len(spans[r])]) for r, o in enumerate(orders) if len(spans[r]) < len(o)]
            raise ValueError(f"the ranks wait for each other, at {', '.join(stuck)}")
    return spans


def _needs(action: Action, last: int) -> list[Action]:
    """What has to be done, on whichever rank, before `action`."""
    stage, kind, i = action
    if kind == FORWARD:
        return [Action(stage - 1, FORWARD, i)] if stage > 0 else []
    return [Action(stage + 1, BACKWARD, i) if stage < last else Action(stage, FORWARD, i)]


def bubble(spans: list[list[Span]]) -> float:
    """The share of the ranks' time in which they are idle: for GPipe (ranks - 1) / (microbatches
    + ranks - 1)."""
    everything = [span for rank in spans for span in rank]
    duration = max(span.end for span in everything) - min(span.start for span in everything)
    busy = sum(span.end - span.start for span in everything)
    return 1 - busy / (duration * len(spans))


def picture(orders: Orders, forward: int = 1, backward: int = 2) -> str:
    """The schedule as text: a row for each rank, a column for each unit of time, dots for idle.

    An entry is F or B with the number of the micro-batch; with several stages on a rank, the stage
    before it.
    """
    rows = []
    for order, spans in zip(orders, timeline(orders, forward, backward), strict=True):
        several = len({action.stage for action in order}) > 1
        row: list[str] = []
        for action, start, end in spans:
            row += ["."] * (int(start) - len(row))
            row += [str(action) if several else str(action)[len(str(action.stage)) :]] * int(
                end - start
            )
        rows.append(row)
    length = max(len(row) for row in rows)
    width = max(len(entry) for row in rows for entry in row)
    lines = []
    for rank, row in enumerate(rows):
        row += ["."] * (length - len(row))
        lines.append(f"rank {rank}  " + " ".join(f"{entry:<{width}}" for entry in row).rstrip())
    return "\n".join(lines)
