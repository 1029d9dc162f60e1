"""Samplers: in which order items are visited.

Why: shuffling is apart from the data, so that a shuffle can be seeded, split between processes
(DistributedSampler) or replaced. A sampler is an iterable of indices.
Invariant: each pass draws from the random generators what PyTorch's sampler draws, in its order,
at its time (at the first index, not at iter()); so what a script draws afterwards agrees too.
PyTorch: torch/utils/data/sampler.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from minitorch import dtypes, random
from minitorch.creation import as_tensor

T_co = TypeVar("T_co", covariant=True)


def draw_seed(generator: random.Generator | None = None) -> int:
    """A seed of 63 bits from a generator, by default the default one."""
    return random.random_(generator or random.default_generator, np.empty((), np.int64)).item()


class Sampler(Generic[T_co]):
    """Base class: __iter__ gives indices, or lists of them. Mirrors torch.utils.data.Sampler."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} should implement __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... Mirrors torch.utils.data.SequentialSampler."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All indices shuffled, or drawn with replacement. Mirrors torch.utils.data.RandomSampler.

    `num_samples` defaults to len(data_source); without replacement more than that means several
    shuffles. Without a generator each pass makes one, seeded from the default generator.
    Raises ValueError if there is nothing to draw.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: random.Generator | None = None,
    ):
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                "num_samples should be a positive integer value, "
                f"but got num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:  # asked anew each time: the data may grow
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator or random.Generator().manual_seed(draw_seed())
        chunk = 32 if self.replacement else n
        # There is always a last shuffle, even to take nothing of it: whoever goes on using this
        # generator must find it where PyTorch leaves it.
        for size in [chunk] * (self.num_samples // chunk) + [self.num_samples % chunk]:
            if self.replacement:
                yield from random.randint_(generator, np.empty(size, np.int64), 0, n).tolist()
            else:
                yield from random.randperm(generator, n)[:size].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices, shuffled. Mirrors torch.utils.data.SubsetRandomSampler."""

    def __init__(self, indices: Sequence[int], generator: random.Generator | None = None):
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or random.default_generator
        for i in random.randperm(generator, len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn in proportion to weights. Mirrors torch.utils.data.WeightedRandomSampler.

    Weights need not sum to one. Raises ValueError for weights that are not one-dimensional.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: random.Generator | None = None,
    ):
        _check_positive("num_samples", num_samples)
        _check_bool("replacement", replacement)
        self.weights = as_tensor(weights, dtype=dtypes.float64)
        if self.weights.dim() != 1:
            raise ValueError(
                "weights should be a 1d sequence but given "
                f"weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or random.default_generator
        yield from random.multinomial(
            generator, self.weights.array, self.num_samples, self.replacement
        ).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of batch_size indices from another sampler. Mirrors torch.utils.data.BatchSampler."""

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool):
        _check_positive("batch_size", batch_size)
        _check_bool("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _check_positive(name: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


def _check_bool(name: str, value) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} should be a boolean value, but got {name}={value}")
