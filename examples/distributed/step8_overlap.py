"""Step 8: DistributedDataParallel, and how much of the communication backward hides.

minitorchrun -n 2 examples/distributed/step8_overlap.py
MINITORCH_TRACE=/tmp/trace minitorchrun -n 2 examples/distributed/step8_overlap.py 3
python -m minitorch.viz.timeline /tmp/trace
"""

import sys
import time

from step2_nothing_shared import say
from step3_average import average_gradients

import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn
from minitorch.nn.parallel import DistributedDataParallel


def build():
    """Three wide layers: 3.2 million parameters, 12.6 MB of gradients."""
    torch.manual_seed(0)
    wide = [nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()]
    return nn.Sequential(*wide, nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def step(model, average=None):
    """Forward, backward and averaging; returns the seconds."""
    for p in model.parameters():
        p.grad = None
    dist.barrier()
    start = time.perf_counter()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    if average is not None:
        average(model)
    return time.perf_counter() - start


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    dist.init_process_group()
    torch.set_num_threads(1)
    images, labels = torch.randn(batch, 1024), torch.arange(batch) % 10
    alone, after, ddp = build(), build(), DistributedDataParallel(build(), bucket_cap_mb=4)
    times = {"compute alone": [], "average after": [], "average while": []}
    for _ in range(rounds):
        times["compute alone"].append(step(alone))
        times["average after"].append(step(after, average_gradients))
        times["average while"].append(step(ddp))
    best = {name: min(seconds) for name, seconds in times.items()}
    for name, seconds in best.items():
        say(f"{name}: {1e3 * seconds:6.1f} ms")
    single, off, on = best.values()
    say(f"hidden: {(off - on) / (off - single):.0%} of {1e3 * (off - single):.1f} ms")
    dist.destroy_process_group()
