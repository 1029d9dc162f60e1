"""Which worker makes which batch, and when it is handed out.

Tasks are dealt out in turn, prefetch_factor for each worker at first, and then one for each batch
that is taken. So batch k is always made by the same worker, with the same random numbers, and they
are PyTorch's. Invariant: a task is in `maker` until its batch is taken, or its worker has said that
there is none; when no task is left, the epoch is over.
PyTorch: _MultiProcessingDataLoaderIter, in torch/utils/data/dataloader.py.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from minitorch.utils.data.workers import End, Failure, Workers


class Deliveries:
    """The batches of one epoch, made by `workers`: in the order of `indices`, or as they come."""

    def __init__(self, loader, workers: Workers, indices: Iterator):
        self.loader, self.workers, self.indices = loader, workers, indices
        workers.epoch += 1
        self.epoch = workers.epoch
        self.numbers = itertools.count()
        self.turns = itertools.cycle(range(loader.num_workers))
        self.ended: set[int] = set()  # the workers whose streams are at their end
        self.maker: dict[int, int] = {}  # of each task that is under way, in their order
        self.made: dict[int, Any] = {}  # batches that have come, and not been taken
        for _ in range(loader.prefetch_factor * loader.num_workers):
            self.deal()

    def __iter__(self) -> Deliveries:
        return self

    def deal(self) -> None:
        """Give the next task to the worker whose turn it is."""
        index = next(self.indices, self)  # `self`: there is none; None is an index of streams
        if index is self:
            return
        for id in itertools.islice(self.turns, self.loader.num_workers):
            if id not in self.ended and (self.loader.in_order or self.has_room(id)):
                number = next(self.numbers)
                self.maker[number] = id
                with contextlib.suppress(OSError):  # it has died: `answers` will say so
                    self.workers.pipes[id].send((self.epoch, number, index))
                return

    def has_room(self, id: int) -> bool:
        return list(self.maker.values()).count(id) < self.loader.prefetch_factor

    def __next__(self):
        if self.epoch != self.workers.epoch:
            raise RuntimeError(
                "this epoch is over: the loader's workers are persistent, and work for the epoch "
                "that began last"
            )
        while self.maker:
            number = next(iter(self.maker if self.loader.in_order else self.made), None)
            if number in self.made:
                del self.maker[number]
                batch = self.made.pop(number)
                self.deal()
                if isinstance(batch, Failure):
                    raise batch.error()
                return batch
            for id, epoch, number, batch in self.workers.answers(self.loader.timeout):
                if epoch != self.epoch:
                    continue  # somebody left that epoch early
                if not isinstance(batch, End):
                    self.made[number] = batch
                elif id not in self.ended:
                    self.ended.add(id)  # what else it was to make will not come
                    self.maker = {
                        n: maker for n, maker in self.maker.items() if maker != id or n in self.made
                    }
                    self.deal()
        if not self.loader.persistent_workers:
            self.workers.stop()
        raise StopIteration
