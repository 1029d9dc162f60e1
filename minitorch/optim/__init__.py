"""Optimizers, one file each, and learning rate schedulers. PyTorch: torch/optim/__init__.py."""

from . import lr_scheduler
from .adam import Adam
from .adamw import AdamW
from .optimizer import Optimizer
from .sgd import SGD
