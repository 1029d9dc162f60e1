"""Every way to train with several processes, on the CPU and on each process's own GPU.

What is expected is what the same code does on the CPU, which tests/distributed holds against one
process and against PyTorch. A rank's GPU need not be its current one.
"""

import numpy as np
import pytest

from ..distributed.harness import run_ranks
from .test_ddp_cuda import flat, mlp, numbers, play

SCENARIOS = []
ROUNDED = {"fully_sharded", "half_precision", "hooks"}  # to 16 bits


def scenario(function):
    SCENARIOS.append(function)
    return function


def learn(torch, rank, where, model, optimizer=None, steps=3):
    """The losses of some steps, and what the model then is."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(numbers(torch, 7 * step + rank, where, 6, 8)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [losses, *plain(model)]


def plain(model):
    assert len({t.device for t in model.state_dict().values()}) <= 1
    return [t.tolist() for t in model.state_dict().values()]


def ddp_of(torch, where, model, **options):
    ids = None if where.type == "cpu" else [where]
    return torch.nn.parallel.DistributedDataParallel(model.to(where), device_ids=ids, **options)


@scenario
def hooks(torch, rank, where):
    from minitorch.distributed.algorithms.ddp_comm_hooks import default, powerSGD_hook

    results = []
    for hook in (default.allreduce_hook, default.fp16_compress_hook, default.bf16_compress_hook):
        model = ddp_of(torch, where, mlp(torch))
        model.register_comm_hook(None, hook)
        results.append(learn(torch, rank, where, model))
    model = ddp_of(torch, where, mlp(torch))
    state = powerSGD_hook.PowerSGDState(None, 2, start_powerSGD_iter=2, min_compression_rate=1)
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return [*results, learn(torch, rank, where, model, steps=4)]


@scenario
def accumulation(torch, rank, where):
    model = ddp_of(torch, where, mlp(torch), gradient_as_bucket_view=True)
    with model.no_sync():
        model(numbers(torch, rank, where, 4, 8)).sum().backward()
    return learn(torch, rank, where, model)


@scenario
def uneven_inputs(torch, rank, where):
    model = ddp_of(torch, where, mlp(torch))
    with model.join():
        return [learn(torch, rank, where, model, steps=2 + rank)]


@scenario
def sharded_optimizer(torch, rank, where):
    model = ddp_of(torch, where, mlp(torch))
    optimizer = torch.distributed.optim.ZeroRedundancyOptimizer(
        model.parameters(), torch.optim.Adam, lr=0.01
    )
    results = learn(torch, rank, where, model, optimizer)
    optimizer.consolidate_state_dict(to=0)
    if rank == 0:
        state = optimizer.state_dict()["state"]
        results.append([s["exp_avg"].tolist() for s in state.values()])
    return results


@scenario
def local_steps(torch, rank, where):
    from minitorch.distributed.algorithms.model_averaging import averagers

    model = mlp(torch).to(where)
    averager = averagers.PeriodicModelAverager(period=2, warmup_steps=0)
    optimizer = torch.distributed.optim.PostLocalSGDOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.02), averager
    )
    return learn(torch, rank, where, model, optimizer, steps=3)


@scenario
def fully_sharded(torch, rank, where):
    from minitorch.distributed.checkpoint import state_dict as checkpoint
    from minitorch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    results = []
    for policy in (None, MixedPrecisionPolicy(torch.bfloat16, torch.float32)):
        model = mlp(torch).to(where)
        fully_shard(model[2], mp_policy=policy)
        fully_shard(model, mp_policy=policy)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        if policy is None:
            model.set_requires_gradient_sync(False)
            model(numbers(torch, rank, where, 4, 8)).sum().backward()
            model.set_requires_gradient_sync(True)
        out = model(numbers(torch, rank, where, 4, 8))
        # The graph has notes in place of whole weights, but for those of the outermost.
        results.append([m._fsdp_unit.notes for m in (model, model[2])])
        out.sum().backward()
        results.append(learn(torch, rank, where, model, optimizer))
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        results.append([norm.item()] if policy is None else [])
        whole = checkpoint.StateDictOptions(full_state_dict=True)
        state = checkpoint.get_model_state_dict(model, options=whole)
        assert {t.device for t in state.values()} == {where}
        results.append([t.tolist() for t in state.values()])
        checkpoint.set_model_state_dict(
            model, {n: t.cpu() for n, t in state.items()}, options=whole
        )
        results.append(plain(model))
    return results


@scenario
def fully_sharded_by_the_wrapper(torch, rank, where):
    model = torch.distributed.fsdp.FullyShardedDataParallel(mlp(torch).to(where))
    return learn(torch, rank, where, model)


@scenario
def pipeline(torch, rank, where):
    pipelining = torch.distributed.pipelining
    results = []
    for schedule in (pipelining.ScheduleGPipe, pipelining.Schedule1F1B):
        part = [mlp(torch)[:2], mlp(torch)[2:]][rank].to(where)
        stage = pipelining.PipelineStage(part, rank, 2, where)
        run = schedule(stage, 3, loss_fn=lambda out, target: (out - target).square().mean())
        for step in range(2):
            batch = [numbers(torch, step, where, 6, 8)] if rank == 0 else []
            losses = []
            goal = {} if rank == 0 else {"target": torch.ones(6, 4, device=where), "losses": losses}
            out = run.step(*batch, **goal)
            assert rank == 0 or out.device == where
            results.append([loss.item() for loss in losses])
        results.append([p.grad.tolist() for p in part.parameters()])
    return results


@scenario
def tensor_parallel(torch, rank, where):
    from minitorch.distributed.tensor import parallel

    mesh = torch.distributed.init_device_mesh(where.type, (2,))
    model = parallel.parallelize_module(
        mlp(torch).to(where),
        mesh,
        {"0": parallel.ColwiseParallel(), "2": parallel.RowwiseParallel()},
    )
    return learn(torch, 0, where, model)  # the same batches for both


@scenario
def through_collectives(torch, rank, where):
    """Gradients of other ranks' losses."""
    functional = torch.distributed.nn.functional
    x = numbers(torch, rank, where, 2, 3).requires_grad_()
    y = torch.stack(functional.all_gather(x * x)).sum(0)
    y = functional.all_reduce(y * x) + functional.broadcast(x, 1)
    y = y + functional.reduce_scatter(torch.empty_like(x), [x * 2, x * 3])
    y = y + functional.all_to_all_single(torch.empty_like(x), x * x)
    (y * (rank + 1)).sum().backward()
    return [x.grad.tolist()]


