"""Training one model on several processes. PyTorch: torch/nn/parallel/."""

from .distributed import DistributedDataParallel

__all__ = ["DistributedDataParallel"]
