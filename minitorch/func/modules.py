"""A module as a function of its parameters.

Why: `grad` and `vmap` work on functions of tensors; a module keeps its tensors to itself.
`functional_call` puts given tensors into the module's tables, calls it, and puts the old ones back.
Invariant: whatever happens in the call, the module is afterwards as it was before.
PyTorch: torch/nn/utils/stateless.py, torch/_functorch/functional_call.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """module(*args, **kwargs) with other parameters and buffers, given by their dotted names.

    `parameter_and_buffer_dicts`: a dict, or several. What is not named stays the module's own.
    `args`: a tuple, or one argument. `tie_weights`: parameters that are one and the same tensor are
    replaced together. `strict`: all must be given, and nothing else. Buffers that the module
    changes in place are changed in the tensors given; those that it assigns, in the dict.
    Raises ValueError for ambiguous names, RuntimeError in strict mode. Mirrors
    torch.func.functional_call.
    """
    given = _merged(parameter_and_buffer_dicts)
    own = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    values = _tied(given, own) if tie_weights else dict(given)
    if strict:
        _check_names(module, values, own)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    slots = {name: _slot(module, name) for name in values if name in own}
    before = {name: table[key] for name, (table, key) in slots.items()}
    try:
        for name, (table, key) in slots.items():
            table[key] = values[name]
        return module(*args, **(kwargs or {}))
    finally:
        for name, (table, key) in slots.items():
            if name in given:
                given[name] = table[key]
            table[key] = before[name]


def stack_module_state(models):
    """(parameters, buffers) of several models of one class, each stacked along a new dimension 0.

    Two dicts, for `functional_call` under `vmap`. Raises RuntimeError for models that differ.
    Mirrors torch.func.stack_module_state.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = _stacked([dict(model.named_parameters()) for model in models])
    return parameters, _stacked([dict(model.named_buffers()) for model in models])


def _stacked(states: list[dict]) -> dict[str, Tensor]:
    stacked: dict[str, Any] = {}
    for name in states[0]:
        tensors = [state[name] for state in states]
        if len({t.requires_grad for t in tensors}) > 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        stacked[name] = np.stack([t.detach() for t in tensors])
        stacked[name].requires_grad = tensors[0].requires_grad
    return stacked


def _merged(dicts) -> dict:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts)}"
        )
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    repeated = [name for name, n in Counter(name for d in dicts for name in d).items() if n > 1]
    if repeated:
        raise ValueError(
            f"{repeated} appeared in multiple dictionaries; behavior of functional call is "
            "ambiguous"
        )
    return {name: value for d in dicts for name, value in d.items()}


def _tied(given: dict, own: dict) -> dict:
    """`given`, and for each of its tensors the other names of the one that it replaces."""
    names: dict[Tensor, list[str]] = {}
    for name, tensor in own.items():
        names.setdefault(tensor, []).append(name)
    values = dict(given)
    for group in names.values():
        found = {id(given[name]): given[name] for name in group if name in given}
        if len(found) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(group)}, which are tied. "
                "Consider using tie_weights=False"
            )
        for value in found.values():
            values.update(dict.fromkeys(group, value))
    return values


def _check_names(module, values: dict, own: dict) -> None:
    problems = []
    for what, missing in (
        ("Unexpected", [name for name in values if name not in own]),
        ("Missing", [name for name in own if name not in values]),
    ):
        if missing:
            problems.append(f"{what} key(s): {', '.join(map(repr, sorted(missing)))}.")
    if problems:
        raise RuntimeError(
            f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(problems)
        )


def _slot(module, name: str) -> tuple[dict, str]:
    """The table of its module that a dotted name lives in, and its key there."""
    path, _, key = name.rpartition(".")
    owner = module.get_submodule(path)
    table = owner._parameters if key in owner._parameters else owner._buffers
    return table, key
