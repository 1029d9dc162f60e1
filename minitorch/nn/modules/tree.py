"""The tree of modules: walking through it, and changing all of it at once.

Why a file of its own: none of this knows what a layer computes, or how attributes got into the
three tables (module.py). Invariant: parents come before their children, children in the order of
their registration, and what is reachable in several ways comes once unless it is asked for.
PyTorch: torch/nn/modules/module.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ... import dtypes
from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..parameter import Parameter


class Tree:
    """The part of Module that concerns it together with all modules below it."""

    training: bool
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]

    # Walking

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Itself and all modules below with their dotted names, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(memo, path, remove_duplicate)

    def _named_members(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool):
        seen: set = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, member in module.__dict__[table].items():
                if member is not None and member not in seen:
                    if remove_duplicate:
                        seen.add(member)
                    yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) pairs; `recurse`: also those of the modules below."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) pairs; `recurse`: also those of the modules below."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """(name, module) pairs of the modules directly below."""
        seen: set = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def modules(self) -> Iterator[Any]:
        return (module for _, module in self.named_modules())

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def children(self) -> Iterator[Any]:
        return (child for _, child in self.named_children())

    def get_submodule(self, target: str) -> Any:
        """The module with the dotted name `target`. Raises AttributeError."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Tree):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def _get_member(self, target: str, table: str, what: str):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in module.__dict__[table]:
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with the dotted name `target`. Raises AttributeError."""
        return self._get_member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name `target`. Raises AttributeError."""
        return self._get_member(target, "_buffers", "a buffer")

    # Changing everything

    def apply(self, fn: Callable[[Any], Any]):
        """Call `fn` on every module, children first, itself last. Returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def share_memory(self):
        """Move all parameters and buffers into memory that forked processes share."""
        return self._apply(lambda tensor: tensor.share_memory_())

    def _apply(self, convert: Callable[[Tensor], Any]):
        """Replace the memory of every parameter, gradient and buffer by its converted form."""
        for child in self.children():
            child._apply(convert)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    parameter.data = convert(parameter)
                    if parameter._grad is not None:
                        parameter._grad.data = convert(parameter._grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = convert(buffer)
        return self

    def to(self, *args, dtype=None, device=None, non_blocking=False, memory_format=None):
        """Convert in place: to(dtype), to(device), to(device, dtype), to(tensor).

        Only floating parameters and buffers change their dtype. Returns the module. Raises
        TypeError for a dtype that is not floating. Mirrors torch.nn.Module.to.
        """
        for arg in args:
            if isinstance(arg, dtypes.dtype):
                dtype = arg
            elif isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif not isinstance(arg, bool):  # a bool is `non_blocking`
                device = arg
        if dtype is not None and dtype.category < dtypes.FLOATING:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        return self._apply(lambda t: t.to(dtype=dtype if _is_real(t) else None, device=device))

    def type(self, dst_type):
        """Convert all parameters and buffers, also those of integers."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        return self.to(dtypes.float32)

    def double(self):
        return self.to(dtypes.float64)

    def half(self):
        return self.to(dtypes.float16)

    def bfloat16(self):
        return self.to(dtypes.bfloat16)

    def cpu(self):
        return self.to(device="cpu")

    def cuda(self, device=None):
        return self.to(device="cuda" if device is None else device)

    def train(self, mode: bool = True):
        """Set training mode, which dropout and batch norm look at. Returns the module."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self):
        """Set evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True):
        """Switch the learning of all parameters on or off. Returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zero in place."""
        for parameter in self.parameters():
            if parameter._grad is not None:
                if set_to_none:
                    parameter._grad = None
                else:
                    parameter._grad = parameter._grad.detach_()
                    parameter._grad.zero_()


def _is_real(tensor: Tensor) -> bool:
    return tensor.dtype.category >= dtypes.FLOATING
