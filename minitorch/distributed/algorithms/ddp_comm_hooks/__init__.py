"""Communication hooks for DistributedDataParallel, and a way to register them by name.

A hook decides what happens to a full bucket of gradients; read default_hooks.py first.
PyTorch: torch/distributed/algorithms/ddp_comm_hooks/__init__.py.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from . import debugging_hooks as debugging
from . import default_hooks as default
from . import post_localSGD_hook as post_localSGD
from . import powerSGD_hook as powerSGD

__all__ = ["DDPCommHookType", "register_ddp_comm_hook"]


class DDPCommHookType(Enum):
    """The hooks of this package: (hook, rank of PowerSGD's approximation or None).

    Mirrors torch's DDPCommHookType; its quantizing hooks are left out.
    """

    ALLREDUCE = (default.allreduce_hook, None)
    FP16_COMPRESS = (default.fp16_compress_hook, None)
    BF16_COMPRESS = (default.bf16_compress_hook, None)
    POWER_SGD = (powerSGD.powerSGD_hook, 1)
    POWER_SGD_RANK2 = (powerSGD.powerSGD_hook, 2)
    BATCHED_POWER_SGD = (powerSGD.batched_powerSGD_hook, 1)
    BATCHED_POWER_SGD_RANK2 = (powerSGD.batched_powerSGD_hook, 2)
    NOOP = (debugging.noop_hook, None)


def register_ddp_comm_hook(comm_hook_type: DDPCommHookType, model: Any, state: Any = None) -> None:
    """`model.register_comm_hook` of one of the enumerated hooks. Mirrors torch's function.

    state: the process group, None for all ranks; PowerSGD gets a PowerSGDState for it.
    """
    hook, rank = comm_hook_type.value
    if rank is not None:
        state = powerSGD.PowerSGDState(state, matrix_approximation_rank=rank)
    model.register_comm_hook(state, hook)
