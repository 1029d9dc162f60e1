"""Models and losses on which DistributedDataParallel must do what one process would do.

A case is written once, for minitorch and PyTorch alike, and trained in three ways: by N ranks of
minitorch, by N ranks of PyTorch over Gloo, and by one process whose loss is the mean of the ranks'.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import try_ranks

STEPS = 4  # the first builds the buckets anew, so later ones use others


@dataclasses.dataclass
class Case:
    """`loss(torch, model, rank, x)` for a batch x of 6 samples, (6, 8)."""

    build: Callable
    loss: Callable
    options: Any = dataclasses.field(default_factory=dict)  # or a function of the model
    micro_batches: int = 1  # all but the last under no_sync
    clip: float | None = None
    set_to_none: bool = True
    single: bool = True  # whether one process has the same result
    pytorch: bool = True  # whether PyTorch can do it
    prepare: Callable = lambda torch, ddp: None
    tolerance: float = 1e-4


@dataclasses.dataclass
class Outputs:
    """Outputs in a container of one's own, which PyTorch's find_unused_parameters cannot take."""

    first: Any
    others: list


def batch(torch, rank, step):
    random = np.random.default_rng(1000 * step + rank)
    return torch.from_numpy(random.standard_normal((6, 8)).astype(np.float32))


def squares(torch, model, rank, x):
    return model(x).square().mean()


def mlp(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
    )


def tied(torch):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = torch.nn.Linear(8, 8)
            self.outside = torch.nn.Linear(8, 8)
            self.outside.weight = self.inside.weight

        def forward(self, x):
            return self.outside(torch.tanh(self.inside(x)))

    return Tied()


def branches(torch):
    """A trunk, a branch for each of three ranks, and one that nobody takes."""

    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.idle = torch.nn.Linear(8, 4)
            self.ways = torch.nn.ModuleList([torch.nn.Linear(8, 4) for _ in range(3)])
            self.trunk = torch.nn.Linear(8, 8)

        def forward(self, x, way):
            return self.ways[way](torch.tanh(self.trunk(x)))

    return Branches()


def own_branch(torch, model, rank, x):
    return model(x, rank).square().mean()


def heads(torch, container=lambda first, others: [first, others]):
    """Several outputs in nested containers, of which the loss takes some."""

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = torch.nn.ModuleList([torch.nn.Linear(8, 2) for _ in range(4)])

        def forward(self, x):
            a, b, c, d = [head(x) for head in self.heads]
            return {"a": container(a, [b, (c,)]), "d": d}

    return Heads()


def some_heads(torch, model, rank, x):
    out = model(x)["a"]
    first, others = out if isinstance(out, list) else (out.first, out.others)
    return (first * others[1][0]).mean()


def penalty(torch, model, rank, x):
    """A loss that holds a gradient, so that its own is a second derivative."""
    x = x.clone().requires_grad_()
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.square().mean() + slope.square().sum()


def twice(torch, model, rank, x):
    """Two forwards before the backward, the second fed by the first."""
    first = model(x)
    return model(torch.cat([first, first], 1)).square().mean()


def uneven(torch, model, rank, x):
    return model(x[: 6 - 2 * rank]).square().mean()


def shared_checkpoints(torch):
    """One layer under two reentrant checkpoints, and another that is never used."""
    import importlib

    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint

    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.idle = torch.nn.Linear(8, 8)
            self.layer = torch.nn.Linear(8, 8)
            self.last = torch.nn.Linear(8, 8)

        def forward(self, x):
            x = x.clone().requires_grad_()
            for _ in range(2):
                x = checkpoint(lambda x: torch.tanh(self.layer(x)), x, use_reentrant=True)
            return self.last(x)

    return Shared()


def checkpointed(torch):
    """Each layer under one reentrant checkpoint: a backward within the backward for each."""
    import importlib

    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint

    class Checkpointed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(3)])

        def forward(self, x):
            x = x.clone().requires_grad_()
            for layer in self.layers:
                x = torch.tanh(checkpoint(layer, x, use_reentrant=True))
            return x

    return Checkpointed()


def frozen(torch):
    model = mlp(torch)
    model[2].weight.requires_grad = False
    return model


def mixed(torch):
    """Parameters of four dtypes."""

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.narrow = nn.Linear(8, 8)
            self.wide = nn.Linear(8, 8).double()
            self.small = nn.Parameter(torch.ones(8, dtype=torch.float16))
            self.brain = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))

        def forward(self, x):
            x = self.wide(self.narrow(x).double()).float()
            return x * self.small.float() * self.brain.float()

    return Mixed()


def normalised(torch):
    nn = torch.nn
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def reversed_order(torch):
    """Registered in the opposite order of use, so the buckets' first order is quite wrong."""

    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(5)])

        def forward(self, x):
            for layer in list(self.layers)[::-1]:
                x = torch.tanh(layer(x))
            return x

    return Backwards()


def doubling_hook(torch, ddp):
    """A communication hook that averages with a factor of 2, the factor in a callback."""

    def hook(state, bucket: torch.distributed.GradBucket):
        size = torch.distributed.get_world_size()
        mean = bucket.buffer() / size
        work = torch.distributed.all_reduce(mean, async_op=True)
        return work.get_future().then(lambda future: future.value()[0] * state)

    ddp.register_comm_hook(2.0, hook)


def local_hook(torch, ddp):
    """A hook that only ever sees its own gradients: takes back what set_buffer put there."""

    def hook(state, bucket):
        bucket.set_buffer(bucket.buffer() * 3)
        for gradient, parameter in zip(bucket.gradients(), bucket.parameters(), strict=True):
            assert gradient.shape == parameter.shape
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    ddp.register_comm_hook(None, hook)


