"""DistributedDataParallel on real processes, held against one process with the whole batch and
against PyTorch's own over Gloo.

The invariant under test: after backward every rank holds the same gradients, bit for bit, and they
are those of the mean loss over all ranks' data.
"""

import contextlib
import hashlib
import tempfile

import numpy as np
import pytest

from .harness import run_ranks

BATCH = 6  # of each rank


def build(torch, seed=0):
    """A small network with a convolution, made alike by minitorch and PyTorch."""
    nn = torch.nn
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 16),
        nn.Tanh(),
        nn.Linear(16, 5),
    )


def data(world_size, step=0):
    random = np.random.default_rng(100 + step)
    x = random.standard_normal((BATCH * world_size, 1, 8, 8)).astype(np.float32)
    return x, random.integers(0, 5, BATCH * world_size)


def share(arrays, rank):
    return [a[rank * BATCH : (rank + 1) * BATCH] for a in arrays]


def gradients(model):
    return [p.grad.detach().numpy().copy() for p in model.parameters()]


def loss_of(torch, model, arrays):
    x, labels = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]
    return torch.nn.functional.cross_entropy(model(x), labels)


def digest(model):
    state = hashlib.sha256()
    for p in model.parameters():
        state.update(p.detach().numpy().tobytes())
    return state.hexdigest()


def train_mini(rank, world_size, steps=10, bucket_cap_mb=None):
    """Ranks begin with different parameters; returns the first gradients, and the end's digest."""
    import minitorch as torch

    model = build(torch, seed=rank)
    ddp = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=bucket_cap_mb)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1, momentum=0.9)
    first = None
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(torch, ddp, share(data(world_size, step), rank)).backward()
        first = gradients(model) if first is None else first
        optimizer.step()
    return first, digest(model)


def train_gloo(rank, world_size, path):
    """The first gradients of PyTorch's DistributedDataParallel."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    model = build(torch, seed=rank)
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    loss_of(torch, ddp, share(data(world_size), rank)).backward()
    dist.destroy_process_group()
    return gradients(model)


def whole_batch(world_size):
    """The gradients of one process that has all ranks' data."""
    import minitorch as torch

    model = build(torch, seed=0)
    loss_of(torch, model, data(world_size)).backward()
    return gradients(model)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("bucket_cap_mb", [None, 0.0005])
def test_gradients_and_parameters(world_size, bucket_cap_mb):
    results = run_ranks(train_mini, world_size, 10, bucket_cap_mb)
    for mine, expected in zip(results[0][0], whole_batch(world_size), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-6)
    for rank, (grads, end) in enumerate(results):
        assert all(np.array_equal(a, b) for a, b in zip(grads, results[0][0], strict=True)), rank
        assert end == results[0][1], f"rank {rank} has other parameters after ten steps"


@pytest.mark.parametrize("world_size", [2, 3])
def test_gradients_equal_pytorch_over_gloo(world_size):
    with tempfile.TemporaryDirectory() as folder:
        theirs = run_ranks(train_gloo, world_size, f"{folder}/store", process_group=False)
    ours = run_ranks(train_mini, world_size, 1)
    for rank in range(world_size):
        for a, b in zip(ours[rank][0], theirs[rank], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def accumulate(rank, world_size):
    """Two batches, the first under no_sync, which an exception does not leave switched on."""
    import minitorch as torch

    ddp = torch.nn.parallel.DistributedDataParallel(build(torch))
    try:
        with ddp.no_sync():
            raise KeyError
    except KeyError:
        pass
    assert ddp.require_backward_grad_sync
    with ddp.no_sync():
        loss_of(torch, ddp, share(data(world_size, 0), rank)).backward()
    local = gradients(ddp)
    loss_of(torch, ddp, share(data(world_size, 1), rank)).backward()
    return local, gradients(ddp)


def test_no_sync_accumulates_locally():
    import minitorch as torch

    results = run_ranks(accumulate, 2)
    model = build(torch)
    for step in range(2):
        loss_of(torch, model, data(2, step)).backward()
    for (local, total), other, expected in zip(
        zip(*results[0], strict=True), results[1][0], gradients(model), strict=True
    ):
        assert not np.array_equal(local, other), "gradients were averaged inside no_sync"
        np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-6)


class Branch:
    """A module with a layer that its forward never uses."""

    @staticmethod
    def make(torch):
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.used = torch.nn.Linear(3, 3)
                self.idle = torch.nn.Linear(3, 3)

            def forward(self, x):
                return self.used(x)

        return Net()


def leave_one_out(rank, world_size):
    import minitorch as torch

    ddp = torch.nn.parallel.DistributedDataParallel(Branch.make(torch))
    try:
        ddp(torch.ones(2, 3)).sum().backward()
    except RuntimeError as error:
        return str(error)


def test_unused_parameters_are_named_in_the_same_backward():
    for message in run_ranks(leave_one_out, 2):
        assert "idle.bias, idle.weight" in message
        assert "used.weight" not in message.replace("idle.weight", "")


def with_buffer(rank, world_size):
    import minitorch as torch

    model = torch.nn.Linear(2, 2)
    model.register_buffer("seen", torch.full((2,), float(rank)))
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    after_construction = model.seen.tolist()
    model.seen.fill_(rank + 1)
    ddp(torch.ones(1, 2))
    after_training_forward = model.seen.tolist()
    model.seen.fill_(rank + 1)
    ddp.eval()
    if rank == 0:  # alone: a broadcast here would wait for the other rank
        ddp(torch.ones(1, 2))
    return after_construction, after_training_forward, model.seen.tolist()


