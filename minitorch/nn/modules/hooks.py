"""Hooks on modules: what runs before and after forward, and what sees gradients go through.

A module keeps its hooks in dicts, one for each kind; `everywhere` has those that run for all
modules, and before a module's own. Backward has no modules, only nodes. So that a hook can see the
gradients of a module's arguments and of its results, both are led through a node that does nothing
(`_Gate`), and node hooks do the rest.
PyTorch: torch/nn/modules/module.py, torch/utils/hooks.py (BackwardHook).
"""

from __future__ import annotations

import functools
import itertools
import warnings
from typing import Any

from ...autograd.function import Function
from ...autograd.grad_mode import mode
from ...autograd.hooks import Handle
from ...tensor import Tensor

_keys = itertools.count()

everywhere: dict = {}  # (kind, entry) by key; the kinds are the names of a module's own dicts


def add(hooks: dict, entry, first: bool = False) -> Handle:
    """Enter a hook behind, or before, those that are there. Returns its handle."""
    key = next(_keys)
    others = dict(hooks) if first else {}
    if first:
        hooks.clear()
    hooks[key] = entry
    hooks.update(others)
    return Handle(hooks, key)


def of(module, kind: str) -> list:
    """All hooks of a kind that are to run for `module`."""
    shared = [entry for its_kind, entry in everywhere.values() if its_kind == kind]
    return [*shared, *getattr(module, kind).values()]


def call(module, args: tuple, kwargs: dict):
    """module.forward(*args, **kwargs) with all hooks around it."""
    called: list = []
    output = None
    try:
        for hook, with_kwargs in of(module, "_forward_pre_hooks"):
            changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = changed
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        before, after = of(module, "_backward_pre_hooks"), of(module, "_backward_hooks")
        if module._is_full_backward_hook is False:
            after = [hook for hook in after if hook not in module._backward_hooks.values()]
        gates = _Gates(module, before, after) if before or after else None
        if gates is not None:
            args = gates.enter(args)
        output = module.forward(*args, **kwargs)
        for entry in of(module, "_forward_hooks"):
            called.append(entry)
            output = _after_forward(entry, module, args, kwargs, output)
        output = output if gates is None else gates.leave(output)
        if module._is_full_backward_hook is False:
            _on_last_node(module, output)
        return output
    except Exception:
        for entry in of(module, "_forward_hooks"):
            if entry[2] and entry not in called:  # always_call
                _after_forward(entry, module, args, kwargs, output)
        raise


def _after_forward(entry, module, args, kwargs, output):
    hook, with_kwargs, _ = entry
    seen = (args, kwargs) if with_kwargs else (args,)
    changed = hook(module, *seen, output)
    return output if changed is None else changed


def _on_last_node(module, output) -> None:
    """The old kind of backward hook: it sees what the last operation of forward sees."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    if output.grad_fn is not None:
        for hook in module._backward_hooks.values():
            output.grad_fn.register_hook(functools.partial(hook, module))


class _Gate(Function):
    """Hands tensors, and their gradients, through."""

    @staticmethod
    def forward(ctx, *tensors):
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return grads


class _Gates:
    """The backward hooks of one call: gradients come in where its results left, and go out where
    its arguments came in."""

    def __init__(self, module, before: list, after: list):
        self.module, self.before, self.after = module, before, after
        self.places: list[int] | None = None  # which arguments are tensors that gradients go to
        self.n_inputs = 0
        self.grad_outputs: tuple | None = None  # they have arrived, those of the arguments have not

    def enter(self, args: tuple) -> tuple:
        """The arguments as forward is to get them."""
        self.n_inputs = len(args)
        args, places, node = _through_gate(args)
        if node is not None:
            self.places = places
            node.register_hook(self._arguments)
        return args

    def leave(self, output):
        """The results as the caller is to get them."""
        if not isinstance(output, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(output)}",
                stacklevel=4,
            )
            return output
        several = isinstance(output, tuple)
        results, places, node = _through_gate(output if several else (output,))
        if node is not None:
            n = len(results)
            node.register_prehook(lambda grads: self._results(places, n, grads))
        return results if several else results[0]

    def _results(self, places: list[int], n: int, grads: tuple):
        """The gradients of the module's results are there."""
        shown = _spread(grads, places, n)
        for hook in self.before:
            changed = hook(self.module, shown)
            if changed is not None:
                shown = _as_tuple(changed, n, "grad_output")
        self.grad_outputs = shown
        if self.places is None:  # none will come for the arguments
            self._no_arguments(shown)
        return tuple(shown[i] for i in places)

    def _arguments(self, grads: tuple, _):
        """The gradients of the module's arguments are there."""
        if self.grad_outputs is None:  # they did not come through the module's results
            return None
        assert self.places is not None
        shown = _spread(grads, self.places, self.n_inputs)
        for hook in self.after:
            changed = hook(self.module, shown, self.grad_outputs)
            if changed is not None:
                shown = _as_tuple(changed, self.n_inputs, "grad_input")
        self.grad_outputs = None
        return tuple(shown[i] for i in self.places)

    def _no_arguments(self, grad_outputs: tuple) -> None:
        if self.after:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.after:
            changed = hook(self.module, (None,) * self.n_inputs, grad_outputs)
            if changed is not None and any(g is not None for g in _as_tuple(changed)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None


def _through_gate(values: tuple) -> tuple:
    """`values` with the tensors led through a gate; their places; the gate's node, or None."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    tensors = [values[i] for i in places]
    if not (mode.enabled and any(t._requires_grad for t in tensors)):
        return values, places, None
    passed = _Gate.apply(*tensors)
    changed = list(values)
    for i, tensor in zip(places, passed, strict=True):
        changed[i] = tensor
    node = next(t.grad_fn for t in passed if t.grad_fn is not None)
    # A named tuple stays one.
    kind: Any = type(values)
    return kind(*changed) if hasattr(kind, "_fields") else tuple(changed), places, node


def _spread(grads: tuple, places: list[int], n: int) -> tuple:
    """The gradients of the tensors at `places` among `n` values, None for the others."""
    spread: list = [None] * n
    for i, grad in zip(places, grads, strict=True):
        spread[i] = grad
    return tuple(spread)


def _as_tuple(grads, n: int | None = None, what: str = "") -> tuple:
    grads = grads if isinstance(grads, tuple) else (grads,)
    if n is not None and len(grads) != n:
        raise RuntimeError(
            f"Backward hook returned an invalid number of {what}, got {len(grads)}, but expected "
            f"{n}"
        )
    return grads


# For all modules


def register_module_forward_pre_hook(hook) -> Handle:
    """Run `hook(module, args)` before every module's forward.

    What it returns replaces the arguments. Mirrors
    torch.nn.modules.module.register_module_forward_pre_hook, as those below do theirs.
    """
    return add(everywhere, ("_forward_pre_hooks", (hook, False)))


def register_module_forward_hook(
    hook, *, with_kwargs: bool = False, always_call: bool = False
) -> Handle:
    """Run `hook(module, args, output)` after every module's forward; see register_forward_hook."""
    return add(everywhere, ("_forward_hooks", (hook, with_kwargs, always_call)))


def register_module_full_backward_pre_hook(hook) -> Handle:
    """Run `hook(module, grad_output)` before every module's backward."""
    return add(everywhere, ("_backward_pre_hooks", hook))


def register_module_full_backward_hook(hook) -> Handle:
    """Run `hook(module, grad_input, grad_output)` after every module's backward."""
    return add(everywhere, ("_backward_hooks", hook))
