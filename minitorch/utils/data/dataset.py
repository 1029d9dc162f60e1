"""Datasets: what item i is, and how datasets are put together.

Why: everything after this (samplers, loader) needs only `dataset[i]` and `len(dataset)`, or, for
streams, `iter(dataset)`.
PyTorch: torch/utils/data/dataset.py.
"""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from minitorch import random

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A map from keys, usually 0 .. len-1, to samples. Mirrors torch.utils.data.Dataset.

    Subclasses define __getitem__, and mostly __len__. They may define __getitems__(indices), which
    gives the list of samples of a whole batch; the DataLoader then prefers it.
    """

    def __getitem__(self, index) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """A stream of samples: subclasses define __iter__. Mirrors torch.utils.data.IterableDataset."""

    def __add__(self, other: Dataset[T_co]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple]):
    """Item i is the tuple of every tensor's row i. Mirrors torch.utils.data.TensorDataset.

    Raises AssertionError if the tensors differ in their first size.
    """

    def __init__(self, *tensors):
        lengths = [tensor.size(0) for tensor in tensors]
        if len(set(lengths)) > 1:
            raise AssertionError(f"Size mismatch between tensors: first dimensions {lengths}")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset):
    """Item i is a tuple, or with keywords a dict, of every dataset's item i.

    Mirrors torch.utils.data.StackDataset. Raises ValueError if the datasets differ in length.
    """

    def __init__(self, *args: Dataset, **kwargs: Dataset):
        if args and kwargs:
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or"
                "``dict``- (via ``kwargs``) like input/output, but both types are given."
            )
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in self._parts()]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: lengths {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index):
        if isinstance(self.datasets, dict):
            return {key: dataset[index] for key, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list) -> list:
        keys = self.datasets if isinstance(self.datasets, dict) else None
        columns = [get_items(dataset, indices) for dataset in self._parts()]
        for column in columns:
            if len(column) != len(indices):
                raise ValueError(
                    "Nested dataset's output size mismatch. "
                    f"Expected {len(indices)}, got {len(column)}"
                )
        rows = zip(*columns, strict=True)
        return list(rows) if keys is None else [dict(zip(keys, row, strict=True)) for row in rows]

    def __len__(self) -> int:
        return self._length

    def _parts(self) -> list:
        parts = self.datasets
        return list(parts.values() if isinstance(parts, dict) else parts)


class ConcatDataset(Dataset[T_co]):
    """Datasets one after the other. Mirrors torch.utils.data.ConcatDataset."""

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence) -> list[int]:
        return list(itertools.accumulate(len(dataset) for dataset in sequence))

    def __getitem__(self, idx):
        if idx < 0:
            if -idx > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            idx += len(self)
        number = bisect.bisect_right(self.cumulative_sizes, idx)
        start = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][idx - start]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """Streams one after the other. Mirrors torch.utils.data.ChainDataset."""

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = datasets

    def __iter__(self):
        for dataset in self._streams():
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._streams())

    def _streams(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset


class Subset(Dataset[T_co]):
    """The items of a dataset at the given indices. Mirrors torch.utils.data.Subset.

    A subclass that overrides __getitem__ must override __getitems__ too, since the DataLoader
    calls that one; else NotImplementedError.
    """

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices
        cls = type(self)
        if cls.__getitem__ is not Subset.__getitem__ and cls.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{cls.__name__} overrides __getitem__ but not __getitems__. "
                "When subclassing Subset and overriding __getitem__, you must also override "
                "__getitems__ to ensure DataLoader works correctly with your custom logic. "
                "A simple implementation:\n\n"
                "def __getitems__(self, indices):\n"
                "    return [self.__getitem__(idx) for idx in indices]"
            )

    def __getitem__(self, idx):
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        return get_items(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T_co],
    lengths: Sequence[int | float],
    generator: random.Generator | None = None,
) -> list[Subset[T_co]]:
    """Disjoint random subsets of these lengths, or of these fractions if they sum to one.

    Mirrors torch.utils.data.random_split. A remainder of the fractions goes to the subsets in
    turn. Raises ValueError unless the lengths sum to len(dataset).
    """
    n = len(dataset)  # type: ignore[arg-type]
    parts: list = list(lengths)
    if math.isclose(sum(parts), 1) and sum(parts) <= 1:
        for i, fraction in enumerate(parts):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        parts = [math.floor(n * fraction) for fraction in parts]
        for i in range(n - sum(parts)):
            parts[i % len(parts)] += 1
        for i, length in enumerate(parts):
            if length == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    if sum(parts) != n:
        raise ValueError(
            "Sum of input parts does not equal the length of the input dataset!"
            f" The parts {parts} sum to {sum(parts)}, the dataset has {n} items."
        )
    order = iter(random.randperm(generator or random.default_generator, n).tolist())
    return [Subset(dataset, list(itertools.islice(order, int(length)))) for length in parts]


def get_items(dataset, indices: list) -> Any:
    """The items at these indices, by the dataset's own __getitems__ if it has one."""
    together = getattr(dataset, "__getitems__", None)
    return together(indices) if callable(together) else [dataset[index] for index in indices]
