"""What gradients a backward should bring, and what is said if it brings others.

There are three kinds of expectations:
- by default each parameter gets one gradient, on every rank;
- with find_unused_parameters, any may get none, in any step, on any rank;
- with static_graph, every backward is like the first: as many gradients for each parameter (several
  come of reentrant checkpoints), and none on as many ranks.
Invariant: the ranks judge by the same numbers, so all raise, or none.
PyTorch: torch/csrc/distributed/c10d/reducer.cpp, which complains at the next forward, by index.
"""

from __future__ import annotations

from ...autograd.graph import edge_of

TWICE = (
    "Expected to mark a variable ready only once: the gradient of {1} came a second time in one "
    "backward. Either the parameter is also used outside of `forward`, or by several reentrant "
    "backward passes (`checkpoint(..., use_reentrant=True)` twice over one layer, or once with "
    "find_unused_parameters=True): use use_reentrant=False. If every step has the same graph, "
    "static_graph=True helps, too."
)
MISSING = (
    "backward left {0} parameter(s) without a gradient: {1}. Every parameter of a "
    "DistributedDataParallel module must take part in the loss. If some do only in some steps, "
    "pass find_unused_parameters=True; those that never do, freeze with requires_grad=False before "
    "wrapping the module. Losses of several outputs: add them up, and call backward() once."
)
CHANGED = (
    "Your training graph has changed in this iteration, which is not compatible with "
    "static_graph=True: {0} parameter(s) are used otherwise than in the first backward: {1}. Use "
    "find_unused_parameters=True instead."
)


class Expectation:
    """What is known of a backward in advance. `names` are the parameters and their names."""

    def __init__(self, names: dict, ranks: int, find_unused: bool):
        self.names = names
        self.ranks = ranks
        self.find_unused = find_unused
        self.static_graph = False
        # How often a parameter's hook is called on this rank. None: the first backward will show.
        self.calls: dict | None = dict.fromkeys(names, 1)
        # For each parameter, how many ranks have no gradient. None: that may change, or will show.
        self.without: list | None = None if find_unused else [0] * len(names)

    def set_static_graph(self) -> None:
        """Every backward has the same graph."""
        self.static_graph, self.find_unused = True, False
        self.calls = self.without = None

    def unused(self, backward, first=None) -> list:
        """At the start of a backward, with its `first` gradient: who gets none, as far as known.

        The engine has walked the graph, and counts the edges into each leaf.
        """
        if self.find_unused:
            return [p for p in self.names if p is not first and not backward.awaits(edge_of(p))]
        return [p for p in self.names if self.calls is not None and not self.calls[p]]

    def is_complete(self, parameter, calls: int) -> bool:
        """Whether a gradient is complete with this call of its hook, as far as known."""
        return self.calls is not None and calls == self.calls[parameter]

    def once_too_often(self, parameter) -> str:
        """What to say of a hook that is called for a gradient which was taken for complete."""
        return (CHANGED if self.static_graph else TWICE).format(1, self.names[parameter])

    def judge(self, without: list[int], calls: dict, touched: set) -> None:
        """Raise RuntimeError if it came otherwise.

        without: for each parameter, how many ranks have no gradient. Of this rank, `calls` says how
        often hooks were called, and `touched` is the set of parameters that have a gradient.
        """
        if self.calls is None:  # the first backward of a static graph
            self.calls = {p: calls.get(p, 0) for p in self.names}
            self.without = without
        if self.without is None:
            return
        wrong = []
        for p, count, expected in zip(self.names, without, self.without, strict=True):
            if count != expected:
                here = "not on this one" if p in touched else "also on this one"
                some = f" (on {count} of {self.ranks} ranks, {here})" if count < self.ranks else ""
                wrong.append(self.names[p] + some)
        if wrong:
            text = CHANGED if self.static_graph else MISSING
            raise RuntimeError(text.format(len(wrong), ", ".join(sorted(wrong))))
