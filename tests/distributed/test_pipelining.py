"""Pipelines: the schedules as lists, and what they train, against one process and against PyTorch.

The same code trains under both libraries: with one seed the weights and the batches are the same.
"""

import importlib
import re
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch.distributed.pipelining import actions
from tests.distributed.harness import run_ranks, try_ranks
from tests.distributed.test_fsdp import run_example

STEPS, BATCH, WIDTH = 3, 12, 6
KINDS = {"gpipe": "ScheduleGPipe", "1f1b": "Schedule1F1B"}


# The schedules as lists


def test_pictures():
    assert actions.picture(actions.gpipe(3, 2)) == (
        "rank 0  F0 F1 .  .  .  .  .  .  B0 B0 B1 B1\n"
        "rank 1  .  F0 F1 .  .  .  B0 B0 B1 B1 .  .\n"
        "rank 2  .  .  F0 F1 B0 B0 B1 B1 .  .  .  ."
    )
    assert actions.picture(actions.one_f_one_b(3, 4), backward=1) == (
        "rank 0  F0 F1 F2 .  .  B0 F3 B1 .  B2 .  B3\n"
        "rank 1  .  F0 F1 .  B0 F2 B1 F3 B2 .  B3 .\n"
        "rank 2  .  .  F0 B0 F1 B1 F2 B2 F3 B3 .  ."
    )
    assert actions.picture(actions.one_f_one_b(2, 2, 2), backward=1) == (
        "rank 0  0F0 0F1 2F0 2F1 .   2B0 .   2B1 0B0 0B1\n"
        "rank 1  .   1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1 ."
    )


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3))
def test_every_schedule_is_complete_and_ends(ranks, rounds, per_rank, backward):
    microbatches = ranks * rounds
    for stages, orders in (
        (1, actions.gpipe(ranks, microbatches)),
        (per_rank, actions.one_f_one_b(ranks, microbatches, per_rank)),
    ):
        for rank, order in enumerate(orders):
            for stage in range(rank, stages * ranks, ranks):
                for kind in "FB":
                    mine = [a.microbatch for a in order if a[:2] == (stage, kind)]
                    assert mine == list(range(microbatches))
            assert len(order) == 2 * stages * microbatches
        spans = actions.timeline(orders, 1, backward)  # raises for a deadlock
        at = {span.action: span for rank in spans for span in rank}
        for action, start, _ in at.values():
            assert all(
                at[other].end <= start for other in actions._needs(action, stages * ranks - 1)
            )


def messages(orders, sent):
    """{(from rank, to rank): [what, ...]} in the order in which they are sent, or received."""
    ranks, last = len(orders), max(action.stage for order in orders for action in order)
    between = {}
    for rank, order in enumerate(orders):
        for stage, kind, i in order:
            step = 1 if kind == "F" else -1
            source, target = (stage, stage + step) if sent else (stage - step, stage)
            if 0 <= source <= last and 0 <= target <= last:
                pair = (rank, target % ranks) if sent else (source % ranks, rank)
                between.setdefault(pair, []).append((kind, target, i))
    return between


@given(st.integers(2, 6), st.integers(1, 6), st.integers(1, 4))
def test_two_ranks_agree_on_the_order_of_messages(ranks, rounds, per_rank):
    for orders in (
        actions.gpipe(ranks, ranks * rounds),
        actions.one_f_one_b(ranks, ranks * rounds, per_rank),
    ):
        assert messages(orders, sent=True) == messages(orders, sent=False)


@pytest.mark.parametrize("ranks, microbatches", [(2, 4), (4, 4), (4, 16), (8, 32)])
def test_bubble_and_memory(ranks, microbatches):
    gpipe, one = actions.gpipe(ranks, microbatches), actions.one_f_one_b(ranks, microbatches)
    formula = (ranks - 1) / (microbatches + ranks - 1)
    assert actions.bubble(actions.timeline(gpipe)) == pytest.approx(formula)
    assert actions.bubble(actions.timeline(one)) == pytest.approx(formula)
    assert [actions.most_alive(order) for order in gpipe] == [microbatches] * ranks
    assert [actions.most_alive(order) for order in one] == list(range(ranks, 0, -1))
    three = actions.bubble(actions.timeline(actions.one_f_one_b(ranks, microbatches, 3)))
    assert three == pytest.approx((ranks - 1) / (3 * microbatches + ranks - 1))


