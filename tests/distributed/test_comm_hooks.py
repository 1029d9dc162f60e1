"""The communication hooks, fed with the same gradients as PyTorch's over Gloo.

A stand-in takes the place of DDP's bucket, so that both see the same bits; with two ranks a sum has
one order, so uncompressed and 16-bit means must agree to the last one. At the end the hooks are
registered on both sides' DistributedDataParallel.
"""

import importlib
import math
import tempfile

import numpy as np
import pytest

from .harness import run_ranks

SHAPES = [[(6, 40), (6,), (30, 5, 2), (6, 40)], [(12, 12), (12,), (3, 3), (64, 48)]]
STEPS = 6
HOOKS = "distributed.algorithms.ddp_comm_hooks"


class Bucket:
    """What a hook sees of a GradBucket."""

    def __init__(self, torch, flat, index):
        self._buffer = torch.from_numpy(flat)
        self._index = index

    def index(self):
        return self._index

    def is_last(self):
        return self._index == len(SHAPES) - 1

    def buffer(self):
        return self._buffer

    def set_buffer(self, tensor):
        self._buffer = tensor

    def gradients(self):
        sizes = [math.prod(shape) for shape in SHAPES[self._index]]
        parts = self._buffer.split(sizes)
        return [p.view(shape) for p, shape in zip(parts, SHAPES[self._index], strict=True)]


def gradient(rank, step, index):
    """Of low rank plus some noise, as gradients are."""
    random = np.random.default_rng([rank, step, index])
    parts = []
    for shape in SHAPES[index]:
        rows, columns = shape[0], math.prod(shape[1:])
        low = random.standard_normal((rows, 3)) @ random.standard_normal((3, columns))
        parts.append(low.ravel() + 0.1 * random.standard_normal(rows * columns))
    return np.concatenate(parts).astype(np.float32)


SGD = {"start_powerSGD_iter": 2, "matrix_approximation_rank": 1}
POWER = {
    "rank 1": {},
    "rank 2": {"matrix_approximation_rank": 2},
    "rank 4, by QR": {"matrix_approximation_rank": 4, "min_compression_rate": 1},
    "cold start": {"warm_start": False},
    "no feedback": {"use_error_feedback": False, "matrix_approximation_rank": 2},
    "batched shapes": {"batch_tensors_with_same_shape": True},
    "nothing to compress": {"min_compression_rate": 100},
    "epsilon and seed": {"orthogonalization_epsilon": 1e-3, "random_seed": 5},
    "late": {"start_powerSGD_iter": 4},
}
PLAIN = {
    "mean": lambda default, power: default.allreduce_hook,
    "fp16": lambda default, power: default.fp16_compress_hook,
    "bf16": lambda default, power: default.bf16_compress_hook,
    "wrapped fp16": lambda default, power: default.fp16_compress_wrapper(default.allreduce_hook),
    "wrapped bf16": lambda default, power: default.bf16_compress_wrapper(default.allreduce_hook),
}


def play(rank, package, at_once):
    """{case: what the hook made of each step's gradients}, and the states of PowerSGD's."""
    torch = importlib.import_module(package)
    default = importlib.import_module(f"{package}.{HOOKS}.default_hooks")
    power = importlib.import_module(f"{package}.{HOOKS}.powerSGD_hook")
    cases = {name: (None, choose(default, power)) for name, choose in PLAIN.items()}
    for name, options in POWER.items():
        state = power.PowerSGDState(None, **(SGD | options))
        cases[name] = (state, power.powerSGD_hook)
    wrapped = default.fp16_compress_wrapper(power.powerSGD_hook)
    cases["fp16 PowerSGD"] = (power.PowerSGDState(None, **SGD), wrapped)
    results, stats = {}, {}
    for name, (state, hook) in cases.items():
        results[name] = []
        for step in range(STEPS):
            futures = []
            for index in range(len(SHAPES)):
                bucket = Bucket(torch, gradient(rank, step, index), index)
                futures.append(hook(state, bucket))
                if not at_once:  # PyTorch's callbacks would run in different order on the ranks
                    futures[-1].wait()
            results[name].append([future.wait().float().numpy().copy() for future in futures])
        if state is not None:
            stats[name] = state.iter, state.compression_stats()
    return results, stats


