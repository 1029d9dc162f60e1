"""Step 6: what a message costs, and gradients that travel together.

minitorchrun -n 2 examples/distributed/step6_messages.py
"""

import time

from step2_nothing_shared import say

import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn


def deep():
    """A model of many small parts: 100 parameters, 0.8 MB."""
    torch.manual_seed(0)
    layers = []
    for _ in range(50):
        layers += [nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*layers)


def fill_buckets(gradients, limit):
    """Lists of gradients, in backward's order; a list is full when it has `limit` bytes."""
    buckets, size = [[]], 0
    for grad in reversed(gradients):
        if size >= limit:
            buckets.append([])
            size = 0
        buckets[-1].append(grad)
        size += grad.nbytes
    return buckets


def average(gradients, limit):
    """Average them in buckets of `limit` bytes; returns how many messages that took."""
    buckets = fill_buckets(gradients, limit)
    for bucket in buckets:
        packed = torch.cat([grad.reshape(-1) for grad in bucket])
        dist.all_reduce(packed)
        packed /= dist.get_world_size()
        for grad, part in zip(bucket, packed.split([g.numel() for g in bucket]), strict=True):
            grad.copy_(part.view_as(grad))
    return len(buckets)


if __name__ == "__main__":
    dist.init_process_group()
    model = deep()
    torch.manual_seed(dist.get_rank())
    model(torch.randn(32, 64)).square().mean().backward()
    gradients = [p.grad for p in model.parameters()]
    for name, limit in {"1 B": 1, "64 KiB": 1 << 16, "256 KiB": 1 << 18, "1 GiB": 1 << 30}.items():
        times = []
        for _ in range(20):
            dist.barrier()
            start = time.perf_counter()
            messages = average([g.clone() for g in gradients], limit)
            times.append(time.perf_counter() - start)
        say(f"buckets of {name:>7}: {messages:3} messages, {1e3 * min(times):5.1f} ms")
    dist.destroy_process_group()
