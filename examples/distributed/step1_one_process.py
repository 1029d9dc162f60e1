"""Step 1: one process trains on whole batches. What all later steps have to come to.

    python examples/distributed/step1_one_process.py

This and the other steps run under PyTorch, too, with `torch` for `minitorch` in the imports.
"""

from pathlib import Path

import numpy as np

import minitorch as torch
from minitorch import nn

DIGITS = Path(__file__).parents[1] / "data" / "mnist5k.npz"
BATCH = 64


def build(seed=0):
    """An untrained model. The same seed gives the same parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def batches(steps=20):
    """For each step images (BATCH, 784) and labels (BATCH): the same on every process."""
    digits, count = np.load(DIGITS), steps * BATCH
    images = digits["x_train"][:count].reshape(count, 784).astype(np.float32) / 255
    labels = digits["y_train"][:count].astype(np.int64)
    return zip(
        torch.from_numpy(images).split(BATCH), torch.from_numpy(labels).split(BATCH), strict=True
    )


def train(model, data, after_backward=lambda: None):
    """One step for each batch; returns the losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for images, labels in data:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        after_backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    losses = train(build(), batches())
    for step in 0, 9, 19:
        print(f"step {step + 1}: loss {losses[step]:.4f}")
