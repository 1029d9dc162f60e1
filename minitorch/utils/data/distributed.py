"""Each process's share of a dataset.

Invariant: all processes make the same shuffle, from a seed that they share, and take every
world-size-th index of it; together they visit every item once (up to padding or dropping).
PyTorch: torch/utils/data/distributed.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sized

import minitorch.distributed as dist
from minitorch import random
from minitorch.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """Indices for one process of many. Mirrors torch.utils.data.distributed.DistributedSampler.

    `num_replicas` and `rank` default to the process group's. Every process gets equally many: the
    first items are repeated to fill up, or with `drop_last` the tail is left out. Call
    `set_epoch(epoch)` before each pass, or every pass has the same order.
    Raises ValueError for a rank outside 0 .. num_replicas-1.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        num_replicas = dist.get_world_size() if num_replicas is None else num_replicas
        rank = dist.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self._epoch_is_new = True
        self._warned = False

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            self._warn_if_epoch_is_old()
            generator = random.Generator().manual_seed(self.seed + self.epoch)
            indices = random.randperm(generator, n).tolist()
        else:
            indices = list(range(n))
        if self.drop_last:
            indices = indices[: self.total_size]
        elif n:
            indices = (indices * math.ceil(self.total_size / n))[: self.total_size]
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle of the next pass; the same number on every process."""
        self.epoch = epoch
        self._epoch_is_new = True

    def _warn_if_epoch_is_old(self) -> None:
        if not self._epoch_is_new and not self._warned:
            self._warned = True
            warnings.warn(
                "DistributedSampler is iterated again without set_epoch(epoch) in between, so this "
                f"pass repeats the shuffle of epoch {self.epoch}. Call sampler.set_epoch(epoch) "
                "before each epoch.",
                stacklevel=3,
            )
        self._epoch_is_new = False
