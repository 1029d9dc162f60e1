"""Step 5: the ranks have shares of different sizes: fewer batches, or smaller ones.

minitorchrun -n 2 examples/distributed/step5_uneven_data.py fewer
minitorchrun -n 2 examples/distributed/step5_uneven_data.py agreed
minitorchrun -n 2 examples/distributed/step5_uneven_data.py smaller
"""

from step1_one_process import BATCH, batches, build, train
from step2_nothing_shared import chosen, flat, say, share
from step3_average import average_gradients

import minitorch as torch
import minitorch.distributed as dist


def fewer(agree=False):
    """Rank 0 has data for 20 steps, rank 1 for 17. Agreed, they do what the poorest can."""
    data = list(share(batches()))[: 20 - 3 * dist.get_rank()]
    if agree:
        steps = torch.tensor(len(data))
        dist.all_reduce(steps, dist.ReduceOp.MIN)
        data = data[: steps.item()]
    model = build()
    say(f"{len(train(model, data, lambda: average_gradients(model)))} steps")


def smaller():
    """Of each 64 samples rank 0 takes 48, rank 1 takes 16: the mean of means is not the mean."""
    mine = slice(0, 48) if dist.get_rank() == 0 else slice(48, BATCH)
    data = [(images[mine], labels[mine]) for images, labels in batches()]
    plain, weighted, alone = build(), build(), build()

    def average_weighted():
        for p in weighted.parameters():
            p.grad *= (mine.stop - mine.start) * dist.get_world_size() / BATCH
        average_gradients(weighted)

    train(plain, data, lambda: average_gradients(plain))
    train(weighted, data, average_weighted)
    train(alone, batches())
    for name, model in {"plain mean": plain, "weighted mean": weighted}.items():
        off = (flat(model) - flat(alone)).abs().max()
        say(f"{name}: differs from one process by {off:.1e}")


if __name__ == "__main__":
    ways = {"fewer": fewer, "agreed": lambda: fewer(agree=True), "smaller": smaller}
    run = chosen(ways, __doc__)
    dist.init_process_group()
    run()
    dist.destroy_process_group()
