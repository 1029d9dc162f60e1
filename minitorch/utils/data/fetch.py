"""Fetching: from an index, or a batch of indices, to what the loader hands out.

PyTorch: torch/utils/data/_utils/fetch.py.
"""

from __future__ import annotations

import itertools

from minitorch.creation import as_tensor
from minitorch.utils.data.collate import default_collate
from minitorch.utils.data.dataset import Subset, TensorDataset, get_items


def map_fetcher(loader):
    """A function from an index (or a batch of them) to the collated items of loader.dataset."""

    def fetch(index):
        if loader.batch_sampler is None:
            return loader.collate_fn(loader.dataset[index])
        if loader.collate_fn is default_collate:
            batch = _gather(loader.dataset, index)
            if batch is not None:
                return batch
        return loader.collate_fn(get_items(loader.dataset, index))

    return fetch


def stream_fetcher(loader):
    """The same for a stream: of a batch of indices only their number matters."""
    stream = iter(loader.dataset)

    def fetch(index):
        if loader.batch_sampler is None:
            data = next(stream)
        else:
            data = list(itertools.islice(stream, len(index)))
            if not data or (loader.drop_last and len(data) < len(index)):
                raise StopIteration
        return loader.collate_fn(data)

    return fetch


def _gather(dataset, indices: list):
    """default_collate of the items at these indices, by one indexing of each tensor.

    None where that is not known to be the same: for other datasets than TensorDataset and subsets
    of one, for subclasses that give other items, and for indices that are not plain ints.
    """
    kind = type(dataset)
    if kind.__getitem__ is TensorDataset.__getitem__ and not hasattr(kind, "__getitems__"):
        if not indices or any(type(index) is not int for index in indices):
            return None
        rows = as_tensor(indices)
        return [tensor[rows] for tensor in dataset.tensors]
    if isinstance(dataset, Subset) and kind.__getitems__ is Subset.__getitems__:
        return _gather(dataset.dataset, [dataset.indices[index] for index in indices])
    return None
