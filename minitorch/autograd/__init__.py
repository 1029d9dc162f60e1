"""Automatic differentiation: the graph, the engine that walks it, and the switches.

Start with graph.py (what is recorded), then engine.py (how gradients flow back).
PyTorch: torch/autograd/.
"""

from ..tensor import Tensor as Variable
from .engine import backward, grad
from .grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .graph import Node

__all__ = ["Node", "Variable", "backward", "enable_grad", "grad", "is_grad_enabled", "no_grad"]
__all__ += ["set_grad_enabled"]
