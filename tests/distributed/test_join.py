"""Join: uneven inputs. The same programs run by minitorch, and by PyTorch over Gloo.

The invariant under test: a rank that is through plays its part in the others' collectives until
the last one is, adds nothing to them, and ends with the model of the last.
"""

import importlib
import tempfile

import numpy as np
import pytest

from .harness import run_ranks, try_ranks

BATCHES = [4, 7, 5]  # of each rank
CASES = {
    "mean over all": {},
    "mean over those with data": {"divide_by_initial_world_size": False},
    "small buckets": {"ddp": {"bucket_cap_mb": 0.0002}},
    "unused parameters": {"ddp": {"find_unused_parameters": True}},
    "static graph": {"ddp": {"static_graph": True}},
    "views": {"ddp": {"gradient_as_bucket_view": True}},
    "hook": {"hook": "fp16_compress_hook"},
    "no buffers": {"ddp": {"broadcast_buffers": False}},
    "accumulation": {"accumulate": True},
}


def build(torch, seed=0):
    torch.manual_seed(seed)
    nn = torch.nn
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def batch(torch, rank, step):
    random = np.random.default_rng([rank, step])
    x = random.standard_normal((4, 5)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(random.integers(0, 3, 4))


def train(rank, package, case, optimizer="SGD", zero=False):
    """The state of the model after uneven training."""
    torch = importlib.import_module(package)
    distributed = importlib.import_module(f"{package}.distributed")
    join = importlib.import_module(f"{package}.distributed.algorithms.join")
    hooks = f"{package}.distributed.algorithms.ddp_comm_hooks.default_hooks"
    distributed.barrier()
    ddp = torch.nn.parallel.DistributedDataParallel(build(torch), **case.get("ddp", {}))
    if "hook" in case:
        ddp.register_comm_hook(None, getattr(importlib.import_module(hooks), case["hook"]))
    options = {"lr": 0.1, "momentum": 0.9} if optimizer == "SGD" else {"lr": 0.05}
    kind = getattr(torch.optim, optimizer)
    if zero:
        optim = importlib.import_module(f"{package}.distributed.optim")
        opt = optim.ZeroRedundancyOptimizer(ddp.parameters(), kind, **options)
    else:
        opt = kind(ddp.parameters(), **options)
    divide = case.get("divide_by_initial_world_size", True)
    joinables = [ddp, opt] if zero else [ddp]
    with join.Join(joinables, divide_by_initial_world_size=divide):
        for step in range(BATCHES[rank]):
            x, labels = batch(torch, rank, step)
            if case.get("accumulate") and step % 2 == 0:
                with ddp.no_sync():
                    torch.nn.functional.cross_entropy(ddp(x), labels).backward()
                continue
            torch.nn.functional.cross_entropy(ddp(x), labels).backward()
            opt.step()
            opt.zero_grad()
    return {name: t.detach().numpy().copy() for name, t in ddp.module.state_dict().items()}


def ours(rank, world_size, cases, *args):
    return {name: train(rank, "minitorch", case, *args) for name, case in cases.items()}


def ours_and_counter(rank, world_size):
    return ours(rank, world_size, CASES), counter(rank, "minitorch")


def theirs(rank, world_size, path):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    theirs.group = dist.group.WORLD  # held until the end, as in test_comm_hooks.py
    results = {name: train(rank, "torch", case) for name, case in CASES.items()}
    counted = counter(rank, "torch")
    dist.destroy_process_group()
    return results, counted


@pytest.fixture(scope="module")
def both():
    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 3, f"{folder}/store", process_group=False)
    return run_ranks(ours_and_counter, 3, method="forkserver"), expected


@pytest.mark.parametrize("case", CASES)
def test_uneven_inputs_end_with_pytorchs_model(both, case):
    mine, expected = ([states[case] for states, _ in results] for results in both)
    for rank in range(3):
        for name, value in mine[rank].items():
            if "running" in name or "num_batches" in name:
                continue  # of the ranks' own last batches, where buffers are not broadcast
            assert np.array_equal(value, mine[0][name]), (rank, name)
            loose = 1e-3 if "hook" in case else 1e-5
            np.testing.assert_allclose(value, expected[rank][name], rtol=loose, atol=loose)


def test_buffers_are_those_of_the_last(both):
    mine, expected = ([states["mean over all"] for states, _ in results] for results in both)
    for rank in range(3):
        for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
            np.testing.assert_allclose(mine[rank][name], expected[rank][name], rtol=1e-5)
            np.testing.assert_allclose(mine[rank][name], mine[1][name])


