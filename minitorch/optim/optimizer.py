"""Optimizer: what all optimizers have in common.

Parameters come in groups, dicts with "params" and the options that apply to them (`defaults` fills
in those that are not given). `state` holds what is remembered for each parameter, such as momenta.
Invariant: a step changes the parameters' arrays in place, outside of the graph, and counts up their
version, so that a backward through old values notices. Parameters without .grad are passed over.
State dicts are PyTorch's: parameters are numbered in the order of the groups.
PyTorch: torch/optim/optimizer.py.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

from .. import devices
from ..autograd.grad_mode import enable_grad
from ..dispatch.declare import functions
from ..tensor import Tensor


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()  # the default of an option that every group must give


class Optimizer:
    """Base class: override `_update`, or all of `step`. Mirrors torch.optim.Optimizer.

    params: tensors, (name, tensor) pairs, or dicts that describe groups. defaults: the options.
    """

    _opt_called = False  # whether step was ever called: schedulers warn if they come first

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {params.type()}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own: {"params": ..., "lr": ...}.

        Raises TypeError or ValueError for what is no leaf tensor, for parameters that an earlier
        group has, and for required options that are missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        entries: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        if names and len(names) < len(entries):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        params = param_group["params"] = [entry[1] for entry in entries] if names else entries
        if names:
            param_group["param_names"] = names
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(param).__name__}"
                )
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for option, default in self.defaults.items():
            if default is required and option not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{option}"
                )
            param_group.setdefault(option, default)
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; they will be "
                "updated more than once a step",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in group) != bool(names):
                raise ValueError("all optimizer param groups should be with/without names")
            if not set(params).isdisjoint(group["params"]):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # Working

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zero in place."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param._grad = None
                elif param._grad is not None:
                    param._grad = param._grad.detach_().zero_()

    def step(self, closure=None):
        """Update all parameters from their gradients.

        closure: computes the loss and its gradients anew; what it returns is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for gpu, part in _by_device(group):
                with gpu:
                    self._update(part)
        self._opt_called = True
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group, which are all on the current device."""
        raise NotImplementedError(f"{type(self).__name__} must override step or _update")

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [options and the numbers of the params]}."""
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        numbers: dict[Any, int] = {}
        for i, param in enumerate(params):
            numbers.setdefault(param, i)
        return {
            "state": {numbers.get(param, param): state for param, state in self.state.items()},
            "param_groups": [
                _options(group) | {"params": [numbers[param] for param in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and a copy of the state, cast to the types of the parameters.

        Raises ValueError if the groups are not of the same sizes.
        """
        saved_groups = state_dict["param_groups"]
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        params: dict[Any, Tensor] = {}
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
            params.update(zip(saved["params"], group["params"], strict=True))
        # Options that the saved groups do not know yet keep their present values.
        self.param_groups = [
            {**group, **deepcopy(saved), "params": group["params"]}
            for group, saved in zip(self.param_groups, saved_groups, strict=True)
        ]
        self.state = defaultdict(dict)
        for number, saved_state in state_dict["state"].items():
            if number in params:
                param = params[number]
                self.state[param] = {k: _like(v, param, k) for k, v in saved_state.items()}
            else:
                self.state[number] = saved_state

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            options = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            text += f"\nParameter Group {i}\n{''.join(options)}"
        return text + ")"


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in group.items() if option != "params"}


def _by_device(group: dict[str, Any]) -> list:
    """(a block in which the device is the current one, the parameters there) for each device."""
    arrays = [param.array for param in group["params"]]
    if all(type(array) is np.ndarray for array in arrays):
        return [(devices.guard(None), group)]
    parts: dict = {}
    for param, array in zip(group["params"], arrays, strict=True):
        parts.setdefault(devices.of(array), (devices.guard(array), []))[1].append(param)
    return [(gpu, {**group, "params": params}) for gpu, params in parts.values()]


def _like(value: Any, param: Tensor, name: str) -> Any:
    """A copy of a saved value; tensors get the type and device of `param`."""
    if name == "step":  # counts exactly, whatever the parameter's type
        return functions["tensor"](float(value))
    if not isinstance(value, Tensor):
        return deepcopy(value)
    dtype = param.dtype if param.is_floating_point() else None
    return value.detach().to(dtype=dtype, device=param.device, copy=True)


def check_options(lr: Any, foreach, fused, differentiable) -> None:
    """Raise ValueError for a wrong learning rate, other errors for variants that do not exist.

    foreach and fused choose how quickly PyTorch computes the same numbers. Here a step is always
    fused, so they are accepted and change nothing.
    """
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise NotImplementedError("optimizers with differentiable=True are not here yet")
