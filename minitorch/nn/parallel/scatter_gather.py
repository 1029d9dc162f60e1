"""Divide a batch among devices, and put the results together again.

Both are made of differentiable operations (chunk, to, cat), so gradients find their way back
without another line. PyTorch: torch/nn/parallel/scatter_gather.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ... import devices
from ...dispatch.declare import functions
from ...tensor import Tensor

__all__ = ["gather", "scatter", "scatter_kwargs"]


def as_device(where: Any) -> devices.device:
    """A device; a number is a GPU's, and -1 the CPU."""
    return devices.CPU if isinstance(where, int) and where < 0 else devices.device(where)


def scatter(inputs: Any, target_gpus: Sequence, dim: int = 0) -> Any:
    """What each device gets: its part of every tensor, divided along `dim`.

    Tuples, lists, dicts and named tuples are taken apart and rebuilt; other objects go to all.
    There are fewer parts than devices if a tensor is too short. A tensor gives a tuple, all else
    a list. Mirrors torch.nn.parallel.scatter.
    """
    if isinstance(inputs, Tensor):
        alone = len(target_gpus) == 1  # then it is not divided, and needs no dimension
        parts = [inputs] if alone else inputs.chunk(len(target_gpus), dim)
        return tuple([part.to(as_device(d)) for part, d in zip(parts, target_gpus, strict=False)])
    if isinstance(inputs, (tuple, list, dict)) and inputs:
        items = inputs.items() if isinstance(inputs, dict) else inputs
        rows = zip(*[scatter(item, target_gpus, dim) for item in items], strict=False)
        make = inputs._make if hasattr(inputs, "_make") else type(inputs)
        return [make(row) for row in rows]
    return [inputs for _ in target_gpus]


def scatter_kwargs(
    inputs: tuple, kwargs: dict[str, Any] | None, target_gpus: Sequence, dim: int = 0
) -> tuple[tuple, tuple]:
    """`scatter` of positional and of keyword arguments, as many of each."""
    args = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    parts = max(len(args), len(named))
    args.extend(() for _ in range(parts - len(args)))
    named.extend({} for _ in range(parts - len(named)))
    return tuple(args), tuple(named)


def gather(outputs: Sequence, target_device: Any, dim: int = 0) -> Any:
    """One object of many, on `target_device`: tensors are joined along `dim`, numbers to a vector.

    Containers must have the same structure; of other objects the first counts. Mirrors
    torch.nn.parallel.gather.
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        parts = [output.to(as_device(target_device)) for output in outputs]
        if dim == 0 and all(part.dim() == 0 for part in parts):
            warnings.warn(
                "Was asked to gather along dimension 0, but all input tensors were scalars; will "
                "instead unsqueeze and return a vector.",
                stacklevel=2,
            )
            return functions["stack"](parts)
        return functions["cat"](parts, dim)
    if isinstance(first, dict):
        if any(output.keys() != first.keys() for output in outputs):
            raise ValueError("All dicts must have the same number of keys, and the same keys")
        return type(first)((k, gather([o[k] for o in outputs], target_device, dim)) for k in first)
    if isinstance(first, (tuple, list)):
        make = first._make if hasattr(first, "_make") else type(first)
        return make([gather(row, target_device, dim) for row in zip(*outputs, strict=True)])
    return first
