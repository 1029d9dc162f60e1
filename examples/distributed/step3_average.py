"""Step 3: after every backward the ranks average their gradients.

minitorchrun -n 2 examples/distributed/step3_average.py
"""

from step1_one_process import batches, build, train
from step2_nothing_shared import flat, say, share, spread

import minitorch.distributed as dist


def average_gradients(model):
    """Replace each gradient by its mean over the ranks, one message after the other."""
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad /= dist.get_world_size()


def copy_from_rank_0(model):
    for p in model.parameters():
        dist.broadcast(p.detach(), src=0)  # detach: the same numbers, without their history


def experiment(name, seed, prepare=lambda model: None):
    model = build(seed)
    prepare(model)
    before = spread(model)
    train(model, share(batches()), lambda: average_gradients(model))
    say(f"{name}: the ranks differ by {before:.1e} before training, {spread(model):.1e} after")
    say(f"    rank 0 differs from one process by {(flat(model) - flat(alone)).abs().max():.1e}")


if __name__ == "__main__":
    dist.init_process_group()
    alone = build()  # the reference: every rank trains it by itself, on whole batches
    train(alone, batches())
    rank = dist.get_rank()
    experiment("the same start", seed=0)
    experiment("another start on each rank", seed=rank)
    experiment("the start of rank 0 for all", seed=rank, prepare=copy_from_rank_0)
    dist.destroy_process_group()
