"""fully_shard: make a module hold only its rank's part of its parameters.

    for block in model.blocks:
        fully_shard(block)      # each block's parameters come and go together
    fully_shard(model)          # and all others, with the model's own forward
    optimizer = AdamW(model.parameters())      # made after: it holds shards, and state for shards

The module stays the object it was. Its class becomes a subclass, made for the purpose, of its class
and FSDPModule: that is how its calls come to be wrapped, and it gets the methods below.
Invariant: every parameter belongs to one unit, that of the innermost module that was sharded.
PyTorch: torch/distributed/fsdp/_fully_shard/_fully_shard.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...autograd.grad_mode import no_grad
from ...dtypes import dtype
from ...nn.modules.module import Module
from ...tensor import Tensor
from .unit import Unit


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The types in which a unit computes, while its shards and its .grad keep their own.

    param_dtype: of the whole parameters, and, if `cast_forward_inputs`, of what goes into forward.
    reduce_dtype: of the sums of gradients (None: param_dtype). output_dtype: of what forward
    returns. Mirrors torch.distributed.fsdp.MixedPrecisionPolicy.
    """

    param_dtype: dtype | None = None
    reduce_dtype: dtype | None = None
    output_dtype: dtype | None = None
    cast_forward_inputs: bool = True


class FSDPModule:
    """What a module can do once it is sharded. Mirrors torch.distributed.fsdp.FSDPModule."""

    _fsdp_unit: Unit
    _fsdp_policy: MixedPrecisionPolicy

    def __call__(self, *args, **kwargs):
        policy = self._fsdp_policy
        if policy.cast_forward_inputs:
            args, kwargs = _cast((args, kwargs), policy.param_dtype)
        with self._fsdp_unit.forward():
            output = super().__call__(*args, **kwargs)
        return _cast(output, policy.output_dtype)

    def unshard(self, async_op: bool = False) -> UnshardHandle | None:
        """Gather the module's own parameters (not those of sharded modules inside it).

        With `async_op`: only begin, and return a handle to wait for.
        """
        self._fsdp_unit.start_gathering()
        handle = UnshardHandle(self._fsdp_unit)
        if async_op:
            return handle
        handle.wait()
        return None

    def reshard(self) -> None:
        """Free the whole parameters; what was changed in them is lost."""
        self._fsdp_unit.reshard()

    def set_requires_gradient_sync(
        self, requires_gradient_sync: bool, *, recurse: bool = True
    ) -> None:
        """Whether backward reduces gradients. To accumulate over several micro-batches, switch it
        off for all but the last: whole gradients then add up on each rank, without a message."""
        for unit in units_of(self) if recurse else [self._fsdp_unit]:
            unit.sync = requires_gradient_sync

    def set_reshard_after_forward(
        self, reshard_after_forward: bool, *, recurse: bool = True
    ) -> None:
        """Whether parameters are freed between forward and backward. If not, they remain whole
        until a backward has come, and the optimizer must not step before."""
        for unit in units_of(self) if recurse else [self._fsdp_unit]:
            unit.reshard_after_forward = reshard_after_forward

    def state_dict(self, **options):
        """This rank's shards by name; for whole tensors see checkpoint/state_dict.py."""
        for unit in units_of(self):
            unit.reshard()
        return super().state_dict(**options)


class UnshardHandle:
    """Parameters that are on their way. Mirrors torch.distributed.fsdp.UnshardHandle."""

    def __init__(self, unit: Unit):
        self._unit = unit

    def wait(self) -> None:
        """Return when they are whole."""
        self._unit.unshard()


def fully_shard(
    module: Any,
    *,
    mesh: Any = None,
    reshard_after_forward: bool | None = None,
    mp_policy: MixedPrecisionPolicy | None = None,
    ignored_params: set | None = None,
) -> Any:
    """Shard the parameters of `module` that no sharded module inside it has; returns the module.

    mesh: a DeviceMesh of one dimension, or a process group; default all ranks.
    reshard_after_forward: see `set_reshard_after_forward`. ignored_params: those to leave alone.
    All ranks begin with rank 0's values. Mirrors torch.distributed.fsdp.fully_shard. Raises
    ValueError for parameters that a sharded module inside shares with the rest, for several dtypes,
    and for a module that is sharded already.
    """
    if isinstance(module, FSDPModule):
        raise ValueError(f"fully_shard has been applied to this {type(module).__name__} already")
    policy = mp_policy or MixedPrecisionPolicy()
    inside = [m for m in module.modules() if isinstance(m, FSDPModule)]
    taken = {p: m for m in inside for p in m._fsdp_unit.parameters}
    _check_shared(module, inside, taken)
    ignored = ignored_params or set()
    own = {n: p for n, p in module.named_parameters() if p not in taken and p not in ignored}
    unit = Unit(
        own,
        _group_of(mesh),
        policy.param_dtype and policy.param_dtype.numpy,
        policy.reduce_dtype and policy.reduce_dtype.numpy,
    )
    unit.reshard_after_forward = reshard_after_forward is not False
    for other in inside:
        other._fsdp_unit.traffic = unit.traffic
    module.__dict__.update(_fsdp_unit=unit, _fsdp_policy=policy)
    module.__class__ = _sharded_class(module.__class__)
    return module


@contextlib.contextmanager
def whole(module: Module, writeback: bool = False) -> Iterator[None]:
    """In this block all parameters of `module` are whole, on all ranks.

    writeback: changes made to them (on all ranks alike) are kept; without it they are lost.
    """
    units = units_of(module)
    for unit in units:
        unit.unshard()
    try:
        with no_grad():
            yield
        if writeback:
            for unit in units:
                unit.write_back()
    finally:
        for unit in units:
            unit.reshard()


def units_of(module: Any) -> list[Unit]:
    """Those of the sharded modules in `module`, itself included."""
    return [m._fsdp_unit for m in module.modules() if isinstance(m, FSDPModule)]


def _group_of(mesh: Any) -> Any:
    if not hasattr(mesh, "get_group"):
        return mesh
    if mesh.ndim != 1:
        raise NotImplementedError(
            f"fully_shard takes a mesh of one dimension, got {mesh.ndim}: choose one, as in "
            'mesh["dp"] (replicas of shards are not here)'
        )
    return mesh.get_group()


@functools.cache
def _sharded_class(cls: Any) -> type:
    return type(f"FSDP{cls.__name__}", (FSDPModule, cls), {"__module__": cls.__module__})


def _check_shared(module: Module, inside: list, taken: dict) -> None:
    """A parameter that two modules share must be whole in both their forwards."""
    covered = {id(part): m for m in inside for part in m.modules()}
    for path, part in module.named_modules():
        if id(part) in covered:
            continue
        owners = {name: taken.get(p) for name, p in part._parameters.items()}
        for name, child in part._modules.items():
            owners[name] = None if isinstance(child, FSDPModule) else covered.get(id(child))
        for name, owner in owners.items():
            if owner is not None:
                where = f"{path}.{name}" if path else name
                raise ValueError(
                    f"{where} is shared with a {type(owner).__name__} that is sharded by itself, "
                    "and would not be whole where it is used: call fully_shard only on a module "
                    "that has both"
                )


def _cast(value: Any, to: dtype | None) -> Any:
    """`value` with its floating-point tensors, also inside of tuples and dicts, as `to`."""
    if to is None:
        return value
    if isinstance(value, Tensor):
        return value.to(to) if value.is_floating_point() else value
    if type(value) in (tuple, list):
        return type(value)([_cast(v, to) for v in value])
    return {k: _cast(v, to) for k, v in value.items()} if isinstance(value, dict) else value