def test_a_schedule_that_would_deadlock():
    orders = actions.one_f_one_b(2, 2)
    orders[0][0], orders[0][2] = orders[0][2], orders[0][0]  # a backward before its forward
    with pytest.raises(ValueError, match="the ranks wait for each other, at 0B0, 1F0"):
        actions.timeline(orders)


# Training


def layers_of(torch, count, seed=0):
    torch.manual_seed(seed)
    nn = torch.nn
    return [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(count)]


def batches_of(torch):
    torch.manual_seed(1)
    return [(torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)) for _ in range(STEPS)]


def values(parameters):
    return [p.detach().numpy().copy() for p in parameters]


def train_alone(count):
    """Losses, the first step's gradients by stage, final weights by stage; and the last output."""
    import minitorch as torch

    layers = layers_of(torch, count)
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses, grads = [], []
    for x, target in batches_of(torch):
        optimizer.zero_grad()
        output = model(x)
        loss = torch.nn.functional.mse_loss(output, target)
        loss.backward()
        grads.append([values(p.grad for p in layer.parameters()) for layer in layers])
        losses.append(loss.item())
        optimizer.step()
    return losses, grads, [values(layer.parameters()) for layer in layers], output.detach().numpy()


def train(rank, size, library, kind, microbatches, per_rank=1, path=None):
    """The same, in a pipeline: of this rank's stages."""
    torch = importlib.import_module(library)
    dist = importlib.import_module(f"{library}.distributed")
    pipelining = importlib.import_module(f"{library}.distributed.pipelining")
    if library == "torch":
        torch.set_num_threads(1)
        dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=size)
    count = size * per_rank
    mine = range(rank, count, size)
    layers = layers_of(torch, count)
    device = torch.device("cpu")
    stages = [pipelining.PipelineStage(layers[i], i, count, device) for i in mine]
    loss_fn = torch.nn.functional.mse_loss
    if per_rank > 1:
        schedule = pipelining.ScheduleInterleaved1F1B(stages, microbatches, loss_fn=loss_fn)
    else:
        schedule = getattr(pipelining, KINDS[kind])(stages[0], microbatches, loss_fn=loss_fn)
    parameters = [p for i in mine for p in layers[i].parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    first, last = rank == 0, rank == size - 1
    all_losses, grads, output = [], [], None
    for x, target in batches_of(torch):
        optimizer.zero_grad()
        losses = []
        output = schedule.step(
            *([x] if first else []), target=target if last else None, losses=losses
        )
        grads.append([values(p.grad for p in layers[i].parameters()) for i in mine])
        optimizer.step()
        all_losses.append([loss.item() for loss in losses])
    if library == "torch":
        dist.destroy_process_group()
    output = None if output is None else output.detach().numpy()
    return all_losses, grads, [values(layers[i].parameters()) for i in mine], output


def close(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "size, kind, microbatches, per_rank",
    [
        (2, "gpipe", 4, 1),
        (2, "1f1b", 6, 1),
        (4, "gpipe", 3, 1),
        (4, "1f1b", 6, 1),
        (2, "interleaved", 4, 2),
        (1, "gpipe", 3, 1),
    ],
)
def test_equal_to_one_process(size, kind, microbatches, per_rank):
    losses, grads, weights, output = train_alone(size * per_rank)
    results = run_ranks(
        train, size, "minitorch", kind, microbatches, per_rank, method="forkserver", timeout=120
    )
    for rank, (_, its_grads, its_weights, its_output) in enumerate(results):
        for step in range(STEPS):
            for stage, stage_grads in zip(
                range(rank, size * per_rank, size), its_grads[step], strict=True
            ):
                close(stage_grads, grads[step][stage])
        for stage, its in zip(range(rank, size * per_rank, size), its_weights, strict=True):
            close(its, weights[stage])
        assert (its_output is None) == (rank < size - 1)
    close([results[-1][3]], [output])
    assert [len(step) for step in results[-1][0]] == [microbatches] * STEPS
    np.testing.assert_allclose([np.mean(step) for step in results[-1][0]], losses, rtol=1e-5)


@pytest.mark.parametrize(
    "size, kind, per_rank",
    [
        (2, "1f1b", 1),
        pytest.param(4, "gpipe", 1, marks=pytest.mark.slow),
        pytest.param(2, "interleaved", 2, marks=pytest.mark.slow),
    ],
)
def test_equal_to_torch_over_gloo(size, kind, per_rank, tmp_path):
    ours = run_ranks(train, size, "minitorch", kind, 4, per_rank, method="forkserver", timeout=120)
    theirs = run_ranks(
        train, size, "torch", kind, 4, per_rank, tmp_path / "store",
        method="forkserver", timeout=180, process_group=False,
    )  # fmt: skip
    for (losses, grads, weights, output), expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
        for step, expected_step in zip(grads, expected[1], strict=True):
            for stage, expected_stage in zip(step, expected_step, strict=True):
                close(stage, expected_stage)
        for stage, expected_stage in zip(weights, expected[2], strict=True):
            close(stage, expected_stage)
        assert (output is None) == (expected[3] is None)
        if output is not None:
            close([output], [expected[3]])


# What travels between stages


def unusual_stages():
    import minitorch as torch

    class First(torch.nn.Module):
        """Sends on floats that need a gradient, integers, and floats that backward will not use."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.arange(1.0, 4.0))

        def forward(self, x, positions):
            return x * self.weight, positions, x * self.weight.sum()

    class Second(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.arange(12.0).reshape(4, 3) / 10)

        def forward(self, x, positions, unused, scale=None):
            return x * self.table[positions] * scale

    return First(), Second()


def several_tensors(rank, size):
    import minitorch as torch
    from minitorch.distributed.pipelining import PipelineStage, ScheduleGPipe

    part = unusual_stages()[rank]
    schedule = ScheduleGPipe(
        PipelineStage(part, rank, 2), 2, loss_fn=lambda output, target: (output - target).sum(),
        scale_grads=False,
    )  # fmt: skip
    x = torch.arange(24.0).reshape(8, 3).requires_grad_()
    positions = torch.arange(8) % 4
    seen = []
    for n in (8, 4):  # the batch may be smaller in the next step; gradients accumulate
        arguments = (x[:n], positions[:n]) if rank == 0 else ()
        keywords = {"scale": torch.arange(1.0, n + 1).reshape(n, 1)} if rank == 1 else {}
        target = torch.ones(n, 3) if rank == 1 else None
        schedule.step(*arguments, target=target, **keywords)
        seen.append(next(part.parameters()).grad.numpy().copy())
    with torch.no_grad():
        losses = []
        output = schedule.eval(*arguments, target=target, losses=losses, **keywords)
    same = next(part.parameters()).grad.numpy()
    np.testing.assert_array_equal(same, seen[-1])
    grad = None if rank else x.grad.numpy()
    return seen, grad, None if output is None else output.numpy(), [v.item() for v in losses]


def test_several_tensors_kwargs_accumulation_and_eval():
    import minitorch as torch

    results = run_ranks(several_tensors, 2, method="forkserver")
    first, second = unusual_stages()
    x = torch.arange(24.0).reshape(8, 3).requires_grad_()
    positions = torch.arange(8) % 4
    for step, n in enumerate((8, 4)):
        scale = torch.arange(1.0, n + 1).reshape(n, 1)
        output = second(*first(x[:n], positions[:n]), scale=scale)
        (output - 1).sum().backward()
        close([results[0][0][step]], [first.weight.grad.numpy()])
        close([results[1][0][step]], [second.table.grad.numpy()])
    close([results[0][1]], [x.grad.numpy()])  # into the pipeline's own input, too
    assert results[0][2] is None
    close([results[1][2]], [output.detach().numpy()])
    halves = (output.detach() - 1).numpy().reshape(2, -1).sum(1)
    np.testing.assert_allclose(results[1][3], halves, rtol=1e-5)


def count_alive(rank, size, kind, microbatches):
    """The largest number of micro-batches whose activations were in memory at once."""
    import minitorch as torch
    from minitorch.distributed import pipelining

    alive, most = weakref.WeakSet(), [0]

    class Kept:  # saved by the graph, as an activation is
        pass

    class Mark(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = Kept()
            alive.add(ctx.kept)
            most[0] = max(most[0], len(alive))
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Stage(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, x):
            return Mark.apply(x * self.weight)

    schedule = getattr(pipelining, KINDS[kind])(
        pipelining.PipelineStage(Stage(), rank, size), microbatches, loss_fn=lambda y, t: y.sum()
    )
    x = torch.ones(microbatches * 2, 3)
    for _ in range(2):
        schedule.step(*([x] if rank == 0 else []), target=x)
    return most[0], len(alive)


@pytest.mark.parametrize("kind, expected", [("gpipe", [8, 8, 8]), ("1f1b", [3, 2, 1])])
def test_activations_alive(kind, expected):
    results = run_ranks(count_alive, 3, kind, 8, method="forkserver")
    assert [most for most, _ in results] == expected
    assert [left for _, left in results] == [0, 0, 0]


def train_in_a_grid(rank, size, how):
    """Two stages, each twice: ranks 0 and 1 are the pipeline of one half of the batch."""
    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed.fsdp import fully_shard
    from minitorch.distributed.pipelining import PipelineStage, Schedule1F1B
    from minitorch.nn.parallel import DistributedDataParallel

    mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "pipeline"))
    half, index = mesh.get_local_rank("data"), mesh.get_local_rank("pipeline")
    part = layers_of(torch, 2)[index]
    calls = []
    all_reduce, reduce_scatter = dist.all_reduce, dist.reduce_scatter
    dist.all_reduce = lambda *a, **k: (calls.append(1), all_reduce(*a, **k))[1]
    dist.reduce_scatter = lambda *a, **k: (calls.append(1), reduce_scatter(*a, **k))[1]
    data = mesh.get_group("data")
    part = DistributedDataParallel(part, process_group=data) if how == "ddp" else part
    part = fully_shard(part, mesh=data) if how == "fsdp" else part
    calls.clear()
    stage = PipelineStage(part, index, 2, group=mesh.get_group("pipeline"))
    schedule = Schedule1F1B(stage, 3, loss_fn=torch.nn.functional.mse_loss)
    optimizer = torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9)
    for x, target in batches_of(torch):
        optimizer.zero_grad()
        x, target = x[half::2], target[half::2]
        schedule.step(*([x] if index == 0 else []), target=target if index else None)
        optimizer.step()
    if how == "fsdp":
        part.unshard()
    return values(part.parameters()), len(calls)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_pipeline_of_copies(how):
    weights = train_alone(2)[2]
    for rank, (got, calls) in enumerate(
        run_ranks(train_in_a_grid, 4, how, method="forkserver", timeout=120)
    ):
        close(got, weights[rank % 2])
        assert calls == STEPS  # not one for each micro-batch


# Errors


def wrong_calls(rank, size):
    import minitorch as torch
    from minitorch.distributed.pipelining import (
        PipelineStage,
        Schedule1F1B,
        ScheduleGPipe,
        ScheduleInterleaved1F1B,
    )

    layer = torch.nn.Linear(3, 3)
    loss_fn = torch.nn.functional.mse_loss
    stage = PipelineStage(layer, rank, 2)

    def error_of(call):
        with pytest.raises((ValueError, RuntimeError, TypeError)) as caught:
            call()
        return f"{type(caught.value).__name__}: {caught.value}"

    def under_no_grad():
        with torch.no_grad():
            ScheduleGPipe(stage, 2, loss_fn).step(torch.ones(4, 3))

    return [
        error_of(lambda: PipelineStage(layer, 2, 2)),
        error_of(lambda: PipelineStage(layer, 0, 1)),
        error_of(lambda: PipelineStage(layer, 1 - rank, 2)),
        error_of(lambda: ScheduleGPipe(PipelineStage(layer, rank, 4), 2)),
        error_of(lambda: Schedule1F1B(stage, 1)),
        error_of(
            lambda: ScheduleInterleaved1F1B(
                [PipelineStage(layer, rank, 4), PipelineStage(layer, rank + 2, 4)], 5
            )
        ),
        error_of(lambda: ScheduleGPipe(stage, 3, loss_fn).step(torch.ones(4, 3))),
        error_of(lambda: ScheduleGPipe(stage, 2, loss_fn).step(torch.ones(4, 3), losses=())),
        error_of(under_no_grad),
    ]


def test_errors_before_anything_is_sent():
    expected = [
        "ValueError: Stage index 2 is out of range of 2",
        "RuntimeError: Pipeline group size 2 cannot be larger than number of stages 1",
        "ValueError: stage {other} belongs to rank {other} of its group of 2, and was made on rank "
        "{rank}",
        "ValueError: ScheduleGPipe on 2 ranks has 2 stages, and rank {rank} the stages [{rank}]; "
        "got [{rank}] of 4",
        "ValueError: Number of microbatches (1) must be greater than or equal to the number of "
        "stages (2)",
        "ValueError: interleaved 1F1B does 5 micro-batches on 2 ranks in 2 rounds",
        "ValueError: args[0] of shape [4, 3] cannot be cut into 3 equal micro-batches",
        "TypeError: losses must be a list",
        "RuntimeError: step() requires gradients to be enabled",
    ]
    for rank, errors in enumerate(run_ranks(wrong_calls, 2, method="forkserver")):
        for error, start in zip(errors, expected, strict=True):
            assert error.startswith(start.format(rank=rank, other=1 - rank)), error


def wrong_shapes(rank, size, what):
    import minitorch as torch
    from minitorch.distributed.pipelining import PipelineStage, ScheduleGPipe

    class Uneven(torch.nn.Module):
        def forward(self, x):
            return x[:1] if x[0, 0] > 0 else x

    parts = [torch.nn.Linear(4, 3), torch.nn.Linear(3 if what != "module" else 5, 2)]
    if what == "uneven":
        parts[0] = Uneven()
    example = torch.ones(2, 5) if what == "example" and rank == 1 else None
    if what == "type":
        parts[0] = torch.nn.LSTM(4, 3)
    stage = PipelineStage(parts[rank], rank, 2, input_args=example)
    x = torch.arange(16.0).reshape(4, 4)
    schedule = ScheduleGPipe(stage, 2, loss_fn=lambda y, t: y.sum())
    schedule.step(*([x] if rank == 0 else []), target=x)


@pytest.mark.parametrize(
    "what, culprit, words",
    [
        (
            "module",
            1,
            "RuntimeError: stage 1 (rank 1) failed in forward of micro-batch 0, given "
            "float32[2, 3]: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 5x2)",
        ),
        (
            "example",
            1,
            "RuntimeError: stage 1 (rank 1) got other inputs than its input_args say: expected "
            "float32[2, 5], got float32[2, 3]",
        ),
        (
            "uneven",
            0,
            "RuntimeError: stage 0 (rank 0) returned float32[1, 4] for micro-batch 1, expected "
            "float32[2, 4] as for micro-batch 0",
        ),
        ("type", 0, "TypeError: stage 0 (rank 0) must return a tensor or a tuple of tensors"),
    ],
)
def test_a_stage_that_gets_the_wrong_thing(what, culprit, words):
    outcomes = try_ranks(wrong_shapes, 2, what, method="forkserver", destroy=True)
    assert words in outcomes[culprit].error
    assert outcomes[1 - culprit].error  # nobody hangs


def test_the_example_prints_what_it_did():
    out = run_example("pipeline_parallel.py", "--batch", "64", "--width", "16")
    assert "rank 1  .  F0 F1 F2 F3 F4 F5 F6 F7 B0" in out  # GPipe's plan
    assert len(re.findall(r"bubble: 11% planned, \d+% measured", out)) == 2
    assert re.findall(r"keeps: (.*)", out) == ["[8, 8]", "[2, 1]"]
    differences = re.findall(r"of any weight: (.*)", out)
    assert len(differences) == 2
    assert all(float(difference) < 1e-6 for difference in differences)
