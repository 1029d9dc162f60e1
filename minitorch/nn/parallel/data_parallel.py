"""DataParallel: one process that drives several GPUs. Without one it is the module itself.

PyTorch: torch/nn/parallel/data_parallel.py. To train on several processes, which is faster on GPUs
as well, there is DistributedDataParallel.
"""

from __future__ import annotations

from ..modules import Module


class DataParallel(Module):
    """`module`, under the name `module`: its state dict's keys begin with "module.".

    device_ids, output_device and dim are of use where there are GPUs, and there are none in this
    version. Mirrors torch.nn.DataParallel on a machine without a GPU.
    """

    def __init__(self, module: Module, device_ids=None, output_device=None, dim: int = 0):
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)
