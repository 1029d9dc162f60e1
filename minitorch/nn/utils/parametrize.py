"""Parameters that are computed from others: orthogonal, symmetric or normalised weights.

`register_parametrization(linear, "weight", Symmetric())` takes the parameter `weight` away, keeps
it as linear.parametrizations.weight.original, which is what is trained, and makes linear.weight a
property that computes Symmetric()(original). For the property the module gets a class of its own, a
subclass of what it was. Invariant: such a class never changes, so copies of a module may share it.
PyTorch: torch/nn/utils/parametrize.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..modules import Module, ModuleDict, ModuleList
from ..parameter import Parameter

_cache: dict[tuple[int, str], Tensor] | None = None  # what was computed within `cached`


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within this context each parametrized tensor is computed once.

    Mirrors torch.nn.utils.parametrize.cached.
    """
    global _cache
    before = _cache
    _cache = {} if before is None else before
    try:
        yield
    finally:
        _cache = before


class ParametrizationList(ModuleList):
    """What computes one tensor: the modules, one after the other, from `original`.

    A first module whose `right_inverse` gives several tensors has them as original0, original1, ...
    """

    def __init__(self, modules: Iterable[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            values = self._originals_of(original)
        self.is_tensor = isinstance(values, Tensor)
        self.ntensors = 1 if self.is_tensor else len(values)
        if isinstance(values, Tensor):
            if not unsafe:
                _require_like(original, values, "right_inverse")
            original.data = values.data
            self._keep("original", original, original.requires_grad)
        else:
            for i, value in enumerate(values):
                self._keep(f"original{i}", value, original.requires_grad)
        if not unsafe:
            _require_like(original, self(), "forward")

    def _keep(self, name: str, value: Tensor, trained: bool) -> None:
        if isinstance(value, Parameter) or trained:
            self.register_parameter(
                name, value if isinstance(value, Parameter) else Parameter(value)
            )
        else:
            self.register_buffer(name, value)

    def _originals_of(self, value: Tensor) -> Any:
        """The tensor, or tensors, from which the modules would compute `value`."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    value = module.right_inverse(value)
        return value

    def originals(self) -> list[Tensor]:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals to what `value` is computed from: an assignment to the tensor."""
        with no_grad():
            found = self._originals_of(value)
            found = [found] if self.is_tensor else found
            for original, new in zip(self.originals(), found, strict=True):
                original.copy_(new)

    def forward(self):
        first, *rest = self
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute the parameter or buffer `tensor_name` by `parametrization`; several may be added.

    An assignment to the tensor needs parametrization.right_inverse, if that is not the identity.
    Raises ValueError for a name that the module has not, and, unless `unsafe`, for a change of
    shape or dtype. Mirrors torch.nn.utils.parametrize.register_parametrization.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        existing = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            _require_like(value, parametrization(value), "forward")
        existing.append(parametrization)
        existing.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    computed = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = computed
    _set_class(module)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module, or the one of this name, is computed. Mirrors torch's."""
    lists = module._modules.get("parametrizations")
    if not isinstance(lists, ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor an ordinary one again, with its present value, or that of the original.

    Raises ValueError if it is not parametrized, or if there are several originals to leave.
    Mirrors torch.nn.utils.parametrize.remove_parametrizations.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    computed = module.parametrizations[tensor_name]
    original = computed.originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if computed.is_tensor:
            original.data = value
        else:
            original = Parameter(value) if original.requires_grad else value
    elif not computed.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    del module.parametrizations[tensor_name]
    _set_class(module)
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before it was parametrized. Mirrors torch's."""
    return getattr(type(module), "_unparametrized", type(module))


def _set_class(module: Module) -> None:
    """Give the module the class with a property for each of its computed tensors."""
    plain = type_before_parametrizations(module)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = plain
        return
    names = list(module.parametrizations)
    members = {name: _property(name) for name in names}
    module.__class__ = type(
        f"Parametrized{plain.__name__}", (plain,), {**members, "_unparametrized": plain}
    )


def _property(name: str) -> property:
    def get(self):
        computed = self.parametrizations[name]
        if _cache is None:
            return computed()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = computed()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def _require_like(expected: Tensor, got: Any, what: str) -> None:
    """ValueError unless `got`, of a parametrization's method, looks like the tensor it is for."""
    if not isinstance(got, Tensor):
        raise ValueError(
            f"A parametrization's {what} must return a tensor. Got {type(got).__name__}."
        )
    for trait in ("dtype", "shape"):
        if getattr(got, trait) != getattr(expected, trait):
            raise ValueError(
                f"Registering a parametrization may not change the {trait} of the tensor, unless "
                f"the `unsafe` flag is enabled: {what} made {getattr(got, trait)} of "
                f"{getattr(expected, trait)}"
            )
