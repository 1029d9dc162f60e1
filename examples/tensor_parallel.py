"""A transformer block split over ranks by hand: each has some of the heads, and some of the MLP.

    minitorchrun --nproc_per_node 2 examples/tensor_parallel.py

Every rank also computes the whole block, to see that nothing has changed: results, gradients, and
the parameters after five steps. Then the library does the splitting (parallelize_module). With
`torch` for `minitorch` in the imports, the file runs under PyTorch and torchrun.
"""

import copy

import minitorch as torch

nn, F, dist = torch.nn, torch.nn.functional, torch.distributed
WIDTH, HEADS, HIDDEN = 64, 4, 256
BATCH, LENGTH = 8, 16


class Block(nn.Module):
    """The usual block, on one process. x: (batch, length, width)."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.o = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.o(attention(self.q(h), self.k(h), self.v(h)))
        h = self.norm2(x)
        return x + self.down(F.gelu(self.up(h)))


def attention(q, k, v):
    """Of as many heads as there are features for: (batch, length, features), the same again."""
    q, k, v = (t.unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


# Two collectives that are each other's transposes. Between an f and a g the ranks compute with
# different weights; before and after, all compute the same.


class CopyToAll(torch.autograd.Function):
    """f. Forward: nothing, all ranks have x already. Backward: each rank knows what x has done by
    way of its own weights; the gradient is the sum."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return sum_over_ranks(grad)


class SumOverAll(torch.autograd.Function):
    """g. Forward: each rank has a term of the sum. Backward: nothing, each term of a sum has the
    sum's gradient, which all ranks have."""

    @staticmethod
    def forward(ctx, x):
        return sum_over_ranks(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


f, g = CopyToAll.apply, SumOverAll.apply
sent = []  # the bytes of each all_reduce


def sum_over_ranks(x):
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    sent.append(total.nbytes)
    return total


# The dimension along which each parameter is cut; the others are whole on every rank. Weights are
# (out, in): q, k, v and up compute some of the outputs, o and down compute with some of the inputs.
CUT = dict.fromkeys(["q.weight", "q.bias", "k.weight", "k.bias", "v.weight", "v.bias"], 0)
CUT |= {"o.weight": 1, "up.weight": 0, "up.bias": 0, "down.weight": 1}


def share(name, tensor):
    """This rank's part of a parameter of the block."""
    if name not in CUT:
        return tensor
    return tensor.chunk(dist.get_world_size(), CUT[name])[dist.get_rank()]


class SplitBlock(Block):
    """This rank's part of a Block."""

    def __init__(self, whole):
        super().__init__()
        for name, p in whole.named_parameters():
            module, kind = name.split(".")
            part = nn.Parameter(share(name, p.detach()).clone())
            setattr(self.get_submodule(module), kind, part)

    def forward(self, x):
        h = f(self.norm1(x))
        heads = attention(self.q(h), self.k(h), self.v(h))  # of this rank
        # The bias is added to the sum, or it would count once for each rank.
        x = x + g(F.linear(heads, self.o.weight)) + self.o.bias
        h = f(self.norm2(x))
        return x + g(F.linear(F.gelu(self.up(h)), self.down.weight)) + self.down.bias


def train(block, steps=5):
    """The first result and gradients, and the parameters at the end."""
    torch.manual_seed(1)  # the same data on every rank
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1, momentum=0.9)
    first = None
    for _ in range(steps):
        x, target = torch.randn(2, BATCH, LENGTH, WIDTH)
        optimizer.zero_grad()
        out = block(x)
        F.mse_loss(out, target).backward()
        if first is None:
            first = out.detach(), {n: local(p.grad).clone() for n, p in block.named_parameters()}
        optimizer.step()
    return *first, {n: local(p).detach() for n, p in block.named_parameters()}


def local(tensor):
    """PyTorch's parallelize_module makes DTensors, minitorch's ordinary tensors."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def compare(split, whole):
    """Train both from the same start, and print how they differ."""
    (out, grads, end), (whole_out, whole_grads, whole_end) = (
        train(split),
        train(copy.deepcopy(whole)),
    )
    report("results", [out - whole_out])
    report("gradients", [grads[n] - share(n, whole_grads[n]) for n in grads])
    report("after 5 steps", [end[n] - share(n, whole_end[n]) for n in end])


def report(what, differences):
    largest = torch.stack([d.abs().max() for d in differences]).max()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    say(f"  {what:14} differ from one process by at most {largest.item():.0e}")
    assert largest < 1e-4, what


def say(text):
    if dist.get_rank() == 0:
        print(text)


def main():
    dist.init_process_group()
    ranks = dist.get_world_size()
    if HEADS % ranks:
        raise SystemExit(f"{HEADS} heads cannot be split over {ranks} ranks")
    torch.manual_seed(0)
    whole = Block()

    split = SplitBlock(whole)
    held, of = (sum(p.numel() for p in block.parameters()) for block in (split, whole))
    say(f"by hand: {held} of {of} parameters on each of {ranks} ranks")
    compare(split, whole)
    say(f"  a step sends {len(sent) // 5} all_reduces of {sent[0] // 1024} KiB: 2 forward, 2 back")

    from minitorch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    say("by the library:")
    mesh = dist.device_mesh.init_device_mesh("cpu", (ranks,))
    plan = {name: ColwiseParallel() for name in ("q", "k", "v", "up")}
    plan |= {name: RowwiseParallel() for name in ("o", "down")}
    compare(parallelize_module(copy.deepcopy(whole), mesh, plan), whole)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
