"""DataParallel: one process that drives several devices.

Why: the shortest way to use several GPUs, and to explain data parallelism: divide the batch
(scatter), copy the model (replicate), run the copies at once (parallel_apply), put the results
together (gather). Each step is an ordinary differentiable operation, so backward through the whole
adds up the copies' gradients in the original module. As the model is copied in every step,
DistributedDataParallel, with a process for each GPU, is quicker.
PyTorch: torch/nn/parallel/data_parallel.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import cuda
from ...autograd.grad_mode import is_grad_enabled
from ..modules import Module
from .parallel_apply import parallel_apply
from .replicate import replicate
from .scatter_gather import as_device, gather, scatter_kwargs

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """`module`, with each batch divided among `device_ids`. Mirrors torch.nn.DataParallel.

    device_ids: numbers of GPUs, or devices; by default all GPUs. The module must be on the first.
    Without a GPU, numbers count for nothing and the module is simply called, as in PyTorch; a list
    such as ["cpu", "cpu"] divides the batch among threads, to see how it works.
    output_device: where the results are put together, by default the first. dim: along which
    tensors are divided and put together. The state dict's keys begin with "module.".
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence | None = None,
        output_device: Any = None,
        dim: int = 0,
    ):
        super().__init__()
        self.module = module
        self.dim = dim
        wanted = range(cuda.device_count()) if device_ids is None else device_ids
        self.device_ids = [d for d in wanted if _is_here(d)]
        if not self.device_ids:
            return
        self.output_device = self.device_ids[0] if output_device is None else output_device
        self.src_device_obj = as_device(self.device_ids[0])
        if len(self.device_ids) == 1:
            module.to(self.src_device_obj)

    def forward(self, *inputs, **kwargs):
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        for t in [*self.module.parameters(), *self.module.buffers()]:
            if t.device != self.src_device_obj:
                raise RuntimeError(
                    "module must have its parameters and buffers on device "
                    f"{self.src_device_obj} (device_ids[0]) but found one of them on device: "
                    f"{t.device}"
                )
        args, named = self.scatter(inputs, kwargs, self.device_ids)
        if not args:  # a forward without arguments runs on the first device
            args, named = ((),), ({},)
        if len(self.device_ids) == 1:
            return self.module(*args[0], **named[0])
        replicas = self.replicate(self.module, self.device_ids[: len(args)])
        outputs = self.parallel_apply(replicas, args, named)
        return self.gather(outputs, self.output_device)

    # The four steps; a subclass may override each.

    def scatter(self, inputs, kwargs, device_ids):
        return scatter_kwargs(inputs, kwargs, device_ids, self.dim)

    def replicate(self, module, device_ids):
        return replicate(module, device_ids, not is_grad_enabled())

    def parallel_apply(self, replicas, inputs, kwargs):
        return parallel_apply(replicas, inputs, kwargs, self.device_ids[: len(replicas)])

    def gather(self, outputs, output_device):
        return gather(outputs, output_device, self.dim)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """DataParallel(module, ...)(*inputs, **module_kwargs). `inputs`: a tuple, or the only argument.

    Mirrors torch.nn.parallel.data_parallel.
    """
    if not isinstance(inputs, tuple):
        inputs = () if inputs is None else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*inputs, **(module_kwargs or {}))


def _is_here(device: Any) -> bool:
    return as_device(device).type == "cpu" or cuda.is_available()
