"""What the children of test_spawn.py do: without PyTorch, which takes each seconds to import."""

import faulthandler
import os
import signal
import sys
import threading
import time

import minitorch
import minitorch.distributed as dist
from minitorch.distributed.security import job_secret


def end(index, how, folder):
    """What the children of one job do: number 1 fails as `how` says, the others wait for ever."""
    with open(f"{folder}/{index}", "w") as file:
        file.write(str(os.getpid()))
    if index != 1 and how != "well":
        time.sleep(600)
    if how == "raises":
        raise ValueError("the reason")
    if how == "exits":
        sys.exit(3)
    if how == "exits at once":
        os._exit(4)
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crashes":
        faulthandler.disable()  # what pytest has switched on
        os.kill(os.getpid(), signal.SIGSEGV)


def fail_together(index, folder):
    """Number 2 fails first, but takes longer to end than those who fail because of it."""

    def linger():
        threading.main_thread().join()  # it has said how it failed
        open(f"{folder}/failed", "w").close()
        time.sleep(3)

    if index == 2:
        threading.Thread(target=linger).start()  # for which the process waits when it ends
        raise ZeroDivisionError("first")
    while not os.path.exists(f"{folder}/failed"):
        time.sleep(0.01)
    raise RuntimeError("number 2 has failed")


def fail_at_length(index):
    raise ValueError("long " * 100_000 + "end")


def ignore_sigterm(index, folder):
    if index == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / str(index)).write_text(str(os.getpid()))
    if index == 1:
        while not (folder / "0").exists():
            time.sleep(0.01)
        sys.exit(7)
    time.sleep(600)


def secret_of_job(index, folder):
    with open(f"{folder}/{index}", "wb") as file:
        file.write(job_secret(2) + b" " + job_secret(3))


def average(index, url, first_rank, world_size, folder):
    rank = first_rank + index
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=world_size)
    t = minitorch.tensor([float(rank)])
    dist.all_reduce(t)
    (folder / str(rank)).write_text(str(t.item()))
    dist.destroy_process_group()


def add_one(x, view, queue, arrived):
    x += 1
    view += 10
    queue.put((x, view, x.is_shared()))
    arrived.wait(60)


def gradients(index, model, queue):
    model(minitorch.ones(1, 2)).sum().backward()
    with minitorch.no_grad():
        for p in model.parameters():
            p -= p.grad
    queue.put([type(p).__name__ for p in model.parameters()])


def change(index, x):
    x += 1


def produce(queue, shared):
    tensors = [
        minitorch.arange(6.0).view(2, 3).T,
        minitorch.ones(3, dtype=minitorch.bfloat16),
        minitorch.zeros(0, 4),
        minitorch.nn.Parameter(minitorch.ones(2)),
        minitorch.tensor(3, dtype=minitorch.int8),
    ]
    for tensor in tensors:
        queue.put(tensor.share_memory_() if shared else tensor)


def send_ones(queue):
    queue.put(minitorch.ones(3).share_memory_())


def double(x):
    return x * 2
