"""Train a model of which no rank has more than a part, and see what memory that takes.

    minitorchrun --nproc_per_node 2 examples/sharded_data_parallel.py
    minitorchrun --nproc_per_node 4 examples/sharded_data_parallel.py

Trains the same transformer twice: with DistributedDataParallel, where each rank has all weights,
gradients and Adam's two averages of both, and with fully_shard, where it has 1/N of each, and whole
weights only of the block that is computing. Prints what Python allocated per rank, and compares
losses and weights. With four ranks a few weights differ by some 1e-4: the gradients are added in
another order, and where one is nearly 0, Adam, which divides each by its usual size, makes a whole
step of the rounding.
"""

import argparse
import time
import tracemalloc

import minitorch as torch
from minitorch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from minitorch.distributed.fsdp import fully_shard
from minitorch.nn.parallel import DistributedDataParallel

nn, dist = torch.nn, torch.distributed
MIB = 1 << 20
VOCABULARY, LENGTH = 256, 32


class Model(nn.Module):
    """Predicts a token from those before it."""

    def __init__(self, width, depth):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens):  # (batch, length) -> (batch, length, vocabulary)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, src_mask=mask)
        return self.head(x)


def shard(model):
    """Every block by itself, so that one is whole at a time; then what is left."""
    for block in model.blocks:
        fully_shard(block)
    return fully_shard(model)


def train(prepare, args):
    """Losses, memory at rest and the most within a step (MiB), seconds a step, final weights."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    tracemalloc.start()
    model = prepare(Model(args.width, args.depth))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses, begun = [], 0.0
    for step in range(args.steps + 1):
        if step == 1:  # the first one has made the optimizer's state
            tracemalloc.reset_peak()
            begun = time.perf_counter()
        tokens = torch.randint(0, VOCABULARY, (args.batch * ranks, LENGTH + 1))[rank::ranks]
        optimizer.zero_grad()
        logits = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = (time.perf_counter() - begun) / args.steps
    peak = tracemalloc.get_traced_memory()[1] / MIB
    optimizer.zero_grad()
    del logits, loss
    rest = tracemalloc.get_traced_memory()[0] / MIB
    tracemalloc.stop()
    options = StateDictOptions(full_state_dict=True)
    weights = get_model_state_dict(getattr(model, "module", model), options=options)
    return losses, rest, peak, seconds, weights


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2, help="sequences per rank")
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()

    dist.init_process_group()
    torch.set_num_threads(1)
    whole = train(DistributedDataParallel, args)
    sharded = train(shard, args)
    everyone = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (whole[1:4], sharded[1:4]))
    if dist.get_rank() == 0:
        size = sum(t.nbytes for t in whole[4].values()) / MIB
        print(f"weights: {size:.1f} MiB; with their gradients and Adam's state {4 * size:.1f} MiB")
        print("MiB on a rank        between steps        the most in a step    seconds a step")
        for rank, (a, b) in enumerate(everyone):
            print(
                f"rank {rank}         {a[0]:8.1f} -> {b[0]:6.1f}      {a[1]:8.1f} -> {b[1]:6.1f}"
                f"      {a[2]:6.2f} -> {b[2]:5.2f}"
            )
        print("                        whole -> sharded")
        losses = max(abs(a - b) for a, b in zip(whole[0], sharded[0], strict=True))
        weights = max((a - sharded[4][n]).abs().max().item() for n, a in whole[4].items())
        print(f"largest difference: of the losses {losses:.1e}, of any weight {weights:.1e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
