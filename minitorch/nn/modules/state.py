"""What a module is made of, as a flat dict from dotted names to tensors, and back.

Why a file of its own: this is the half of Module that checkpoints depend on. The names and the
order of the entries are PyTorch's, so state dicts of the two libraries are interchangeable.
Invariant: loading copies into the existing tensors (unless `assign`), so that optimizers and other
holders of a parameter see the loaded values; on an error all problems are reported together.
PyTorch: torch/nn/modules/module.py.
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..parameter import Parameter

EXTRA = "_extra_state"  # the key of what get_extra_state returns


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict returns: the lists of names that did not match."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class Stateful:
    """The part of Module that saves and loads. Mirrors methods of torch.nn.Module."""

    _version = 1  # of the layout of the class's state, saved in the metadata
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def get_extra_state(self) -> Any:
        """What else belongs into the state dict, if a subclass says so by overriding this."""
        raise RuntimeError("this module has no extra state: override get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state returned."""
        raise RuntimeError("this module takes no extra state: override set_extra_state")

    def _own_state(self) -> dict[str, Tensor]:
        """The module's own parameters and persistent buffers, without its children's."""
        persistent = {
            k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set
        }
        return {k: v for k, v in (self._parameters | persistent).items() if v is not None}

    # Saving

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False):
        """All parameters and persistent buffers by name, sharing memory with the module.

        `prefix` goes before every name; `keep_vars` leaves the tensors in the graph; `destination`
        is a dict to add to. Mirrors torch.nn.Module.state_dict.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        return destination

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        for name, tensor in self._own_state().items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if _overrides(self, "get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    # Loading

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy the tensors of `state_dict` into the module's, by name.

        `strict`: names that are missing or too many are errors. `assign`: take the tensors
        themselves instead of their values. Returns the names that did not match. Raises
        RuntimeError, which lists every problem. Mirrors torch.nn.Module.load_state_dict.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None) or {}
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []

        def load(module, entries: dict, prefix: str) -> None:
            local = dict(metadata.get(prefix[:-1], {}))
            if assign:
                local["assign_to_params_buffers"] = True
            module._load_from_state_dict(entries, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    load(child, {k: v for k, v in entries.items() if k.startswith(below)}, below)

        load(self, dict(state_dict), "")
        if strict and unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if strict and missing:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            problems = "\n\t".join(errors)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{problems}"
            )
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load the module's own tensors; its children's turn comes later. Appends to the lists.

        Layers that changed their layout override this to translate older states.
        """
        own = self._own_state()
        for name, tensor in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
                continue
            try:
                assign = local_metadata.get("assign_to_params_buffers", False)
                self._load_one(name, tensor, key, state_dict[key], assign)
            except _Unfit as problem:
                error_msgs.append(str(problem))
        if _overrides(self, "set_extra_state"):
            if prefix + EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA])
            else:
                missing_keys.append(prefix + EXTRA)
        elif prefix + EXTRA in state_dict:
            unexpected_keys.append(prefix + EXTRA)
        for key in state_dict:
            if key.startswith(prefix) and key != prefix + EXTRA:
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (self._modules if dot else own):
                    unexpected_keys.append(key)

    def _load_one(self, name: str, tensor: Tensor, key: str, value: Any, assign: bool) -> None:
        if not isinstance(value, Tensor):
            raise _Unfit(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                f"object from checkpoint but received {type(value)}"
            )
        if tensor.ndim == 0 and value.shape == (1,):
            value = value[0]
        if value.shape != tensor.shape:
            raise _Unfit(
                f"size mismatch for {key}: copying a param with shape {value.shape} from "
                f"checkpoint, the shape in current model is {tensor.shape}."
            )
        if not assign:
            with no_grad():
                tensor.copy_(value)
            return
        if isinstance(tensor, Parameter):
            if not isinstance(value, Parameter):
                value = Parameter(value, requires_grad=tensor.requires_grad)
            value.requires_grad_(tensor.requires_grad)
        setattr(self, name, value)


class _Unfit(Exception):
    """A tensor of a state dict that the module cannot take."""


def _overrides(module: Stateful, method: str) -> bool:
    return getattr(type(module), method) is not getattr(Stateful, method)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
