"""Step 7: hooks start each all-reduce while backward still runs, if the order is right.

minitorchrun -n 2 examples/distributed/step7_hooks.py as-ready
minitorchrun -n 2 examples/distributed/step7_hooks.py as-ready 32
minitorchrun -n 2 examples/distributed/step7_hooks.py in-order
"""

import sys

from step1_one_process import batches, train
from step2_nothing_shared import chosen, say, share, spread

import minitorch as torch
import minitorch.distributed as dist
from minitorch import nn


class Branches(nn.Module):
    """Two layers side by side, and no rule as to which is computed first.

    Here the ranks disagree, as they would if `order` were a Python set of names."""

    def __init__(self, width=64):
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Linear(784, 64), nn.Linear(784, width)
        self.last_left, self.last_right = nn.Linear(64, 10), nn.Linear(width, 10)

    def forward(self, images):
        order = ("left", "right") if dist.get_rank() == 0 else ("right", "left")
        hidden = {name: getattr(self, name)(images).tanh() for name in order}
        return self.last_left(hidden["left"]) + self.last_right(hidden["right"])


class Averaging:
    """Averages the gradients of a model while backward computes them."""

    def __init__(self, model, in_order):
        self.parameters = list(model.parameters())[::-1]  # about the order of backward
        self.in_order = in_order
        self.ready, self.works = set(), []
        for p in self.parameters:
            p.register_post_accumulate_grad_hook(self.gradient_is_ready)

    def gradient_is_ready(self, parameter):
        self.ready.add(parameter)
        if not self.in_order:
            self.start(parameter)
        # The next in the list may go, and if it does, perhaps those after it, which had to wait.
        while self.in_order and len(self.works) < len(self.parameters):
            following = self.parameters[len(self.works)]
            if following not in self.ready:
                break
            self.start(following)

    def start(self, parameter):
        parameter.grad /= dist.get_world_size()
        self.works.append(dist.all_reduce(parameter.grad, async_op=True))

    def finish(self):
        for work in self.works:
            work.wait()
        self.ready, self.works = set(), []


if __name__ == "__main__":
    in_order = chosen({"as-ready": False, "in-order": True}, __doc__)
    dist.init_process_group()
    model = Branches(*map(int, sys.argv[2:]))
    averaging = Averaging(model, in_order)
    losses = train(model, share(batches()), averaging.finish)
    say(f"loss {losses[-1]:.4f}; the ranks differ by {spread(model):.1e}")
    dist.destroy_process_group()
