"""A group within the group: run an algorithm among some of the ranks.

What hierarchical algorithms are made of. The algorithm sees a link on which only the members exist,
numbered from 0.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from minitorch.distributed.link import ANY, Link, Steps


def among(link: Link, members: Sequence[int], program: Callable[[Link], Steps]) -> Steps:
    """Run `program` on a link among `members`, of which this rank is one.

    It must say from whom it receives: a message from ANY might come from outside.
    """
    part = _Part(link, members)
    steps = program(part)
    message = None
    with suppress(StopIteration):
        while True:
            source = steps.send(message)  # type: ignore[arg-type]
            link.into = part.into
            message = yield members[source]
            part.source, part.into, link.into = source, link.into, None


class _Part:
    """The link of `among`."""

    def __init__(self, link: Link, members: Sequence[int]) -> None:
        self.rank = members.index(link.rank)
        self.size = len(members)
        self.source = ANY
        self.into: np.ndarray | None = None
        self.costs = link.costs
        self.hosts = tuple([link.hosts[member] for member in members])
        self._link = link
        self._members = members

    def send(self, destination: int, array: np.ndarray) -> None:
        self._link.send(self._members[destination], array)
