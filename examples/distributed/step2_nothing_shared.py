"""Step 2: two processes, each with its share of every batch, and nothing between them.

minitorchrun -n 2 examples/distributed/step2_nothing_shared.py
"""

import sys

from step1_one_process import batches, build, train

import minitorch as torch
import minitorch.distributed as dist


def share(data):
    """This rank's part of every batch."""
    rank, size = dist.get_rank(), dist.get_world_size()
    for images, labels in data:
        yield images.chunk(size)[rank], labels.chunk(size)[rank]


def flat(model):
    """All parameters, in one vector."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def spread(model):
    """How far apart the ranks' copies of a model are: the largest difference in any parameter."""
    high, low = flat(model), flat(model)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    dist.all_reduce(low, dist.ReduceOp.MIN)
    return (high - low).max().item()


def say(text):
    """Print on one rank."""
    if dist.get_rank() == 0:
        print(text, flush=True)


def chosen(ways, doc):
    """The way that the command line names; if it names none, the program ends with its `doc`."""
    return ways[sys.argv[1]] if sys.argv[1:] and sys.argv[1] in ways else sys.exit(doc)


if __name__ == "__main__":
    dist.init_process_group()
    for steps in 0, 1, 5, 20:
        model = build()
        train(model, share(batches(steps)))
        say(f"after {steps:2} steps the ranks' models differ by {spread(model):.1e}")
    dist.destroy_process_group()
