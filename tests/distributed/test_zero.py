"""ZeroRedundancyOptimizer against the unsharded optimizer and against PyTorch's own over Gloo.

The invariant under test: whatever the optimizer, sharding changes nothing but who computes what;
parameters and consolidated state are those of the unsharded optimizer, bit for bit.
"""

import contextlib
import itertools
import tempfile

import numpy as np
import pytest

from .harness import run_ranks

SHAPES = [(40, 7), (40,), (3, 40), (3,), (13, 5), (2, 2, 2)]
OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "Adam": {"lr": 0.01, "amsgrad": True},
    "AdamW": {"lr": 0.01},
    "RMSprop": {"lr": 0.01, "momentum": 0.5},
}


def parameters(torch):
    random = np.random.default_rng(1)
    values = [random.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    return [torch.nn.Parameter(torch.from_numpy(value)) for value in values]


def set_gradients(torch, params, step):
    random = np.random.default_rng(100 + step)
    for p in params:
        p.grad = torch.from_numpy(random.standard_normal(tuple(p.shape)).astype(np.float32))


def groups(params, lr):
    """Two parameter groups, one with a learning rate of its own."""
    return [{"params": params[:3]}, {"params": params[3:], "lr": lr / 2}]


def arrays(params):
    return [p.detach().numpy().copy() for p in params]


def plain(state_dict):
    """A state dict of NumPy arrays."""
    return {
        i: {k: np.array(v if v is None else v.numpy()) for k, v in s.items()}
        for i, s in state_dict["state"].items()
    }


def train(torch, make, steps=4):
    """Parameters and optimizer after some steps with a scheduler."""
    params = parameters(torch)
    optimizer = make(params)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.3)
    for step in range(steps):
        set_gradients(torch, params, step)
        optimizer.step()
        scheduler.step()
    return params, optimizer


def sharded(rank, torch, zero):
    """{(optimizer, as view): (parameters, consolidated state on rank 1, partition, ...)}"""
    results = {}
    for (name, options), as_view in itertools.product(OPTIMIZERS.items(), (False, True)):

        def make(params, name=name, options=options, as_view=as_view):
            return zero(
                groups(params, options["lr"]),
                optimizer_class=getattr(torch.optim, name),
                parameters_as_bucket_view=as_view,
                **options,
            )

        params, optimizer = train(torch, make)
        optimizer.consolidate_state_dict(to=1)
        whole = optimizer.state_dict() if rank == 1 else None
        number = {p: i for i, p in enumerate(params)}
        partition = [
            [[number[p] for p in group["params"]] for group in rank_groups]
            for rank_groups in optimizer._partition_parameters()
        ]
        own = sum(v.numel() for s in optimizer.optim.state.values() for v in s.values())
        rates = [group["lr"] for group in optimizer.optim.param_groups]
        options = whole and [{**g, "params": list(g["params"])} for g in whole["param_groups"]]
        state = whole and plain(whole)
        results[name, as_view] = arrays(params), state, options, partition, own, rates
    return results


def ours(rank, world_size):
    import minitorch as torch

    return sharded(rank, torch, torch.distributed.optim.ZeroRedundancyOptimizer)


def theirs(rank, world_size, path):
    import torch
    import torch.distributed as dist
    from torch.distributed.optim import ZeroRedundancyOptimizer

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    results = sharded(rank, torch, ZeroRedundancyOptimizer)
    dist.destroy_process_group()
    return results


