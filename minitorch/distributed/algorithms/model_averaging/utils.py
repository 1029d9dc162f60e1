"""The mean of parameters over ranks. PyTorch: .../model_averaging/utils.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import minitorch as torch
import minitorch.distributed as dist

__all__ = [
    "average_parameters",
    "average_parameters_or_parameter_groups",
    "get_params_to_average",
]


def average_parameters(params: Iterable, process_group: Any) -> None:
    """Replace `params`, all of one dtype, by their means over a group (None: all ranks), in one
    message. Ranks that are not in it do nothing. Mirrors torch's function."""
    params = list(params)
    if dist.get_rank(process_group) < 0 or not params:
        return
    flat = torch.cat([p.detach().reshape(-1) for p in params])
    flat.div_(dist.get_world_size(process_group))
    dist.all_reduce(flat, group=process_group)
    for p, values in zip(params, flat.split([p.numel() for p in params]), strict=True):
        p.detach().copy_(values.view(p.shape))


def get_params_to_average(params: Iterable) -> list:
    """Those of a model's parameters, or of an optimizer's groups, that have a gradient."""
    found: list = []
    for param in params:
        found.extend(param["params"] if isinstance(param, dict) else [param])
    return [param for param in found if param.grad is not None]


def average_parameters_or_parameter_groups(params: Iterable, process_group: Any) -> None:
    """`average_parameters` of those that have a gradient. Mirrors torch's function."""
    average_parameters(get_params_to_average(params), process_group)
