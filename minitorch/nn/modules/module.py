"""Module: a tree of layers that knows its parameters.

Assigning a Parameter, a Buffer or a Module to an attribute enters it into one of three tables,
`_parameters`, `_buffers` and `_modules`. Everything else works on these tables: tree.py walks
through the modules and changes all of them, state.py saves and loads.
Invariants: a name stands in at most one of the tables or among the ordinary attributes; a parameter
stays the same object as long as the module lives, so optimizers and hooks may hold on to it.
PyTorch: torch/nn/modules/module.py.
"""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ..parameter import Buffer, Parameter
from . import hooks
from .hooks import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from .state import Stateful
from .tree import Tree

__all__ = ["Module", "register_module_forward_hook", "register_module_forward_pre_hook"]
__all__ += ["register_module_full_backward_hook", "register_module_full_backward_pre_hook"]

_TABLES = ("_parameters", "_buffers", "_modules")


class Module(Tree, Stateful):
    """Base class of all layers and models: override `forward`. Mirrors torch.nn.Module."""

    _is_full_backward_hook: bool | None

    def __init__(self):
        # Past __setattr__, which looks into the tables that are only being made here.
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
            _forward_pre_hooks={},
            _forward_hooks={},
            _backward_pre_hooks={},
            _backward_hooks={},
            _is_full_backward_hook=None,
        )

    # Registration

    def __setattr__(self, name: str, value) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._make_room(name, "_parameters", "parameters")
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            _only_none(value, f"as parameter '{name}' (torch.nn.Parameter or None expected)")
            self._parameters[name] = None
        elif isinstance(value, Module):
            self._make_room(name, "_modules", "module")
            self._modules[name] = value
        elif name in own.get("_modules", ()):
            _only_none(value, f"as child module '{name}' (torch.nn.Module or None expected)")
            self._modules[name] = None
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif name in own.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            object.__setattr__(self, name, value)

    def _make_room(self, name: str, table: str, what: str) -> None:
        """Forget any other kind of attribute called `name`."""
        self._check_initialised(table, what)
        for other in (self.__dict__, *[self.__dict__[t] for t in _TABLES if t != table]):
            other.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _check_initialised(self, table: str, what: str) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES:
            if table in own and name in own[table]:
                return own[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self):
        names = {*object.__dir__(self), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Enter `param` as attribute `name`; None reserves the name. Raises KeyError, TypeError."""
        self._check_initialised("_parameters", "parameter")
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param._node is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                "created explicitly; what is computed from other tensors belongs into forward()."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Enter state that is not learned. `persistent`: it belongs to the state_dict."""
        self._check_initialised("_buffers", "buffer")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Enter a child. Another name of add_module."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Enter a child as attribute `name`. Raises TypeError for what is no module."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_initialised("_modules", "module")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    def _check_name(self, kind: str, name: str, table: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # Calling

    def forward(self, *args, **kwargs):
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args, **kwargs):
        if (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or hooks.everywhere
        ):
            return hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def register_forward_pre_hook(self, hook, *, prepend: bool = False, with_kwargs: bool = False):
        """Run `hook(module, args)` before forward; what it returns replaces the arguments.

        `with_kwargs`: hook(module, args, kwargs), returning both. Returns a handle with `remove()`.
        """
        return hooks.add(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ):
        """Run `hook(module, args, output)` after forward; what it returns replaces the output.

        `with_kwargs`: hook(module, args, kwargs, output). `always_call`: also when forward raises.
        Returns a handle with `remove()`.
        """
        return hooks.add(self._forward_hooks, (hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook, prepend: bool = False):
        """Run `hook(module, grad_output)` when the gradients of the results are there.

        What it returns, a tuple, replaces them. Returns a handle with `remove()`.
        """
        return hooks.add(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook, prepend: bool = False):
        """Run `hook(module, grad_input, grad_output)` when those of the arguments are there.

        Both are tuples with an entry for every positional argument and every result, None for what
        is no tensor. What the hook returns replaces grad_input. Forward's arguments must not be
        changed in place. Returns a handle with `remove()`.
        """
        self._use_backward_hooks(full=True)
        return hooks.add(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook):
        """The older kind, which sees the gradients at forward's last operation alone.

        Use register_full_backward_hook. Returns a handle with `remove()`.
        """
        self._use_backward_hooks(full=False)
        return hooks.add(self._backward_hooks, hook)

    def _use_backward_hooks(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    # How it prints

    def extra_repr(self) -> str:
        """What stands between the parentheses: the layer's own arguments."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        return _in_parentheses(self._get_name(), extra.split("\n") if extra else [], children)


def _in_parentheses(name: str, extra: list[str], children: list[str]) -> str:
    """Name(extra) on one line if that is all, otherwise a line for each part."""
    if not children and len(extra) <= 1:
        return f"{name}({''.join(extra)})"
    return f"{name}(\n  " + "\n  ".join(extra + children) + "\n)"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _only_none(value, expectation: str) -> None:
    if value is not None:
        raise TypeError(f"cannot assign '{_type_name(value)}' {expectation}")


def _type_name(value) -> str:
    """What PyTorch's messages call the type of a value."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
