"""Schedulers: the learning rate as a function of the epoch.

A scheduler's `step`, called after the optimizer's at the end of each epoch (of each batch for
OneCycleLR and CyclicLR), writes new learning rates into the optimizer's groups. Most compute them
from the present ones ("chainable"), so several schedulers can act on one optimizer; the values are
PyTorch's to the last bit. PyTorch: torch/optim/lr_scheduler.py.
"""

from .by_epoch import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .combined import ChainedScheduler, SequentialLR
from .cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler

_LRScheduler = LRScheduler  # its name until 2022