def test_buffers_follow_rank_0_in_training_only():
    for rank, (constructed, trained, evaluated) in enumerate(run_ranks(with_buffer, 2)):
        assert constructed == [0.0, 0.0]
        assert trained == [1.0, 1.0]
        assert evaluated == [rank + 1.0] * 2


def launch_times(rank, world_size):
    """In which order gradients become ready and buckets are launched."""
    import minitorch as torch
    from minitorch import distributed as dist

    events = []
    model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(4)])
    for name, p in model.named_parameters():
        p.register_post_accumulate_grad_hook(lambda p, name=name: events.append(name))
    ddp = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=0.01)
    launch = dist.all_reduce
    dist.all_reduce = lambda *args, **kwargs: (events.append("launch"), launch(*args, **kwargs))[1]
    ddp(torch.ones(2, 64)).sum().backward()
    return events


def test_buckets_are_launched_while_backward_runs():
    for events in run_ranks(launch_times, 2):
        assert events.count("launch") == 4
        assert events.index("launch") < events.index("0.weight"), "no overlap with backward"
        assert events.index("3.weight") < events.index("0.weight")


def test_bucket_assignment():
    import minitorch as torch
    from minitorch.nn.parallel.distributed import assign_buckets

    def parameter(n, dtype=torch.float32):
        return torch.nn.Parameter(torch.zeros(n, dtype=dtype))

    small, large = [parameter(64) for _ in range(4)], parameter(1000)
    buckets = assign_buckets([*small, large, parameter(1)], first_bytes=500, other_bytes=1000)
    assert [len(b.parameters) for b in buckets] == [2, 3, 1]  # 512 B; 512 + 4000 B; the rest
    mixed = [parameter(8), parameter(8, torch.float64), parameter(8)]
    buckets = assign_buckets(mixed, first_bytes=1 << 20, other_bytes=1 << 20)
    assert [[p.dtype for p in b.parameters] for b in buckets] == [
        [torch.float32, torch.float32],
        [torch.float64],
    ]
    place = buckets[0].places[mixed[2]]
    place += 1
    assert buckets[0].flat.tolist() == [0.0] * 8 + [1.0] * 8


def test_a_module_without_trainable_parameters_is_refused():
    import minitorch as torch

    with pytest.raises(RuntimeError, match="doesn't have any parameter"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.ReLU())


def deep(torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)])


def after_an_exception(rank, world_size):
    """A backward that fails after its first bucket has left, then one that does not."""
    import minitorch as torch

    model = deep(torch)
    ddp = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=0.1)
    x = torch.full((8, 1024), float(rank + 1))
    hidden = {}

    def fail(grad):
        raise KeyError("on purpose")

    model[1].register_forward_hook(lambda module, args, out: hidden.update(out=out) or None)
    failing = ddp(-3 * x).square().sum()
    hidden["out"].register_hook(fail)
    loss = ddp(x).square().sum()
    with contextlib.suppress(KeyError):
        failing.backward()
    model.zero_grad()
    loss.backward()  # at once: the first one's buckets are still on their way
    return gradients(model)


def test_the_backward_after_a_failed_one_is_right():
    import minitorch as torch

    model = deep(torch)
    for value in (1.0, 2.0):
        (model(torch.full((8, 1024), value)).square().sum() / 2).backward()
    for grads in run_ranks(after_an_exception, 2):
        for mine, expected in zip(grads, gradients(model), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-2)


def with_inputs(rank, world_size):
    import minitorch as torch

    ddp = torch.nn.parallel.DistributedDataParallel(build(torch))
    loss = loss_of(torch, ddp, share(data(world_size), rank))
    loss.backward(inputs=list(ddp.parameters()))
    return gradients(ddp)


def test_backward_with_inputs_averages_as_well():
    for grads in run_ranks(with_inputs, 2):
        for mine, expected in zip(grads, whole_batch(2), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-6)


def forward_decides(rank, world_size):
    """no_sync counts where the forward runs, wherever backward does."""
    import minitorch as torch

    ddp = torch.nn.parallel.DistributedDataParallel(build(torch))
    with ddp.no_sync():
        loss = loss_of(torch, ddp, share(data(world_size), rank))
    loss.backward()
    local = gradients(ddp)
    ddp.zero_grad()
    loss = loss_of(torch, ddp, share(data(world_size), rank))
    with ddp.no_sync():
        loss.backward()
    return local, gradients(ddp)


def test_no_sync_is_decided_by_the_forward():
    (local, mean), (other_local, other_mean) = run_ranks(forward_decides, 2)
    assert not np.array_equal(local[0], other_local[0])
    assert np.array_equal(mean[0], other_mean[0])


def wrapped_twice(rank, world_size):
    import minitorch as torch
    from minitorch import distributed as dist

    model = build(torch)
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    del ddp
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    launched, launch = [], dist.all_reduce
    dist.all_reduce = lambda *args, **kwargs: (launched.append(1), launch(*args, **kwargs))[1]
    loss_of(torch, ddp, share(data(world_size), rank)).backward()
    counts = [len(launched)]
    del ddp
    loss_of(torch, model, share(data(world_size), rank)).backward()
    return [*counts, len(launched)]


def test_hooks_go_with_the_wrapper():
    assert run_ranks(wrapped_twice, 2) == [[1, 1], [1, 1]]
