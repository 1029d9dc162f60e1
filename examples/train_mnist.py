"""Train a small convolutional network on MNIST, on one process or several.

    python examples/train_mnist.py
    minitorchrun --nproc_per_node 2 examples/train_mnist.py

With `import torch` in place of the first import, the same file runs under PyTorch and torchrun.
The data, 5,000 images, is in examples/data (see the README there).
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import minitorch as torch

nn, F, dist = torch.nn, torch.nn.functional, torch.distributed
HERE = Path(__file__).parent


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)  # (n, 1, 28, 28) -> (n, 16, 26, 26)
        self.conv2 = nn.Conv2d(16, 32, 3)  # -> (n, 32, 24, 24)
        self.dropout1 = nn.Dropout(dropout / 2)
        self.fc1 = nn.Linear(32 * 12 * 12, 128)
        self.dropout2 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))  # -> (n, 32, 12, 12)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def load_mnist():
    """Training and test set: images as floats of mean 0 and deviation 1, (n, 1, 28, 28)."""
    data = np.load(HERE / "data" / "mnist5k.npz")

    def dataset(part):
        images = (data[f"x_{part}"].astype(np.float32) / 255 - 0.1307) / 0.3081
        labels = data[f"y_{part}"].astype(np.int64)
        images = images.reshape(-1, 1, 28, 28)
        return torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))

    return dataset("train"), dataset("test")


def progress(batches, epoch, rank):
    """`batches` with a progress bar on rank 0, if tqdm is there."""
    try:
        from tqdm import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=f"epoch {epoch}", disable=rank != 0)


def train(model, batches, optimizer, epoch, rank, args, losses):
    model.train()
    bar = progress(batches, epoch, rank)
    for images, labels in bar:
        images, labels = images.to(args.device), labels.to(args.device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()  # under DDP, gradients are averaged while this runs
        optimizer.step()
        losses.append(loss.item())
        if len(losses) <= args.print_losses and rank == 0:
            print(f"step {len(losses)} loss {losses[-1]:.6f}", flush=True)
        if hasattr(bar, "set_postfix"):
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        if len(losses) == args.steps:
            break


def accuracy(model, dataset, rank, world_size, args):
    """The share of right answers; every rank counts its own part of the data."""
    model.eval()
    mine = torch.utils.data.Subset(dataset, range(rank, len(dataset), world_size))
    counts = torch.zeros(2)  # right, all
    with torch.no_grad():
        for images, labels in torch.utils.data.DataLoader(mine, batch_size=250):
            guesses = model(images.to(args.device)).argmax(dim=1).cpu()
            counts += torch.tensor([(guesses == labels).sum().item(), len(labels)])
    if world_size > 1:
        dist.all_reduce(counts)
    return (counts[0] / counts[1]).item()


def draw(losses, path):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    window = min(20, len(losses))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    plt.figure(figsize=(7, 4))
    plt.plot(losses, alpha=0.3, label="each step")
    plt.plot(np.arange(len(smooth)) + window - 1, smooth, label=f"mean of {window} steps")
    plt.yscale("log")
    plt.xlabel("step")
    plt.ylabel("loss")
    plt.title("MNIST, 4,000 images: training loss (rank 0)")
    plt.legend()
    plt.tight_layout()
    plt.savefig(path, dpi=120)
    print(f"loss curve: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for what it writes")
    parser.add_argument("--print-losses", type=int, default=0, metavar="N", help="first N steps'")
    parser.add_argument("--steps", type=int, default=0, metavar="N", help="stop after N steps")
    args = parser.parse_args()

    distributed = "RANK" in os.environ  # set by the launcher
    if distributed:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if distributed else 0
    world_size = dist.get_world_size() if distributed else 1

    torch.manual_seed(args.seed)
    train_set, test_set = load_mnist()
    model = Net(args.dropout).to(args.device)
    torch.manual_seed(args.seed + rank)  # other dropout masks on every rank
    sampler = None
    if distributed:
        model = nn.parallel.DistributedDataParallel(model)
        sampler = torch.utils.data.distributed.DistributedSampler(train_set, seed=args.seed)
    batches = torch.utils.data.DataLoader(
        train_set, args.batch_size // world_size, shuffle=sampler is None, sampler=sampler
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

    losses, start = [], time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        if sampler is not None:
            sampler.set_epoch(epoch)  # another shuffle every epoch
        train(model, batches, optimizer, epoch, rank, args, losses)
        scheduler.step()
    seconds = time.perf_counter() - start
    reached = accuracy(model, test_set, rank, world_size, args)

    if rank == 0:
        print(f"{world_size} process(es), {args.epochs} epochs, {seconds:.1f} s")
        print(f"test accuracy: {reached:.1%}")
        plain = model.module if distributed else model
        state = {"model": plain.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, args.out / "mnist.pt")
        print(f"checkpoint: {args.out / 'mnist.pt'}")
        draw(losses, args.out / "mnist_loss.png")
    if distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
