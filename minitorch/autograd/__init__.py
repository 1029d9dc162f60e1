"""Automatic differentiation: the graph, the engine that walks it, and the switches.

Start with graph.py (what is recorded), engine.py (how gradients flow back) and differentiate.py
(backward and grad). On them are built hooks.py, saved.py (who packs what is saved), function.py
(operations of the user's own) and anomaly.py. grad_mode.py has the switches, and the one place
where others may watch.
PyTorch: torch/autograd/.
"""

from ..tensor import Tensor, wrap
from . import anomaly, function, graph
from .anomaly import detect_anomaly, set_detect_anomaly
from .differentiate import backward, grad
from .function import Function
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
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


__all__ = ["Function", "Node", "Variable", "anomaly", "backward", "detect_anomaly", "enable_grad"]
__all__ += ["function", "functional", "grad", "graph", "inference_mode", "is_grad_enabled"]
__all__ += ["no_grad", "set_detect_anomaly", "set_grad_enabled", "set_multithreading_enabled"]

from . import functional  # last, for these may use all of the above
from .gradcheck import gradcheck, gradgradcheck
