"""NaiveDistributedDataParallel: data parallelism in its plainest form, to read first.

The loss of a batch is the mean over its samples. So if N ranks take a share each, and average their
gradients, they have the gradient of the whole batch; and if they began with the same parameters,
the same optimizer step leaves them the same again. That is all there is to it:

- before training, rank 0's parameters are copied to everybody;
- after backward, each gradient is averaged.

What it lacks is speed. It sends each parameter by itself, and only when backward is over: while
there is something to compute nobody sends, and while there is something to send nobody computes.
reducer.py puts that right; the gradients are the same.
PyTorch has nothing like it; its users write these lines by hand.
"""

from __future__ import annotations

from ... import distributed as dist
from ..modules.module import Module


class NaiveDistributedDataParallel(Module):
    """`module`, with gradients that `average_gradients` makes those of all ranks' data.

        model = NaiveDistributedDataParallel(model)
        loss_function(model(inputs), labels).backward()
        model.average_gradients()
        optimizer.step()

    Every rank must call `average_gradients` after each backward, and use the same parameters.
    """

    def __init__(self, module: Module, process_group=None):
        super().__init__()
        self.module = module
        self.process_group = process_group
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.detach(), group=process_group, group_src=0)

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)

    def average_gradients(self) -> None:
        """Replace every .grad by its mean over the ranks."""
        size = dist.get_world_size(self.process_group)
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad /= size
                dist.all_reduce(parameter.grad, group=self.process_group)