@scenario
def scaled_losses(torch, rank, where):
    """A gradient that is infinite on one rank keeps all of them from this step."""
    model = ddp_of(torch, where, mlp(torch))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    scaler = torch.amp.GradScaler(where.type, init_scale=8.0)
    results = []
    for step in range(3):
        optimizer.zero_grad()
        loss = model(numbers(torch, 7 * step + rank, where, 6, 8)).square().mean()
        scaler.scale(loss * (float("inf") if (step, rank) == (1, 1) else 1)).backward()
        scaler.step(optimizer)
        scaler.update()
        results.append([loss.item(), scaler.get_scale()])
    return results


@scenario
def half_precision(torch, rank, where):
    model = ddp_of(torch, where, mlp(torch).to(torch.bfloat16))
    return [learn(torch, rank, where, torch.nn.Sequential(Narrow(torch), model))]


def Narrow(torch):
    class Narrow(torch.nn.Module):
        def forward(self, x):
            return x.to(torch.bfloat16)

    return Narrow()


@scenario
def checkpoints(torch, rank, where):
    """What was saved on one device is loaded on another."""
    import io

    other = torch.device("cuda", 0) if where.type == "cpu" else torch.device("cpu")
    model = ddp_of(torch, where, mlp(torch))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    learn(torch, rank, where, model, optimizer)
    file = io.BytesIO()
    torch.save({"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}, file)
    results = []
    for map_location in (other, where):
        file.seek(0)
        found = torch.load(file, map_location=map_location)
        assert {t.device for t in found["model"].values()} == {map_location}
        again = mlp(torch, 5).to(map_location)
        again.load_state_dict(found["model"])
        resumed = torch.optim.Adam(again.parameters(), lr=0.5)
        resumed.load_state_dict(found["optimizer"])
        results.append(learn(torch, 0, map_location, again, resumed))
    return results


@scenario
def data_loading(torch, rank, where):
    """Batches that a DistributedSampler chooses, in pinned memory, on their way without waiting."""
    data = torch.utils.data
    table = data.TensorDataset(torch.arange(80.0).reshape(10, 8) / 80, torch.arange(10))
    sampler = data.DistributedSampler(table)
    loader = data.DataLoader(table, 2, sampler=sampler, pin_memory=where.type == "cuda")
    model, results = ddp_of(torch, where, mlp(torch)), []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for x, labels in loader:
            assert x.is_pinned() == (where.type == "cuda")
            out = model(x.to(where, non_blocking=True))
            goal = labels.to(where, non_blocking=True) % 4
            loss = torch.nn.functional.cross_entropy(out, goal)
            loss.backward()
            results.append([loss.item(), *labels.tolist()])
    return results


@pytest.mark.parametrize("gpus", [1, 2], ids=["one GPU for both", "a GPU for each"])
def test_the_same_as_on_the_cpu(gpus):
    for results in run_ranks(play, 2, SCENARIOS, gpus, timeout=240, method="forkserver"):
        for name, (expected, got) in results.items():
            rtol, atol = (0.02, 0.01) if name in ROUNDED else (1e-4, 1e-5)
            np.testing.assert_allclose(flat(got), flat(expected), rtol, atol, err_msg=name)