def train(rank, package):
    """{case: the parameters after some steps of DistributedDataParallel with the hook}"""
    torch = importlib.import_module(package)
    hooks = importlib.import_module(f"{package}.{HOOKS}")
    state = importlib.import_module(f"{package}.{HOOKS}.powerSGD_hook").PowerSGDState
    types = hooks.DDPCommHookType
    cases = {kind.name: kind for kind in (types.ALLREDUCE, types.FP16_COMPRESS, types.POWER_SGD)}
    cases |= {"PowerSGD from step 2": None}
    if package == "minitorch":  # PyTorch's own ranks may start the buckets' P and Q in any order
        cases |= {"many buckets": None, "many, as fp16": None, "many, views": None}
    ends = {}
    for name, kind in cases.items():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(24, 24, bias=False) for _ in range(4)]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(24, 3))
        ddp = torch.nn.parallel.DistributedDataParallel(
            model,
            bucket_cap_mb=0.001 if "many" in name else None,
            gradient_as_bucket_view="views" in name,
        )
        if kind is not None:
            hooks.register_ddp_comm_hook(kind, ddp)
        else:
            hook = importlib.import_module(f"{package}.{HOOKS}.powerSGD_hook").powerSGD_hook
            if "fp16" in name:
                hook = hooks.default.fp16_compress_wrapper(hook)
            ddp.register_comm_hook(state(None, **SGD), hook)
        optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
        for step in range(STEPS):
            x = np.random.default_rng([rank, step]).standard_normal((8, 24)).astype(np.float32)
            optimizer.zero_grad()
            ddp(torch.from_numpy(x)).square().sum().backward()
            optimizer.step()
        ends[name] = [p.detach().numpy().copy() for p in model.parameters()]
    return ends


def ours(rank, world_size):
    return *play(rank, "minitorch", at_once=True), train(rank, "minitorch")


def theirs(rank, world_size, path):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    # Held until the end: if a callback held it last, one of Gloo's own threads would take it down.
    theirs.group = dist.group.WORLD
    results = *play(rank, "torch", at_once=False), train(rank, "torch")
    dist.destroy_process_group()
    return results


@pytest.fixture(scope="module")
def both():
    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 2, f"{folder}/store", process_group=False)
    return run_ranks(ours, 2, method="forkserver"), expected


@pytest.mark.parametrize("case", PLAIN)
def test_means_are_pytorchs_bit_for_bit(both, case):
    for (mine, *_), (expected, *_) in zip(*both, strict=True):
        for step in range(STEPS):
            for a, b in zip(mine[case][step], expected[case][step], strict=True):
                assert np.array_equal(a, b)


@pytest.mark.parametrize("case", [*POWER, "fp16 PowerSGD"])
def test_powersgd_computes_what_pytorchs_does(both, case):
    # An error of the last bits grows from step to step, as each starts from the one before; most
    # where PyTorch's QR computes in float32, NumPy's in float64.
    loose = 5e-3 if "QR" in case else 1e-4
    for (mine, stats, _), (expected, their_stats, _) in zip(*both, strict=True):
        assert stats[case] == their_stats[case]
        for step in range(STEPS):
            for a, b in zip(mine[case][step], expected[case][step], strict=True):
                np.testing.assert_allclose(a, b, rtol=loose, atol=loose)
    for a, b in zip(both[0][0][0][case], both[0][1][0][case], strict=True):
        assert all(map(np.array_equal, a, b)), "the ranks hold different gradients"


def test_powersgd_is_an_approximation_that_feedback_makes_up_for(both):
    """In the long run the sum of what was applied is the sum of the gradients."""
    mine = both[0][0][0]
    true = [np.mean([gradient(r, step, 1) for r in range(2)], axis=0) for step in range(STEPS)]
    single = np.abs(mine["rank 2"][STEPS - 1][1] - true[-1]).max()
    assert single > 0.5, "nothing was compressed"
    assert np.array_equal(mine["rank 2"][0][1], mine["mean"][0][1]), "began too early"


def test_registered_on_ddp(both):
    mine, expected = ([ends for _, _, ends in results] for results in both)
    for case, values in mine[0].items():
        assert all(map(np.array_equal, values, mine[1][case])), f"{case}: the ranks differ"
        for a, b in zip(values, expected[0].get(case, ()), strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=case)
        pairs = zip(values, mine[0]["ALLREDUCE"], strict=True)
        approximated = max(np.abs(a - b).max() for a, b in pairs) > 1e-3
        assert approximated == ("many" in case or "step 2" in case), case


