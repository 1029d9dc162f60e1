"""FullyShardedDataParallel: the older way to say `fully_shard`, as a wrapper around the model.

The wrapper does nothing but apply fully_shard, to the modules that the policy chooses and to the
whole. Parameters are cut as there, row by row, where PyTorch's FSDP1 cuts one flat array of all.
Invariant: the wrapper shares the module's tables of parameters, buffers and children, so names and
state dicts are those of the module itself.
PyTorch: torch/distributed/fsdp/fully_sharded_data_parallel.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from ...nn.modules.module import Module
from ...nn.utils.clip_grad import clip_grad_norm_
from .fully_shard import MixedPrecisionPolicy, fully_shard, units_of, whole
from .wrap import apply_policy


class ShardingStrategy(Enum):
    """FULL_SHARD frees parameters between forward and backward, SHARD_GRAD_OP does not. The others
    are not here. Mirrors torch.distributed.fsdp.ShardingStrategy."""

    FULL_SHARD = auto()
    SHARD_GRAD_OP = auto()
    NO_SHARD = auto()
    HYBRID_SHARD = auto()


class StateDictType(Enum):
    """Whole tensors, or this rank's shards (the latter two are one here). Mirrors torch's."""

    FULL_STATE_DICT = auto()
    LOCAL_STATE_DICT = auto()
    SHARDED_STATE_DICT = auto()


@dataclass
class FullStateDictConfig:
    """rank0_only: the other ranks get an empty dict. Mirrors torch's."""

    offload_to_cpu: bool = False
    rank0_only: bool = False


@dataclass
class MixedPrecision:
    """As MixedPrecisionPolicy. Mirrors torch.distributed.fsdp.MixedPrecision."""

    param_dtype: Any = None
    reduce_dtype: Any = None
    buffer_dtype: Any = None  # accepted: buffers keep their type
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True


class FullyShardedDataParallel(Module):
    """`module`, with its parameters spread over the ranks.

    auto_wrap_policy: which modules inside are units of their own (wrap.py); without one all
    parameters come and go together, which saves nothing while the model computes. The options that
    are not named here only choose PyTorch's speed, and are accepted. Mirrors
    torch.distributed.fsdp.FullyShardedDataParallel. Raises NotImplementedError for NO_SHARD,
    HYBRID_SHARD and parameters that wait on another device.
    """

    def __init__(
        self,
        module: Module,
        process_group: Any = None,
        sharding_strategy: ShardingStrategy | None = None,
        cpu_offload: Any = None,
        auto_wrap_policy: Callable | None = None,
        backward_prefetch: Any = None,
        mixed_precision: MixedPrecision | None = None,
        **options,
    ):
        super().__init__()
        strategy = sharding_strategy or ShardingStrategy.FULL_SHARD
        if strategy not in (ShardingStrategy.FULL_SHARD, ShardingStrategy.SHARD_GRAD_OP):
            raise NotImplementedError(
                f"FullyShardedDataParallel: {strategy.name} is not here; replicas without shards "
                "are DistributedDataParallel's"
            )
        if getattr(cpu_offload, "offload_params", cpu_offload):
            raise NotImplementedError("FullyShardedDataParallel: cpu_offload is not here")
        low = mixed_precision or MixedPrecision()
        policy = MixedPrecisionPolicy(
            low.param_dtype,
            low.reduce_dtype,
            cast_forward_inputs=low.cast_forward_inputs or low.cast_root_forward_inputs,
        )

        def shard(part: Any) -> None:
            fully_shard(
                part,
                mesh=process_group,
                reshard_after_forward=strategy is ShardingStrategy.FULL_SHARD,
                mp_policy=policy,
            )

        if auto_wrap_policy is not None:
            apply_policy(module, auto_wrap_policy, shard)
        shard(module)
        self.__dict__.update(
            module=module,
            _state_dict_options=(StateDictType.FULL_STATE_DICT, FullStateDictConfig()),
            **{name: module.__dict__[name] for name in ("_parameters", "_buffers", "_modules")},
            _non_persistent_buffers_set=module._non_persistent_buffers_set,
        )

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True):
        self.module.train(mode)
        return super().train(mode)

    def no_sync(self):
        """Within, backward adds whole gradients up on each rank, without a message."""
        return _switched_off(units_of(self.module))

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0):
        """As torch.nn.utils.clip_grad_norm_, which knows about shards as well."""
        return clip_grad_norm_(self.parameters(), max_norm, norm_type)

    @staticmethod
    def summon_full_params(module: Any, writeback: bool = True, **options):
        """In this block all parameters are whole, on every rank; changes are kept."""
        return whole(getattr(module, "module", module), writeback)

    # Saving and loading

    @staticmethod
    @contextlib.contextmanager
    def state_dict_type(
        module: FullyShardedDataParallel,
        state_dict_type: StateDictType,
        state_dict_config: FullStateDictConfig | None = None,
        *args,
    ):
        """In this block state dicts are of this kind. Otherwise they are whole."""
        before = module._state_dict_options
        module._state_dict_options = state_dict_type, state_dict_config or FullStateDictConfig()
        try:
            yield
        finally:
            module._state_dict_options = before

    def state_dict(self, **options):
        """All parameters and buffers by name; all ranks call it."""
        from ..checkpoint.state_dict import get_model_state_dict

        return get_model_state_dict(self.module, options=self._options())

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """Take over what state_dict has returned: the same whole one on every rank, or its own."""
        from ..checkpoint.state_dict import set_model_state_dict

        return set_model_state_dict(self.module, state_dict, options=self._options(strict))

    def _options(self, strict: bool = True) -> Any:
        from ..checkpoint.state_dict import StateDictOptions

        kind, config = self._state_dict_options
        full = kind is StateDictType.FULL_STATE_DICT
        return StateDictOptions(full, config.rank0_only, strict)


@contextlib.contextmanager
def _switched_off(units: list):
    before = [unit.sync for unit in units]
    for unit in units:
        unit.sync = False
    try:
        yield
    finally:
        for unit, sync in zip(units, before, strict=True):
            unit.sync = sync