def test_ddp_and_zero_in_one_context():
    """A rank that is through goes on updating its share, from the others' gradients."""
    cases = {name: CASES[name] for name in ("mean over all", "small buckets", "views")}
    plain = run_ranks(ours, 3, cases, "Adam", method="forkserver")
    zero = run_ranks(ours, 3, cases, "Adam", True, method="forkserver")
    for rank in range(3):
        for case in cases:
            for name, value in zero[rank][case].items():
                assert np.array_equal(value, plain[rank][case][name]), (rank, case, name)


def counter(rank, package):
    """A Joinable of the user's: counts the inputs of all ranks."""
    torch = importlib.import_module(package)
    dist = importlib.import_module(f"{package}.distributed")
    join = importlib.import_module(f"{package}.distributed.algorithms.join")

    class Hook(join.JoinHook):
        def __init__(self, owner, tell):
            self.owner, self.tell = owner, tell

        def main_hook(self):
            dist.all_reduce(torch.zeros(1))
            self.owner.shadowed += 1

        def post_hook(self, is_last_joiner):
            if self.tell:
                last = torch.tensor([rank if is_last_joiner else -1])
                dist.all_reduce(last, op=dist.ReduceOp.MAX)
                total = torch.tensor([self.owner.total])
                dist.broadcast(total, src=int(last.item()))
                self.owner.total = total.item()

    class Counter(join.Joinable):
        def __init__(self):
            super().__init__()
            self.total, self.shadowed, self.works = 0.0, 0, []

        def __call__(self):
            self.works.append(join.Join.notify_join_context(self))
            one = torch.ones(1)
            dist.all_reduce(one)
            self.total += one.item()

        def join_hook(self, **kwargs):
            return Hook(self, kwargs.get("tell", False))

        @property
        def join_device(self):
            return torch.device("cpu")

        @property
        def join_process_group(self):
            return dist.group.WORLD

    results = []
    for enable, tell, batches in ((True, True, BATCHES), (True, False, [2, 2, 1]), (False, 0, 3)):
        first, second = Counter(), Counter()
        with join.Join([first, second], enable=enable, tell=tell):
            for _ in range(batches[rank] if enable else batches):
                first()
                second()
        silent = [work is None for work in first.works], [work is None for work in second.works]
        results.append((first.total, second.total, first.shadowed, silent))
    outside = Counter()
    outside()
    results.append((outside.total, outside.works))
    said = ""
    try:
        join.Join([])
    except ValueError as error:
        said = str(error)
    thrown = Counter()
    try:
        with join.Join([thrown], throw_on_early_termination=True):
            for _ in range(BATCHES[rank]):
                thrown()
    except RuntimeError as error:
        results.append(thrown.total)
        return results, said, str(error)


def test_a_joinable_of_ones_own(both):
    got, expected = ([counted for _, counted in results] for results in both)
    for rank in range(3):
        results, said, thrown = got[rank]
        assert results == expected[rank][0]
        assert said == expected[rank][1]
        assert results[0][:3] == (sum(BATCHES), sum(BATCHES), max(BATCHES) - BATCHES[rank])
        if rank == 0:
            assert thrown.startswith("Rank 0 exhausted all inputs") and "after 4 batches" in thrown
        else:
            assert thrown.startswith("Detected at least one rank that exhausted inputs")
            assert "rank 0 after 4 batches" in thrown


def after_the_context(rank, world_size):
    """A forward after the context no longer counts ranks; an error inside ends it at once."""
    import minitorch as torch
    from minitorch.distributed.algorithms.join import Join

    ddp = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    with Join([ddp]):
        for _ in range(1 + rank):
            ddp(torch.ones(1, 2)).sum().backward()
    ddp.eval()
    try:
        with ddp.join(enable=rank == 0):  # nobody answers rank 0
            if rank == 0:
                raise KeyError("on purpose")
    except KeyError:
        pass
    if rank == 0:  # alone: a collective would wait for the other
        ddp(torch.ones(1, 2))
    return "through"


def test_join_ends_with_its_context():
    assert run_ranks(after_the_context, 2, method="forkserver") == ["through"] * 2


def run_out(rank, world_size, with_buffers):
    """Training without Join."""
    import minitorch as torch

    layers = [torch.nn.Linear(5, 3), *([torch.nn.BatchNorm1d(3)] if with_buffers else [])]
    ddp = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers))
    for step in range(3 if rank == 1 else 6):
        x, labels = batch(torch, rank, step)
        torch.nn.functional.cross_entropy(ddp(x), labels).backward()


@pytest.mark.parametrize("with_buffers", [False, True])
def test_without_join_the_error_names_the_rank_that_is_through(with_buffers):
    outcomes = try_ranks(run_out, 3, with_buffers, method="forkserver")
    assert outcomes[1].error is None
    for rank in (0, 2):
        assert "rank 1 left the process group" in outcomes[rank].error
        assert "This was batch 4 of this rank" in outcomes[rank].traceback
        assert "with Join([model])" in outcomes[rank].traceback
