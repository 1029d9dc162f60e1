"""Hooks: functions of the user's that see gradients go by, and may replace them.

A node has four kinds. On its way through a node a gradient meets, in this order:
- `tensor`: the hooks of the tensor that the node made (Tensor.register_hook, retain_grad), which
  see the gradient of that tensor;
- `before`: the node's own (register_prehook), which see the gradients of all its outputs;
- `accumulated`, of leaves alone: .grad has been added to (register_post_accumulate_grad_hook);
- `after`: the node's own (register_hook), which see what came out of it and what went in.
Invariant: hooks see Tensors with PyTorch's gradients, whatever the engine carries (engine.py).
PyTorch: torch/csrc/autograd/function_hook.h, torch/utils/hooks.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..tensor import Tensor


class Hooks:
    """The hooks of one node, by the order in which they are to run. Made when first needed."""

    __slots__ = ("accumulated", "after", "before", "tensor")

    def __init__(self):
        self.tensor: dict = {}
        self.before: dict = {}
        self.after: dict = {}
        self.accumulated: dict = {}


class Handle:
    """Removes a hook. Mirrors torch.utils.hooks.RemovableHandle."""

    def __init__(self, hooks: dict, key: float):
        self.hooks, self.key, self.id = hooks, key, key

    def remove(self) -> None:
        self.hooks.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


class Handles(Handle):
    """Removes several hooks at once."""

    def __init__(self, handles: list[Handle]):
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


_keys = itertools.count()


def add_hook(node: Any, kind: str, hook, last: bool = False) -> Handle:
    """Append `hook` to those of a kind. `last`: it stays behind those still to come."""
    if node.hooks is None:
        node.hooks = Hooks()
    hooks = getattr(node.hooks, kind)
    key = math.inf if last else next(_keys)
    hooks[key] = hook
    return Handle(hooks, key)


def in_order(hooks: dict) -> list:
    """The hooks in a list, so that one may remove itself while it runs."""
    return [hooks[key] for key in sorted(hooks)]


def replaced(hook, grads: tuple, replacement) -> tuple:
    """`grads`, or what a hook on a node has returned in their place."""
    if replacement is None:
        return grads
    if not isinstance(replacement, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(replacement).__name__}'")
    if len(replacement) != len(grads):
        raise RuntimeError(
            f"hook '{getattr(hook, '__name__', hook)}' has returned an incorrect number of values "
            f"(got {len(replacement)}, but expected {len(grads)})"
        )
    for new, old in zip(replacement, grads, strict=True):
        if new is not None and old is not None:
            check_replacement(new, old)
    return replacement


def check_replacement(replacement, grad) -> None:
    """Raise if a hook has returned what cannot stand in for `grad`."""
    if not isinstance(replacement, Tensor):
        raise TypeError(f"expected a Tensor or None from a hook, but got {type(replacement)}")
    if replacement.shape != grad.shape:
        raise RuntimeError(
            "hook has changed the size of value "
            f"(was {list(grad.shape)} got {list(replacement.shape)})"
        )
    if replacement.dtype is not grad.dtype:
        raise RuntimeError(
            f"hook has changed the type of value (was {grad.dtype} got {replacement.dtype})"
        )