def last_layer_last(model):
    """The last layer's gradients, ready first, wait for the first layer's."""
    delayed = [(name, p) for name, p in model.named_parameters() if name.startswith("4.")]
    return SMALL | {
        "delay_all_reduce_named_params": delayed,
        "param_to_hook_all_reduce": model[0].weight,
    }


SMALL = {"bucket_cap_mb": 0.0002}  # about one layer to a bucket
VIEWS = {"gradient_as_bucket_view": True}
UNUSED = {"find_unused_parameters": True}

CASES = {
    "plain": Case(mlp, squares),
    "small buckets": Case(mlp, squares, SMALL),
    "registered backwards": Case(reversed_order, squares, SMALL),
    "caps for each bucket": Case(mlp, squares, {"bucket_cap_mb_list": [0.0001, 0.001]}),
    "accumulation": Case(mlp, squares, micro_batches=3),
    "accumulation into views": Case(mlp, squares, SMALL | VIEWS, micro_batches=3),
    "views": Case(mlp, squares, SMALL | VIEWS),
    "views that are zeroed": Case(mlp, squares, SMALL | VIEWS, set_to_none=False),
    "tied weights": Case(tied, squares),
    "unused": Case(branches, own_branch, SMALL | UNUSED),
    "unused, views": Case(branches, own_branch, SMALL | UNUSED | VIEWS),
    "unused, zeroed": Case(branches, own_branch, SMALL | UNUSED, set_to_none=False),
    "unused, accumulation": Case(branches, own_branch, SMALL | UNUSED, micro_batches=2),
    "all used after all": Case(mlp, squares, SMALL | UNUSED),
    "outputs left out": Case(heads, some_heads, SMALL | UNUSED),
    "outputs left out, of a class": Case(
        lambda torch: heads(torch, Outputs), some_heads, SMALL | UNUSED, pytorch=False
    ),
    "uneven batches": Case(mlp, uneven),
    "clipping": Case(mlp, squares, clip=0.05),
    # In PyTorch, on a CPU, nobody waits for these.
    "delayed": Case(mlp, squares, last_layer_last, micro_batches=2, pytorch=False),
    "gradient penalty": Case(mlp, penalty, SMALL, tolerance=1e-3),
    "two forwards": Case(lambda torch: torch.nn.Linear(8, 4), twice),
    "reentrant checkpoints": Case(checkpointed, squares, SMALL),
    "static graph": Case(shared_checkpoints, squares, SMALL | {"static_graph": True}),
    "static graph, plain": Case(mlp, squares, SMALL | VIEWS | {"static_graph": True}),
    "static graph, outputs left out": Case(
        heads, some_heads, SMALL | {"static_graph": True}, pytorch=False
    ),
    "frozen": Case(frozen, squares, SMALL),
    "dtypes": Case(mixed, squares, SMALL, tolerance=2e-2),
    "batch norm": Case(normalised, squares, SMALL, single=False),
    "hook": Case(mlp, squares, SMALL, prepare=doubling_hook, single=False),
    "hook, views, unused": Case(
        branches, own_branch, SMALL | VIEWS | UNUSED, prepare=doubling_hook, single=False
    ),
    "hook that stays at home": Case(mlp, squares, SMALL, prepare=local_hook, single=False),
}


def train(torch, case: Case, ranks: list[int], world_size: int, ddp: bool) -> list:
    """Train on the batches of `ranks`; returns the gradients of each step, and all the state.

    One process has all ranks' batches, and takes the mean of their losses.
    """
    torch.manual_seed(3)  # the same on all ranks, as a hook of one's own may leave them different
    model = case.build(torch)
    if ddp:
        options = case.options(model) if callable(case.options) else case.options
        model = torch.nn.parallel.DistributedDataParallel(model, **options)
        case.prepare(torch, model)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.1, momentum=0.9)
    results: list = []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=case.set_to_none)
        for micro in range(case.micro_batches):
            silent = ddp and micro < case.micro_batches - 1
            with model.no_sync() if silent else contextlib.nullcontext():
                losses = [
                    case.loss(torch, model, rank, batch(torch, rank, 10 * step + micro))
                    for rank in ranks
                ]
                loss = sum(losses[1:], losses[0]) / len(ranks)
                loss.backward()
        if case.clip is not None:
            results.append(numbers(torch.nn.utils.clip_grad_norm_(trainable, case.clip)))
        results += [None if p.grad is None else numbers(p.grad) for p in trainable]
        optimizer.step()
    return [*results, *[numbers(value) for value in model.state_dict().values()]]


def numbers(tensor):
    return tensor.detach().double().numpy().copy()


def train_all(rank, world_size, names) -> dict:
    """Each case on this rank of minitorch."""
    import minitorch as torch
    import minitorch.distributed

    return {name: train(torch, CASES[name], [rank], world_size, ddp=True) for name in names}


def train_all_in_pytorch(rank, world_size, names, path) -> dict:
    """Each case on this rank of PyTorch, over Gloo."""
    import torch
    import torch.distributed as dist

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    results = {name: train(torch, CASES[name], [rank], world_size, ddp=True) for name in names}
    dist.destroy_process_group()
    return results


def train_alone(name, world_size) -> list:
    """The case in one process that has all ranks' batches."""
    import minitorch as torch

    return train(torch, CASES[name], list(range(world_size)), world_size, ddp=False)


def run_pytorch(fn, world_size, *args) -> list:
    """`run_ranks` without a process group of ours, for processes that may be slow to end."""
    outcomes = try_ranks(fn, world_size, *args, process_group=False, timeout=240)
    assert all(outcome.value is not None for outcome in outcomes), outcomes[0].traceback
    return [outcome.value for outcome in outcomes]
