"""Step 4: a layer that one rank does not use. The loop of step 3 fails; zeros cure it.

minitorchrun -n 2 examples/distributed/step4_unused_layer.py what-is-there
minitorchrun -n 2 examples/distributed/step4_unused_layer.py zeros
"""

from step1_one_process import batches, train
from step2_nothing_shared import chosen, say, share, spread
from step3_average import average_gradients

import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn


class Skipping(nn.Module):
    """A model that leaves out a layer now and then; here in step 3, on rank 1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.maybe, self.last = nn.Linear(784, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.steps = 0

    def forward(self, images):
        self.steps += 1
        hidden = self.first(images).relu()
        if not (dist.get_rank() == 1 and self.steps == 3):
            hidden = hidden + self.maybe(hidden).relu()
        return self.last(hidden)


def average_what_is_there(model):
    """Parameters that were not used have no gradient: leave them out."""
    for p in model.parameters():
        if p.grad is not None:
            dist.all_reduce(p.grad)
            p.grad /= dist.get_world_size()


def average_with_zeros(model):
    """What was not used here may have been used elsewhere: send zeros for it."""
    for p in model.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    average_gradients(model)


if __name__ == "__main__":
    ways = {"what-is-there": average_what_is_there, "zeros": average_with_zeros}
    average = chosen(ways, __doc__)
    dist.init_process_group()
    model = Skipping()
    losses = train(model, share(batches()), lambda: average(model))
    say(f"{len(losses)} steps; the ranks differ by {spread(model):.1e}")
    dist.destroy_process_group()
