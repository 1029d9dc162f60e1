"""Cutting a batch into micro-batches, and putting the results together again.

Invariant: the parts are equal. The loss of the batch is then the mean of the micro-batches' losses,
and all messages between two stages have one size.
PyTorch: torch/distributed/pipelining/microbatch.py, which cuts unequal parts, too.
"""

from __future__ import annotations

from typing import Any

from ...dispatch.declare import functions
from ...tensor import Tensor


def split(value: Any, count: int, name: str) -> list:
    """`value` for each micro-batch: tensors are cut along their first dimension (as views), also
    inside of tuples, lists and dicts; anything else goes to all.

    Raises ValueError, naming the sizes, for a tensor that does not divide.
    """
    if isinstance(value, (tuple, list)):
        parts = [split(v, count, f"{name}[{i}]") for i, v in enumerate(value)]
        return [type(value)(part) for part in zip(*parts, strict=True)] or [value] * count
    if isinstance(value, dict):
        split_values = {k: split(v, count, f"{name}[{k!r}]") for k, v in value.items()}
        return [{k: v[i] for k, v in split_values.items()} for i in range(count)]
    if not isinstance(value, Tensor):
        return [value] * count
    if not value.ndim or value.shape[0] % count or not value.shape[0]:
        raise ValueError(
            f"{name} of shape {list(value.shape)} cannot be cut into {count} equal micro-batches "
            "along its first dimension: choose a batch size that is a multiple of n_microbatches "
            "(and drop_last=True in the DataLoader)"
        )
    return list(value.chunk(count))


def merge(parts: list) -> Any:
    """The micro-batches' results as the whole batch's: concatenated along the first dimension."""
    if isinstance(parts[0], (tuple, list)):
        return type(parts[0])([merge(list(part)) for part in zip(*parts, strict=True)])
    # A result that has no batch dimension, such as a mean, cannot be put together.
    return functions["cat"](parts) if parts[0].ndim else functions["stack"](parts)
