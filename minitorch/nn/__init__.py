"""Layers and models. `from minitorch import nn`: nn.Module, nn.Linear, nn.functional, nn.init.

PyTorch: torch/nn/__init__.py.
"""

# ruff: noqa: F403
from . import attention, functional, init, modules, parallel, utils
from .modules import *
from .parallel import DataParallel
from .parameter import Buffer, Parameter
