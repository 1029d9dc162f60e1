"""Automatic differentiation: the graph, the engine that walks it, and the switches.

Start with graph.py (what is recorded), then engine.py (how gradients flow back).
PyTorch: torch/autograd/.
"""

from ..tensor import Tensor, wrap
from .engine import backward, grad
from .grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .graph import Node


class _AnyTensor(type):
    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Tensor)


class Variable(Tensor, metaclass=_AnyTensor):
    """The tensor of scripts from before 2018. `Variable(data, requires_grad)` is a Tensor.

    Shares the memory of `data`. Mirrors torch.autograd.Variable.
    """

    def __new__(cls, data, requires_grad=False, volatile=False):
        tensor = wrap(data.array)
        tensor._storage = data._storage
        tensor.requires_grad = requires_grad
        return tensor


__all__ = ["Node", "Variable", "backward", "enable_grad", "grad", "is_grad_enabled", "no_grad"]
__all__ += ["set_grad_enabled"]
