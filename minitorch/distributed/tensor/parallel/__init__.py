"""Tensor parallelism: a layer's weight is cut into parts, and each rank computes with its own.

To read it: `regions` (the collectives, and what they are in backward), `layers` (Linear and
Embedding of which a rank has a part), `style` (how a model is told to use them). By hand, without
any of this: examples/tensor_parallel.py. PyTorch: torch/distributed/tensor/parallel/.
"""

from minitorch.distributed.tensor.parallel.api import parallelize_module
from minitorch.distributed.tensor.parallel.layers import full_tensor
from minitorch.distributed.tensor.parallel.loss import vocab_parallel_cross_entropy
from minitorch.distributed.tensor.parallel.style import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
)
from minitorch.missing import getattr_for

__all__ = [
    "ColwiseParallel",
    "ParallelStyle",
    "RowwiseParallel",
    "SequenceParallel",
    "full_tensor",
    "parallelize_module",
    "vocab_parallel_cross_entropy",
]

__getattr__ = getattr_for(__name__)
