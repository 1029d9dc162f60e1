"""Copies of a module, one for each device. PyTorch: torch/nn/parallel/replicate.py.

Invariant: a copy's parameters are computed from the module's (they have been moved), so backward
adds the gradients of all copies into the module's own .grad. On the device where they are already,
they are the module's own: what its forward changes in place, such as BatchNorm's running mean,
is kept there, and lost on all other devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from ..modules import Module
from .scatter_gather import as_device

__all__ = ["replicate"]


def replicate(network: Module, devices: Sequence, detach: bool = False) -> list:
    """A copy of `network` on each of `devices`. Mirrors torch.nn.parallel.replicate.

    detach: the copies are for computing only; no gradient finds its way back.
    """
    return [_copy_on(network, as_device(device), detach) for device in devices]


def _copy_on(network: Module, device: Any, detach: bool) -> Module:
    moved: dict[Tensor | None, Tensor | None] = {None: None}  # tied weights stay tied

    def move(tensor: Tensor | None) -> Tensor | None:
        if tensor not in moved:
            moved[tensor] = (tensor.detach() if detach else tensor).to(device)  # type: ignore[union-attr]
        return moved[tensor]

    copies: dict[Module | None, Module | None] = {None: None}
    for module in network.modules():
        copy = object.__new__(type(module))
        copy.__dict__.update(module.__dict__)
        copies[module] = copy
        for table in ("_parameters", "_buffers"):
            copy.__dict__[table] = {k: move(t) for k, t in module.__dict__[table].items()}
    for module, copy in copies.items():
        if module is not None and copy is not None:
            copy.__dict__["_modules"] = {k: copies[m] for k, m in module._modules.items()}
    return copies[network]  # type: ignore[return-value]
