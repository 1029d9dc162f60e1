"""Step 12: a process is killed in the middle. The launcher starts all again; who remembers what?

minitorchrun -n 2 --max-restarts 1 examples/distributed/step12_restart.py weights
minitorchrun -n 2 --max-restarts 1 examples/distributed/step12_restart.py everything
"""

import os
import signal
import tempfile
from pathlib import Path

from step1_one_process import batches, build
from step2_nothing_shared import chosen, say, share

import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn
from minitorch.nn.parallel import DistributedDataParallel

STEPS, SAVE_EVERY, LAST = 20, 5, 13  # in which step rank 1 is killed, in its first life
ATTEMPT = int(os.environ["TORCHELASTIC_RESTART_COUNT"])


def train(parts, start, losses, save):
    """Steps `start` to STEPS of training. parts: a model and its optimizer, by name."""
    ddp = DistributedDataParallel(parts["model"])
    for step, (images, labels) in enumerate(share(batches(STEPS))):
        if step < start:
            continue
        parts["optimizer"].zero_grad()
        loss = nn.functional.cross_entropy(ddp(images), labels)
        loss.backward()
        parts["optimizer"].step()
        losses.append(loss.item())
        save(step + 1)
    return losses


def make():
    model = build()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)}


if __name__ == "__main__":
    saved = chosen({"weights": ["model"], "everything": ["model", "optimizer"]}, __doc__)
    dist.init_process_group()
    rank = dist.get_rank()
    path = Path(tempfile.gettempdir(), f"step12-{os.getppid()}-{rank}.pt")  # one for each rank
    parts, losses, start = make(), [], 0

    def save(step):
        if ATTEMPT == 0 and rank == 1 and step == LAST:
            os.kill(os.getpid(), signal.SIGKILL)
        if step % SAVE_EVERY == 0:
            content = {name: parts[name].state_dict() for name in saved}
            torch.save(content | {"step": step, "losses": losses}, path.with_suffix(".new"))
            os.replace(path.with_suffix(".new"), path)  # at no moment is there half a file

    if ATTEMPT > 0:
        content = torch.load(path)
        start, losses = content["step"], content["losses"]
        for name in saved:
            parts[name].load_state_dict(content[name])
        say(f"resumed from step {start}")
    train(parts, start, losses, save)
    undisturbed = train(make(), 0, [], lambda step: None)
    path.unlink(missing_ok=True)
    same = sum(a == b for a, b in zip(losses, undisturbed, strict=True))
    say(f"loss {losses[-1]:.4f}, undisturbed {undisturbed[-1]:.4f}; {same} of {STEPS} losses equal")
    dist.destroy_process_group()