def batched(rank, world_size):
    """What batched_powerSGD_hook makes of one bucket, step by step."""
    import minitorch as torch
    from minitorch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import (
        PowerSGDState,
        batched_powerSGD_hook,
    )

    state = PowerSGDState(None, start_powerSGD_iter=2, matrix_approximation_rank=2)
    results = []
    for step in range(STEPS):
        bucket = Bucket(torch, gradient(rank, step, 1), 1)
        results.append(batched_powerSGD_hook(state, bucket).wait().numpy().copy())
        assert results[-1].shape == gradient(rank, step, 1).shape
    return results


def test_batched_powersgd_equals_its_definition():
    """Against the algorithm in a few lines of NumPy: PyTorch 2.13's fails its own assertion."""
    import torch

    got = run_ranks(batched, 2, method="forkserver")
    assert all(map(np.array_equal, *got))
    count = gradient(0, 0, 1).size
    side = math.ceil(math.sqrt(count))
    errors, q = [0.0, 0.0], None
    for step in range(STEPS):
        squares = []
        for rank in range(2):
            padded = np.zeros(side * side)
            padded[:count] = gradient(rank, step, 1)
            squares.append(padded)
        mean = (squares[0] + squares[1]) / 2
        if step >= 2:
            matrices = [(s + e).reshape(side, side) for s, e in zip(squares, errors, strict=True)]
            if q is None:
                torch.manual_seed(np.random.RandomState(0).randint(1_000_000_000))
                q = torch.randn(side, 2).double().numpy()
            p = np.linalg.qr(sum(m @ np.linalg.qr(q)[0] for m in matrices))[0]
            q = sum(m.T @ p for m in matrices) / 2
            mean = (p @ q.T).ravel()
            errors = [m.ravel() - mean for m in matrices]
        np.testing.assert_allclose(got[0][step], mean[:count], rtol=1e-2, atol=1e-2)


def test_early_steps_cannot_be_remembered():
    from minitorch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState

    with pytest.raises(ValueError, match="start_powerSGD_iter"):
        PowerSGDState(None, start_powerSGD_iter=1)
    PowerSGDState(None, start_powerSGD_iter=0, use_error_feedback=False, warm_start=False)


def local_sgd(rank, world_size):
    """Two pairs of ranks: means over all for two steps, then over the pair; or none."""
    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook import (
        PostLocalSGDState,
        post_localSGD_hook,
    )
    from minitorch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
    from minitorch.distributed.optim import PostLocalSGDOptimizer

    pair, _ = dist.new_subgroups(2)
    steps = []
    for state in (PostLocalSGDState(None, pair, 2), PostLocalSGDState(None, None, 2, False)):
        for _ in range(3):
            bucket = Bucket(torch, np.full(4, rank, np.float32), 1)
            steps.append(post_localSGD_hook(state, bucket).wait()[0].item())

    weight = torch.nn.Parameter(torch.zeros(2))
    idle = torch.nn.Parameter(torch.full((2,), float(rank)))
    averager = PeriodicModelAverager(period=2, warmup_steps=1)
    optimizer = PostLocalSGDOptimizer(torch.optim.SGD([weight, idle], lr=1.0), averager)
    weights = []
    for _ in range(4):
        weight.grad = torch.full((2,), -float(rank))
        optimizer.step()
        weights.append(weight[0].item())
    saved = optimizer.state_dict()["step"]
    return steps, weights, idle[0].item(), saved


def test_post_local_sgd():
    for rank, result in enumerate(run_ranks(local_sgd, 4, method="forkserver")):
        steps, weights, idle, saved = result
        assert steps == [1.5, 1.5, 0.5 + 2 * (rank // 2), 1.5, 1.5, rank]
        # Step 0 is the optimizer's alone; 1 and 3 average: (0 + 2 + 4 + 6) / 4, and 3 + 2 * 1.5.
        assert weights == [rank, 3.0, 3.0 + rank, 6.0]
        assert idle == rank, "a parameter without a gradient was averaged"
        assert saved == 4


def test_names_are_pytorchs():
    for path, left_out in [
        ("default_hooks", set()),
        ("powerSGD_hook", set()),
        ("debugging_hooks", set()),
        ("", set()),
    ]:
        name = f"{HOOKS}.{path}".rstrip(".")
        expected = importlib.import_module(f"torch.{name}").__all__
        found = importlib.import_module(f"minitorch.{name}")
        assert set(expected) - left_out == set(found.__all__)
        assert all(hasattr(found, name) for name in expected)
