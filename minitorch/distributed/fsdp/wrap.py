"""Which of a model's modules become units: policies, and the walk that asks them.

A policy is called as policy(module, recurse, nonwrapped_numel): with recurse=True it says whether
to look inside of the module, and then, with recurse=False and the number of elements that no module
inside has taken, whether the module becomes a unit.
PyTorch: torch/distributed/fsdp/wrap.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def always_wrap_policy(*args, **kwargs) -> bool:
    """Every module is a unit."""
    return True


def size_based_auto_wrap_policy(
    module: Any, recurse: bool, nonwrapped_numel: int, min_num_params: int = int(1e8)
) -> bool:
    """Units of at least `min_num_params` elements."""
    return nonwrapped_numel >= min_num_params


def transformer_auto_wrap_policy(
    module: Any, recurse: bool, nonwrapped_numel: int, transformer_layer_cls: Iterable[type]
) -> bool:
    """The modules of these classes, such as a transformer's block, are units."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


class ModuleWrapPolicy:
    """The same, as an object."""

    def __init__(self, module_classes: Iterable[type]):
        self.classes = tuple(module_classes)

    def __call__(self, module: Any, recurse: bool, *args, **kwargs) -> bool:
        return recurse or isinstance(module, self.classes)


def apply_policy(module: Any, policy: Callable, shard: Callable[[Any], Any]) -> int:
    """Call `shard` for the modules inside of `module` that the policy chooses, innermost first.

    Returns how many elements they have.
    """
    taken = 0
    for child in module.children():
        total = sum(p.numel() for p in child.parameters())
        inside = 0
        if policy(module=child, recurse=True, nonwrapped_numel=total):
            inside = apply_policy(child, policy, shard)
        if total and policy(module=child, recurse=False, nonwrapped_numel=total - inside):
            shard(child)
            inside = total
        taken += inside
    return taken
