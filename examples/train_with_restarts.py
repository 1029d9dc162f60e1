"""Training in which any process may be killed at any moment, without a trace in its result.

    minitorchrun -n 2 --max-restarts 100 examples/train_with_restarts.py --kill-after 5

ends each process with kill -9 after 5 seconds on average. The launcher then starts all of them
again; they load the last checkpoint, and go on from there. In the end losses.txt is the same, bit
for bit, as that of a run which nobody disturbed (leave out --kill-after, and give another --out).

For that, a checkpoint has all that the next step depends on:

    model, optimizer, scheduler   weights, momentum, learning rate
    step                          from it follow the epoch, which is the seed of the sampler's
                                  shuffle, and the position within it
    rng                           every rank's generator, of which dropout draws its masks
    losses                        so far, as the curve has to be whole

It is one file, written by one rank, so that all ranks go back to the same step. The folder of an
earlier run is continued.

The last bits of a sum of three terms depend on their order, and that on how the ranks add: ring or
not, which is chosen by measuring the machine: once for all attempts of a launch. To get the same
bits from another launch, with more than two ranks, put MINITORCH_ALGORITHM=direct into the
environment, which adds in the order of the ranks.

With `torch` for `minitorch` in the imports, the file runs under PyTorch and torchrun.
"""

import argparse
import itertools
import os
import random
import signal
import threading
from pathlib import Path

import numpy as np

import minitorch as torch

nn, dist, data = torch.nn, torch.distributed, torch.utils.data
DATA = Path(__file__).parent / "data" / "mnist5k.npz"


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),  # (n, 1, 28, 28) -> (n, 8, 26, 26)
        nn.ReLU(),
        nn.MaxPool2d(2),  # -> (n, 8, 13, 13)
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(8 * 13 * 13, 64),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(64, 10),
    )


def load_mnist():
    """Images (n, 1, 28, 28), with mean 0 and deviation 1, and labels (n)."""
    arrays = np.load(DATA)
    images = (arrays["x_train"].astype(np.float32) / 255 - 0.1307) / 0.3081
    labels = arrays["y_train"].astype(np.int64)
    images = torch.from_numpy(images.reshape(-1, 1, 28, 28))
    return data.TensorDataset(images, torch.from_numpy(labels))


def batches(dataset, size, step):
    """This rank's batches, from that of `step` on, epoch after epoch without end."""
    sampler = data.distributed.DistributedSampler(dataset)
    in_epoch = len(sampler) // size
    while True:
        epoch, position = divmod(step, in_epoch)
        sampler.set_epoch(epoch)
        to_come = list(sampler)[position * size : in_epoch * size]
        # A loader draws a random number when it begins. It must not be one of dropout's, or to
        # begin an epoch a second time, in its middle, would shift the masks.
        own = torch.Generator()
        yield from data.DataLoader(data.Subset(dataset, to_come), size, generator=own)
        step += in_epoch - position


def write_whole(path, write):
    """Call `write(file)`. Killed at any moment, it leaves at `path` the old content or the new."""
    unfinished = path.with_name(path.name + ".unfinished")  # the next attempt writes over it
    with open(unfinished, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())  # the content is on the disk before the name is
    os.replace(unfinished, path)  # one indivisible step


def save(path, parts, step, losses):
    """Write a checkpoint; every rank calls this, for its generator's state."""
    own = torch.get_rng_state()
    states = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(states, own)
    if dist.get_rank() == 0:
        content = {name: part.state_dict() for name, part in parts.items()}
        content |= {"step": step, "rng": states, "losses": losses}
        write_whole(path, lambda file: torch.save(content, file))


def load(path, parts):
    """Bring this rank to where the checkpoint was made; returns its step, and the losses so far."""
    content = torch.load(path)
    if len(content["rng"]) != dist.get_world_size():
        raise ValueError(
            f"{path} is of a run with {len(content['rng'])} ranks, and this one has "
            f"{dist.get_world_size()}: start as many as then, or give another --out"
        )
    for name, part in parts.items():
        part.load_state_dict(content[name])
    torch.set_rng_state(content["rng"][dist.get_rank()])
    return content["step"], content["losses"]


def die_in(mean_seconds):
    """Kill this process after a random time: in backward, in a collective, while it writes."""
    seconds = random.SystemRandom().expovariate(1 / mean_seconds)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def curve(losses, width=60):
    """The losses as a line of characters, the highest a full block."""
    means = [np.mean(part) for part in np.array_split(losses, min(width, len(losses)))]
    return "".join("▁▂▃▄▅▆▇█"[int(7.99 * mean / max(means))] for mean in means)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=32, help="of each process")
    parser.add_argument("--save-every", type=int, default=25, metavar="STEPS")
    parser.add_argument("--out", type=Path, default=Path("with_restarts"), help="folder for files")
    parser.add_argument("--kill-after", type=float, metavar="SECONDS", help="on average")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"

    dist.init_process_group()
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if args.kill_after:
        die_in(args.kill_after)

    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    torch.manual_seed(1 + rank)  # other dropout masks on every rank
    start, losses, how = 0, [], "begins at"
    if checkpoint.exists():
        start, losses = load(checkpoint, parts)
        how = "resumed from"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    print(f"process {os.getpid()}: {how} step {start}, restart {attempt}", flush=True)
    ddp = nn.parallel.DistributedDataParallel(model)

    coming = itertools.islice(batches(load_mnist(), args.batch_size, start), args.steps - start)
    for step, (images, labels) in enumerate(coming, start + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(ddp(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        mean = loss.detach()  # over this rank's batch; soon over all
        dist.all_reduce(mean)
        losses.append(mean.item() / ranks)
        if step % args.save_every == 0 or step == args.steps:
            save(checkpoint, parts, step, losses)
            if rank == 0:
                print(f"step {step}: loss {losses[-1]:.4f}, saved", flush=True)

    if rank == 0:
        text = "".join(f"{loss!r}\n" for loss in losses)
        write_whole(args.out / "losses.txt", lambda file: file.write(text.encode()))
        print(f"loss {losses[0]:.3f} {curve(losses)} {losses[-1]:.3f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
