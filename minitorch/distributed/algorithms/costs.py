"""What a message costs: the latency-bandwidth model, in which every algorithm is priced.

A message of n bytes takes a + n b seconds: a latency `a` whatever its size, and `b` for each byte.
Combining n received bytes with one's own takes n c. There are two kinds of wires, those within a
host and those between hosts; all ranks of a host share its wire to the others.

Beside each algorithm stands its cost, a formula in these letters (`Terms`). It need not be right to
the microsecond: the question is only which of two is smaller.

NCCL: src/graph/tuning.cc. The formulas: Thakur, Rabenseifner, Gropp, "Optimization of Collective
Communication Operations in MPICH" (2005).
"""

from collections import Counter
from typing import NamedTuple


class Wire(NamedTuple):
    """One kind of wire: a message of n bytes takes `latency` + n `per_byte` seconds."""

    latency: float
    per_byte: float


class Costs(NamedTuple):
    """The prices on a set of machines, in seconds, and the size of pieces that suits them."""

    within: Wire  # between two ranks of one host
    between: Wire  # between two hosts, for all their ranks together
    reduce: float  # combining a byte
    segment: int = 1 << 20  # bytes of the pieces in which large data travels


# What this library's messages cost on common machines; see docs/collectives.md.
LAPTOP = Costs(Wire(5e-5, 2.5e-10), Wire(1e-3, 8e-9), 5e-11)  # 1 Gbit/s between hosts
CLUSTER = Costs(Wire(5e-5, 2.5e-10), Wire(1e-4, 8e-10), 5e-11)  # 10 Gbit/s
DATA_CENTER = Costs(Wire(3e-5, 2e-10), Wire(4e-5, 4e-11), 5e-11)  # 200 Gbit/s


class Terms:
    """A group of ranks on its machines: the letters in which algorithms write down their costs.

    `hosts` has a number for each rank, the same for those that share a host.

        N       ranks
        H       hosts
        rounds  log2(N), rounded up
        a       latency
        b       seconds per byte between neighbours in rank order
        B       seconds per byte when all send to anybody: the ranks of a host share its wire
        c       seconds to combine a byte

    In a group on several hosts the slowest wire sets the pace.
    """

    def __init__(self, costs: Costs, hosts: tuple[int, ...]) -> None:
        self.costs = costs
        self.hosts = hosts
        self.ranks_of = Counter(hosts)  # host -> how many of the ranks it has
        self.N = len(hosts)
        self.H = len(self.ranks_of)
        self.rounds = (self.N - 1).bit_length()
        self.c = costs.reduce
        wires: list[tuple[float, float, float]] = []  # a, b and B of each kind in the group
        if self.H < self.N or self.H == 1:
            latency, per_byte = costs.within
            wires.append((latency, per_byte, per_byte))
        if self.H > 1:
            latency, shared = costs.between
            leaving = Counter(hosts[i - 1] for i in range(self.N) if hosts[i - 1] != hosts[i])
            crowd = max(self.ranks_of.values())
            wires.append((latency, shared * max(leaving.values()), shared * crowd))
        self.a, self.b, self.B = [max(kinds) for kinds in zip(*wires, strict=True)]

    def near(self, nbytes: float) -> float:
        """The seconds of a message to a neighbour in rank order; each segment is one of its own."""
        return max(1, nbytes / self.costs.segment) * self.a + nbytes * self.b

    def far(self, nbytes: float) -> float:
        """The seconds of a message to anybody, while all others send theirs."""
        return max(1, nbytes / self.costs.segment) * self.a + nbytes * self.B