def test_sharding_changes_nothing():
    import minitorch as torch

    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 3, f"{folder}/store", process_group=False)
    got = run_ranks(ours, 3, method="forkserver")
    for case in got[0]:
        name, options = case[0], OPTIMIZERS[case[0]]
        params, optimizer = train(
            torch, lambda p, n=name, o=options: getattr(torch.optim, n)(groups(p, o["lr"]), **o)
        )
        unsharded = optimizer.state_dict()
        whole = 0
        for mine, yours in zip(got, expected, strict=True):
            values, state, saved_options, partition, own, rates = mine[case]
            assert all(map(np.array_equal, values, arrays(params))), case
            for a, b in zip(values, yours[case][0], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert partition == yours[case][3]
            assert rates == pytest.approx(yours[case][5])
            whole += own
            assert own == yours[case][4]
            if state is not None:
                np.testing.assert_equal(state, plain(unsharded))
                assert list(state) == sorted(state)
                assert saved_options == unsharded["param_groups"]
                assert yours[case][1].keys() == state.keys()
        total = sum(v.numel() for s in unsharded["state"].values() for v in s.values())
        assert whole == total, "the shares of the state do not make up the whole"
        largest = max(mine[case][4] for mine in got)
        assert largest < 0.75 * total, "one rank keeps most of the state"


def resume(rank, world_size):
    """Save in the middle, load into another sharding and into none, and go on."""
    import minitorch as torch

    zero = torch.distributed.optim.ZeroRedundancyOptimizer

    def go_on(params, optimizer):
        for step in (4, 5):
            set_gradients(torch, params, step)
            optimizer.step()
        return arrays(params)

    params, optimizer = train(torch, lambda p: zero(p, torch.optim.Adam, lr=0.01))
    with contextlib.suppress(RuntimeError):
        optimizer.state_dict()
        raise AssertionError("a state that has not been consolidated was given out")
    optimizer.consolidate_state_dict()
    saved = [optimizer.state_dict() if rank == 0 else None]
    torch.distributed.broadcast_object_list(saved)
    before = {i: dict(s) for i, s in saved[0]["state"].items()}
    values = arrays(params)
    ends = [go_on(params, optimizer)]
    for make in (
        lambda p: zero(p, torch.optim.Adam, parameters_as_bucket_view=True, lr=0.5),
        lambda p: torch.optim.Adam(p, lr=0.5),
    ):
        again = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in values]
        other = make(again)
        other.load_state_dict(saved[0])
        assert saved[0]["state"].keys() == before.keys()
        assert all(v is before[i][k] for i, s in saved[0]["state"].items() for k, v in s.items())
        inner = getattr(other, "optim", other)
        assert [group["lr"] for group in inner.param_groups] == [0.01 * 0.3**2]
        ends.append(go_on(again, other))
    unsharded = other.state_dict()
    optimizer.load_state_dict(unsharded)
    optimizer.consolidate_state_dict()
    same = rank or str(optimizer.state_dict()["state"]) == str(unsharded["state"])
    return ends, same


def test_a_checkpoint_fits_any_sharding():
    for ends, same in run_ranks(resume, 3, method="forkserver"):
        assert all(map(np.array_equal, ends[0], ends[1]))
        assert all(map(np.array_equal, ends[0], ends[2]))
        assert same


def grow(rank, world_size, as_view):
    """A group that comes later, a closure, names, mixed types, and a rank without parameters."""
    import minitorch as torch

    def make(sharded):
        params = parameters(torch)
        params[1].data = params[1].data.double()
        named = [(f"weight {i}", p) for i, p in enumerate(params)]
        adagrad = torch.optim.Adagrad
        if sharded:
            kind = torch.distributed.optim.ZeroRedundancyOptimizer
            optimizer = kind(named[:1], adagrad, parameters_as_bucket_view=as_view, lr=0.1)
        else:
            optimizer = adagrad(named[:1], lr=0.1)

        def closure():
            for p in params:
                p.grad = None
            loss = sum((p.double() ** 2).sum() for p in params)
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item()]
        optimizer.add_param_group({"params": list(named[1:]), "lr": 0.3})
        losses += [optimizer.step(closure).item() for _ in range(2)]
        return losses, arrays(params), len(optimizer.param_groups)

    return make(True), make(False)


@pytest.mark.parametrize("as_view", [False, True])
def test_groups_can_be_added(as_view):
    for mine, expected in run_ranks(grow, 3, as_view, method="forkserver"):
        assert mine[0] == expected[0]
        assert all(map(np.array_equal, mine[1], expected[1]))
        assert mine[2] == expected[2] == 2


def refuse(rank, world_size):
    import minitorch as torch

    zero = torch.distributed.optim.ZeroRedundancyOptimizer
    said = []
    for params, options in [
        ([], {}),
        (torch.zeros(3), {}),
        (parameters(torch), {"overlap_with_ddp": True}),
    ]:
        try:
            zero(params, torch.optim.SGD, lr=0.1, **options)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


def test_what_it_refuses():
    (empty, tensor, overlap) = run_ranks(refuse, 1, method="forkserver")[0]
    assert "ValueError" in empty and "empty parameter list" in empty
    assert "TypeError" in tensor and "iterable of Tensors" in tensor
    assert "NotImplementedError" in overlap and "step() does the same" in overlap
