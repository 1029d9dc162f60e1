"""Sharded data parallelism: each rank keeps a part of every parameter, gathered when needed.

Read unit.py first, the engine, then fully_shard.py, what the user sees of it. layout.py says which
rank has which rows, fully_sharded_data_parallel.py and wrap.py are the older interface, and whole
state dicts are in distributed/checkpoint.
PyTorch: torch/distributed/fsdp/.
"""

from .fully_shard import FSDPModule, MixedPrecisionPolicy, UnshardHandle, fully_shard
from .fully_sharded_data_parallel import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    MixedPrecision,
    ShardingStrategy,
    StateDictType,
)

__all__ = [
    "FSDPModule",
    "FullStateDictConfig",
    "FullyShardedDataParallel",
    "MixedPrecision",
    "MixedPrecisionPolicy",
    "ShardingStrategy",
    "StateDictType",
    "UnshardHandle",
    "fully_shard",
]
