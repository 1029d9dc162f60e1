"""Step 11: a script that starts its own processes; and one of them is killed.

python examples/distributed/step11_spawn.py
python examples/distributed/step11_spawn.py kill
"""

import os
import signal
import sys
import tempfile

from step1_one_process import batches, build, train
from step2_nothing_shared import say, share, spread
from step3_average import average_gradients

import minitorch.distributed as dist
import minitorch.multiprocessing as mp


def work(rank, size, folder, kill):
    """One process. The ranks meet at a file."""
    dist.init_process_group(init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    model = build()
    train(model, share(batches(10)), lambda: average_gradients(model))
    if kill and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    train(model, share(batches(10)), lambda: average_gradients(model))
    say(f"{size} processes; the ranks differ by {spread(model):.1e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(2, folder, "kill" in sys.argv), nprocs=2)
