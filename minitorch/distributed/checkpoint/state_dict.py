"""State dicts of models that fully_shard has spread over the ranks, whole or in parts.

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)       # all ranks call it
    if dist.get_rank() == 0:
        torch.save(state, path)

A whole state dict is the one that the model has in a single process: it can be loaded there, or on
any number of ranks. Invariant: never more than one parameter is gathered at a time.
PyTorch: torch/distributed/checkpoint/state_dict.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import distributed as dist
from ...tensor import Tensor, wrap
from ..fsdp.sharding import sharding_of


@dataclass
class StateDictOptions:
    """full_state_dict: whole tensors, not this rank's shards. cpu_offload: with it, rank 0 alone
    gets them, the others an empty dict. strict: as in load_state_dict. Mirrors
    torch.distributed.checkpoint.state_dict.StateDictOptions."""

    full_state_dict: bool = False
    cpu_offload: bool = False
    strict: bool = True


def get_model_state_dict(model: Any, *, options: StateDictOptions | None = None) -> dict[str, Any]:
    """Copies of the parameters and buffers by name; all ranks call it. Mirrors
    torch.distributed.checkpoint.state_dict.get_model_state_dict."""
    options = options or StateDictOptions()
    state = {
        name: _saved(value, value, options)
        for name, value in model.state_dict(keep_vars=True).items()
    }
    return {} if _leaves_it_to_rank_0(options) else state


def set_model_state_dict(
    model: Any, model_state_dict: dict[str, Any], *, options: StateDictOptions | None = None
) -> Any:
    """Load what get_model_state_dict has returned, the same whole one on every rank or each its
    own; returns and raises as load_state_dict. Mirrors
    torch.distributed.checkpoint.state_dict.set_model_state_dict."""
    options = options or StateDictOptions()
    own = model.state_dict(keep_vars=True)
    state = {n: _loaded(v, own.get(n), options) for n, v in model_state_dict.items()}
    return model.load_state_dict(state, options.strict)


def get_optimizer_state_dict(
    model: Any, optimizers: Any, *, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The optimizer's state dict, with the parameters' names in place of their numbers. Mirrors
    torch.distributed.checkpoint.state_dict.get_optimizer_state_dict, for one optimizer."""
    options = options or StateDictOptions()
    names = {p: name for name, p in model.named_parameters()}
    state = {
        names[p]: {key: _saved(value, p, options) for key, value in entries.items()}
        for p, entries in optimizers.state.items()
    }
    groups = [{**g, "params": [names[p] for p in g["params"]]} for g in optimizers.param_groups]
    return {} if _leaves_it_to_rank_0(options) else {"state": state, "param_groups": groups}


def set_optimizer_state_dict(
    model: Any,
    optimizers: Any,
    optim_state_dict: dict[str, Any],
    *,
    options: StateDictOptions | None = None,
) -> None:
    """Load what get_optimizer_state_dict has returned. Mirrors
    torch.distributed.checkpoint.state_dict.set_optimizer_state_dict, for one optimizer."""
    options = options or StateDictOptions()
    named = dict(model.named_parameters())
    numbers = {p: i for i, p in enumerate(p for g in optimizers.param_groups for p in g["params"])}
    state = {
        numbers[named[name]]: {k: _loaded(v, named[name], options) for k, v in entries.items()}
        for name, entries in optim_state_dict["state"].items()
    }
    groups = [
        {**group, "params": [numbers[named[name]] for name in group["params"]]}
        for group in optim_state_dict["param_groups"]
    ]
    optimizers.load_state_dict({"state": state, "param_groups": groups})


def _saved(value: Any, parameter: Any, options: StateDictOptions) -> Any:
    """A copy of a tensor that belongs to `parameter`: whole, if it is cut as that is."""
    if not isinstance(value, Tensor):
        return value
    sharding = sharding_of(parameter)
    if options.full_state_dict and sharding and value.array.shape == parameter.array.shape:
        whole = sharding.whole(value.array)
        return None if _leaves_it_to_rank_0(options) else wrap(whole)
    return value.detach().clone()


def _loaded(value: Any, parameter: Any, options: StateDictOptions) -> Any:
    """The other way round: this rank's part."""
    sharding = sharding_of(parameter)
    if not (options.full_state_dict and sharding and isinstance(value, Tensor)):
        return value
    return wrap(sharding.part(value.array)) if value.array.shape == sharding.shape else value


def _leaves_it_to_rank_0(options: StateDictOptions) -> bool:
    return options.full_state_dict and options.cpu_offload and dist.get_rank() != 0
