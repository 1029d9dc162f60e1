"""Collectives through which gradients flow. PyTorch: torch/distributed/nn/__init__.py."""

from . import functional
from .functional import *  # noqa: F403
