"""Join: training when some ranks have fewer batches than others.

Why: every step of data-parallel training is a set of collectives, in which all ranks must take
part. A rank that runs out of data would leave the others waiting. Inside `with Join([...])` it
stays instead, and plays its part in their collectives without data of its own ("shadows" them),
until the last rank is through.
Invariant: each step begins with one all_reduce that counts the ranks that still have data. Those
that have enter it in `notify_join_context`, which the first joinable calls before all its other
collectives; those that are through enter it in the loop of `__exit__`. So the latter know whether
there is one more step to shadow, and the collectives always pair up.

What is done in such a step, only the object knows whose collectives they are: it is a `Joinable`,
and gives a `JoinHook`. DistributedDataParallel and ZeroRedundancyOptimizer are Joinables, and
several can share one Join, in the order of the list.
PyTorch: torch/distributed/algorithms/join.py.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import minitorch as torch
import minitorch.distributed as dist
from minitorch.distributed.errors import DistError

__all__ = ["Join", "JoinHook", "Joinable"]

MANY_STEPS = 1000  # a rank that has shadowed so many is warned, once


class JoinHook:
    """What a rank that is through does for a Joinable. Mirrors torch's JoinHook."""

    def main_hook(self) -> None:
        """Shadow the collectives of one step: forward, backward and the optimizer's."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """All ranks are through; `is_last_joiner`: this one was among the last."""


@dataclass
class _JoinConfig:
    """What a Joinable knows about the Join that it is in."""

    enable: bool = False
    throw_on_early_termination: bool = False
    is_first_joinable: bool = False
    batches: int = 0  # that have begun in this context


class Joinable(ABC):
    """What can be in a Join: has collectives in each step. Mirrors torch's Joinable.

    It must call `Join.notify_join_context(self)` before its first collective of each step.
    """

    @abstractmethod
    def __init__(self) -> None:
        super().__init__()
        self._join_config = _JoinConfig()

    @abstractmethod
    def join_hook(self, **kwargs) -> JoinHook:
        """A hook for one Join, to all of whose joinables the same `kwargs` are given."""

    @property
    @abstractmethod
    def join_device(self) -> torch.device:
        """Where the tensors for Join's own collectives live."""

    @property
    @abstractmethod
    def join_process_group(self) -> Any:
        """The group of Join's own collectives: the same for all its joinables."""


class Join:
    """`with Join([ddp, optimizer]):` around a loop over batches. Mirrors torch's Join.

    enable: False does nothing, for inputs known to be even. throw_on_early_termination: end
    training on all ranks as soon as the first is through, by a RuntimeError that says which rank
    that was and after how many batches. kwargs: for the joinables' `join_hook`. Raises ValueError
    for no joinables, or for several process groups.
    """

    def __init__(
        self,
        joinables: list[Joinable],
        enable: bool = True,
        throw_on_early_termination: bool = False,
        **kwargs,
    ):
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        groups = {_group_of(joinable) for joinable in joinables}
        if len(groups) > 1:
            raise ValueError("Using join context manager with multiple process groups")
        self._joinables = joinables
        self._join_hooks = [joinable.join_hook(**kwargs) for joinable in joinables]
        self._enable = enable
        self._throw_on_early_termination = throw_on_early_termination
        for i, joinable in enumerate(joinables):
            joinable._join_config = _JoinConfig(enable, throw_on_early_termination, i == 0)

    def __enter__(self) -> None:
        pass

    def __exit__(self, type, value, traceback) -> None:
        """This rank is through: shadow the others until they are, too. An error ends it at once."""
        try:
            if self._enable and type is None:
                self._shadow_the_others()
        finally:
            for joinable in self._joinables:
                joinable._join_config = _JoinConfig()

    def _shadow_the_others(self) -> None:
        first = self._joinables[0]
        shadowed = 0
        while self._count_the_others(first):
            if self._throw_on_early_termination:
                batches = first._join_config.batches
                _those_through(first, batches + 1)
                raise RuntimeError(
                    f"Rank {_rank_in(first)} exhausted all inputs, after {batches} batches."
                )
            for hook in self._join_hooks:
                hook.main_hook()
            shadowed += 1
            if shadowed == MANY_STEPS:
                warnings.warn(
                    f"rank {_rank_in(first)} has had {MANY_STEPS} batches less than another rank "
                    "and works in vain since: divide the data more evenly",
                    stacklevel=2,
                )
        for hook in self._join_hooks:
            hook.post_hook(is_last_joiner=shadowed == 0)

    @staticmethod
    def notify_join_context(joinable: Joinable) -> Any:
        """Say that this rank has data for one more step, if `joinable` is the first in a Join.

        Returns the Work that adds up, in its result, the ranks that have; None where nothing was
        to say. Raises RuntimeError if a rank is through, and that is to end training.
        """
        assert hasattr(joinable, "_join_config"), (
            f"the constructor of {type(joinable).__name__} must call Joinable.__init__"
        )
        config = joinable._join_config
        if not (config.enable and config.is_first_joinable):
            return None
        present = torch.ones(1, device=joinable.join_device)
        work = dist.all_reduce(present, group=_group_of(joinable), async_op=True)
        if config.throw_on_early_termination and (through := _those_through(joinable, 0)):
            names = ", ".join(f"rank {rank} after {n} batches" for rank, n in through.items())
            raise RuntimeError(
                f"Detected at least one rank that exhausted inputs: {names}. "
                "Throwing across all ranks."
            )
        config.batches += 1
        return work

    @staticmethod
    def _count_the_others(joinable: Joinable) -> int:
        """How many ranks still have data: the other side of notify_join_context."""
        present = torch.zeros(1, device=joinable.join_device)
        dist.all_reduce(present, group=_group_of(joinable))
        return int(present.item())


@contextlib.contextmanager
def in_batch(number: int) -> Iterator[None]:
    """Let an error between the ranks say in which batch it came, and what uneven inputs need."""
    try:
        yield
    except DistError as error:
        if "left the process group" in str(error):  # of itself, not killed
            error.add_note(
                f"This was batch {number} of this rank. Has another rank fewer? Then put the "
                "training loop into `with Join([model]):`, of torch.distributed.algorithms.join"
            )
        raise


def _those_through(joinable: Joinable, own: int) -> dict[int, int]:
    """{rank: its number of batches} for the ranks that have no more. `own`: this rank's number
    plus one if it has no more, otherwise 0."""
    group = _group_of(joinable)
    numbers = torch.zeros(dist.get_world_size(group), device=joinable.join_device)
    numbers[dist.get_rank(group)] = own
    dist.all_reduce(numbers, group=group)
    return {rank: int(number) - 1 for rank, number in enumerate(numbers.tolist()) if number}


def _group_of(joinable: Joinable) -> Any:
    return joinable.join_process_group or dist.group.WORLD


def _rank_in(joinable: Joinable) -> int:
    return dist.get_rank(_group_of(joinable))
