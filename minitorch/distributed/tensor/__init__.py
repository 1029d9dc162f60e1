"""How a tensor is spread over ranks, and layers that work on their part of it.

PyTorch has DTensor here: a tensor that knows its layout, and moves data when an operation needs
another one. minitorch has only the words for layouts (Replicate, Shard, Partial) and, in
`parallel`, the layers of tensor parallelism, which hold ordinary tensors, this rank's part, and
call the collectives where the reader sees them. PyTorch: torch/distributed/tensor/__init__.py.
"""

from minitorch.distributed.device_mesh import DeviceMesh, init_device_mesh
from minitorch.distributed.tensor import parallel
from minitorch.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard
from minitorch.missing import getattr_for

__all__ = ["DeviceMesh", "Partial", "Placement", "Replicate", "Shard", "init_device_mesh"]

__getattr__ = getattr_for(__name__)
