"""A short training under DistributedDataParallel, to compare backends by."""

import hashlib

import numpy as np

BATCH = 6  # of each rank


def train_mini(rank, world_size, steps=10):
    """Ranks begin with different parameters; returns the first gradients, and the end's digest."""
    import minitorch as torch

    nn = torch.nn
    torch.manual_seed(rank)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(4 * 3 * 3, 16), nn.Tanh(), nn.Linear(16, 5)),
    )
    ddp = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1, momentum=0.9)
    first = None
    for step in range(steps):
        random = np.random.default_rng(100 * step + rank)
        x = torch.from_numpy(random.standard_normal((BATCH, 1, 8, 8)).astype(np.float32))
        labels = torch.from_numpy(random.integers(0, 5, BATCH))
        optimizer.zero_grad()
        nn.functional.cross_entropy(ddp(x), labels).backward()
        first = first or [p.grad.numpy().copy() for p in model.parameters()]
        optimizer.step()
    state = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))
    return first, state.hexdigest()
