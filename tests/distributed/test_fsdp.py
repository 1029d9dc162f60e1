"""Sharded data parallelism against one process with the whole batch, and against PyTorch's FSDP2.

The same code trains under both libraries: with one seed the weights and the batches are the same.
"""

import importlib
import pathlib
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch.distributed.fsdp import layout
from tests.distributed.harness import run_ranks

STEPS, BATCH = 3, 12
TIED, FROZEN, UNUSED = "tied", "frozen", "unused"


# Who has which rows


@given(
    st.lists(st.lists(st.integers(0, 7), max_size=3).map(tuple), min_size=1, max_size=4),
    st.integers(1, 6),
)
def test_blocks_and_back(shapes, ranks):
    import torch

    arrays = [np.random.default_rng(0).random(shape) for shape in shapes]
    for array in arrays:
        if array.ndim and array.size:
            chunks = torch.from_numpy(array).chunk(ranks)
            for rank in range(ranks):
                part = layout.shard(array, rank, ranks)
                assert part.shape == layout.shard_shape(array.shape, rank, ranks)
                np.testing.assert_array_equal(
                    part, chunks[rank].numpy() if rank < len(chunks) else array[:0]
                )
    blocks = layout.blocks(arrays, ranks, np.float64)
    room = layout.empty_blocks(shapes, ranks, np.float64)
    assert [b.size for b in blocks] == [b.size for b in room]
    assert sum(b.size for b in blocks) == sum(a.size for a in arrays)
    for array, again in zip(arrays, layout.joined(blocks, shapes), strict=True):
        np.testing.assert_array_equal(array, again)


# Training


def model_of(torch, *traits):
    """Sizes that the number of ranks does not divide, down to a single row."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(5, 7)
            self.outer = nn.Linear(7, 5)
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x + self.gain * self.outer(torch.tanh(self.inner(x)))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(11, 5)
            self.blocks = nn.ModuleList([Block(), Block()])
            self.head = nn.Linear(5, 11, bias=False)
            if TIED in traits:
                self.head.weight = self.embedding.weight
            if FROZEN in traits:
                for p in [self.blocks[0].inner.weight, *self.blocks[1].parameters()]:
                    p.requires_grad_(False)
            if UNUSED in traits:
                self.blocks[0].extra = nn.Linear(3, 2)

        def forward(self, tokens):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    torch.manual_seed(0)
    return Model()


def batches_of(torch):
    torch.manual_seed(1)
    return [(torch.randint(0, 11, (BATCH,)), torch.randint(0, 11, (BATCH,))) for _ in range(STEPS)]


def arrays(tensors):
    return {n: None if t is None else t.detach().numpy().copy() for n, t in tensors.items()}


def train_alone(traits, clip=None, optimizer="SGD", options=None):
    """Losses, gradients and weights after each step, of one process with the whole batch."""
    import minitorch as torch

    model = model_of(torch, *traits)
    options = options or {"lr": 0.3, "momentum": 0.9}
    optimizer = getattr(torch.optim, optimizer)(
        [p for p in model.parameters() if p.requires_grad], **options
    )
    losses, norms, grads = [], [], []
    for tokens, targets in batches_of(torch):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(tokens), targets)
        loss.backward()
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item())
        grads.append(arrays({n: p.grad for n, p in model.named_parameters()}))
        optimizer.step()
        losses.append(loss.item())
    return losses, norms, grads, arrays(dict(model.named_parameters()))


def train(
    rank, size, library, traits=(), parts=1, sync="all", clip=None, path=None,
    optimizer="SGD", options=None, nested=True, reshard=None,
):  # fmt: skip
    """The same, sharded: this rank's losses, and its shards of the gradients and weights."""
    torch = importlib.import_module(library)
    dist = importlib.import_module(f"{library}.distributed")
    fsdp = importlib.import_module(f"{library}.distributed.fsdp")
    if library == "torch":
        torch.set_num_threads(1)
        dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=size)
        mesh = importlib.import_module("torch.distributed.device_mesh").init_device_mesh(
            "cpu", (size,)
        )
        how = {"mesh": mesh, "reshard_after_forward": reshard}
    else:
        how = {"reshard_after_forward": reshard}
    model = model_of(torch, *traits)
    if nested:
        for block in model.blocks:
            fsdp.fully_shard(block, **how)
    fsdp.fully_shard(model, **how)
    options = options or {"lr": 0.3, "momentum": 0.9}
    optimizer = getattr(torch.optim, optimizer)(
        [p for p in model.parameters() if p.requires_grad], **options
    )

    def local(t):
        t = t.to_local() if hasattr(t, "to_local") else t
        return None if t is None else t.detach().numpy().copy()

    losses, norms, grads = [], [], []
    for tokens, targets in batches_of(torch):
        optimizer.zero_grad()
        mine = tokens[rank::size].chunk(parts), targets[rank::size].chunk(parts)
        for i, (its_tokens, its_targets) in enumerate(zip(*mine, strict=True)):
            if sync == "last":
                model.set_requires_gradient_sync(i == parts - 1)
            loss = torch.nn.functional.cross_entropy(model(its_tokens), its_targets) / parts
            loss.backward()
            losses.append(loss.item())
        if clip:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            norms.append((norm.full_tensor() if library == "torch" else norm).item())
        grads.append({n: local(p.grad) for n, p in model.named_parameters()})
        optimizer.step()
    shards = {n: local(p) for n, p in model.named_parameters()}
    whole = None
    if library == "torch":
        dist.destroy_process_group()
    else:
        state_dict = importlib.import_module("minitorch.distributed.checkpoint.state_dict")
        everything = state_dict.StateDictOptions(full_state_dict=True)
        whole = arrays(state_dict.get_model_state_dict(model, options=everything))
    return losses, norms, grads, shards, whole


def joined(parts, like):
    """What the ranks' parts make together; None if they all have none."""
    if all(part is None for part in parts):
        return None
    return np.concatenate(parts).reshape(like.shape)


def compare(results, alone):
    _, norms, grads, weights = alone
    for name, array in weights.items():
        shards = [result[3][name] for result in results]
        np.testing.assert_allclose(joined(shards, array), array, rtol=1e-4, atol=1e-6, err_msg=name)
        for rank, result in enumerate(results):
            assert shards[rank].shape == layout.shard_shape(array.shape, rank, len(results))
            np.testing.assert_array_equal(result[4][name], joined(shards, array))
        for step in range(STEPS):
            got = joined([result[2][step][name] for result in results], array)
            expected = grads[step][name]
            assert (got is None) == (expected is None), name
            if got is not None:
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    for result in results:
        np.testing.assert_allclose(result[1], norms, rtol=1e-5)


def run_ours(size, *args, **options):
    return run_ranks(_train_with, size, args, options, method="forkserver", timeout=120)


def _train_with(rank, size, args, options):
    return train(rank, size, *args, **options)


@pytest.mark.parametrize(
    "size, traits, options",
    [
        (2, (), {}),
        (3, (TIED,), {"nested": False}),
        (3, (TIED, FROZEN), {}),
        (2, (FROZEN, UNUSED), {"reshard": False}),
        (4, (), {"clip": 0.05}),
        (3, (TIED,), {"parts": 2}),
        (3, (TIED,), {"parts": 2, "sync": "last"}),
        (3, (), {"optimizer": "AdamW", "options": {"lr": 0.01, "weight_decay": 0.1}}),
        (1, (), {}),
    ],
)
def test_equal_to_one_process(size, traits, options):
    results = run_ours(size, "minitorch", traits, **options)
    alone = {k: v for k, v in options.items() if k in ("clip", "optimizer", "options")}
    compare(results, train_alone(traits, **alone))
    mean = np.mean([np.reshape(result[0], (STEPS, -1)).sum(1) for result in results], 0)
    np.testing.assert_allclose(mean, train_alone(traits, **alone)[0], rtol=1e-5)


@pytest.mark.parametrize(
    "traits, options",
    [
        ((TIED, FROZEN, UNUSED), {"clip": 0.05, "parts": 3, "sync": "last"}),
        pytest.param((), {"nested": False, "reshard": False}, marks=pytest.mark.slow),
    ],
)
def test_equal_to_torch_over_gloo(traits, options, tmp_path):
    ours = run_ours(2, "minitorch", traits, **options)
    theirs = run_ranks(
        _train_with, 2, ("torch", traits), options | {"path": tmp_path / "store"},
        method="forkserver", timeout=180, process_group=False,
    )  # fmt: skip
    for (losses, norms, grads, shards, _), expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
        np.testing.assert_allclose(norms, expected[1], rtol=1e-5)
        for got, their in zip([*grads, shards], [*expected[2], expected[3]], strict=True):
            assert got.keys() == their.keys()
            for name, array in got.items():
                assert (array is None) == (their[name] is None), name
                if array is not None:
                    assert array.shape == their[name].shape, name
                    np.testing.assert_allclose(array, their[name], rtol=1e-4, atol=1e-6)


# Memory and messages

MIB = 1 << 20


def sharded_perceptron(torch, fsdp, shard, width=512, depth=8):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(width, width, bias=False) for _ in range(depth)]
    model = torch.nn.Sequential(*layers)
    if shard:
        for layer in layers:
            fsdp.fully_shard(layer)
        fsdp.fully_shard(model)
    return model


def measure_memory(rank, size, shard):
    """MiB: at rest (weights and momenta), after forward, and the most within two steps."""
    import minitorch as torch
    from minitorch.distributed import fsdp

    tracemalloc.start()
    model = sharded_perceptron(torch, fsdp, shard)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    x = torch.randn(4, 512)
    seen = {}
    for _ in range(2):
        optimizer.zero_grad()
        seen["rest"] = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss = model(x).square().mean()
        seen["forward"] = tracemalloc.get_traced_memory()[0]
        loss.backward()
        optimizer.step()
        seen["peak"] = tracemalloc.get_traced_memory()[1]
    return {name: n / MIB for name, n in seen.items()}


def test_memory_shrinks_with_the_ranks():
    (whole,) = run_ranks(measure_memory, 1, False, method="forkserver")
    sharded = run_ranks(measure_memory, 4, True, method="forkserver")
    # 8 weights of 1 MiB, and Adam's two states: at rest 24 MiB and with the gradients 32.
    assert 24 <= whole["rest"] < 26
    assert whole["peak"] > 32
    for rank in sharded:
        assert 6 <= rank["rest"] < 8
        assert rank["forward"] - rank["rest"] < 1  # nothing of the weights is left in the graph
        # A quarter of everything, and two layers that are whole, with what is sent of them.
        assert rank["peak"] < 8 + 8
    assert all(rank["peak"] < whole["peak"] / 2 for rank in sharded)


def count_messages(rank, size, frozen):
    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed import fsdp

    calls = []
    gather, reduce = dist.all_gather, dist.reduce_scatter

    def counted(name, call):
        def wrapped(*args, **options):
            calls.append(name)
            return call(*args, **options)

        return wrapped

    dist.all_gather = counted("gather", gather)
    dist.reduce_scatter = counted("reduce", reduce)
    model = sharded_perceptron(torch, fsdp, True, width=8, depth=3)
    model[1].weight.requires_grad_(not frozen)
    loss = model(torch.ones(2, 8)).sum()
    forward = calls.copy()
    calls.clear()
    loss.backward()
    backward = calls.copy()
    calls.clear()
    with torch.no_grad():
        model(torch.ones(2, 8))
    shapes = [p.shape for p in model.parameters()]
    return forward, backward, calls, shapes


@pytest.mark.parametrize("frozen", [False, True])
def test_messages(frozen):
    for forward, backward, inference, shapes in run_ranks(
        count_messages, 2, frozen, method="forkserver"
    ):
        assert forward == inference == ["gather"] * 3
        # The first layer's weight is not needed in backward: its input has no gradient.
        assert sorted(backward) == ["gather"] * 2 + ["reduce"] * (2 if frozen else 3)
        assert shapes == [(4, 8)] * 3


# Its company: checkpoints, hooks, exceptions


def odd_uses(rank, size):
    import minitorch as torch
    from minitorch.distributed import fsdp
    from minitorch.utils.checkpoint import checkpoint

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight[1:].t())
            return x @ weight.t()

        @staticmethod
        def backward(ctx, grad):
            x, part = ctx.saved_tensors
            return grad[:, 1:] @ part.t(), grad.t() @ x

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(5, 5) / 2)
            self.scale = torch.nn.Parameter(torch.tensor(1.5))

        def forward(self, x):
            return torch.tanh(Product.apply(x, self.weight)) * self.scale

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Layer() for _ in range(3)])

        def forward(self, x):
            for layer in self.layers:
                x = checkpoint(layer, x, use_reentrant=False) if self.recompute else layer(x)
            return x

    def make():
        torch.manual_seed(0)
        model = Model()
        model.recompute = False
        return model

    x = torch.randn(4, 5)
    alone, model = make(), make()
    for layer in model.layers:
        fsdp.fully_shard(layer)
    fsdp.fully_shard(model)

    def expect_equal(what):
        for p, q in zip(alone.parameters(), model.parameters(), strict=True):
            np.testing.assert_allclose(
                q.grad.numpy(), q._sharding.part(p.grad.array), rtol=1e-5, atol=1e-6, err_msg=what
            )
            assert q.shape == q._sharding.part(p.array).shape, what
        for m in (alone, model):
            m.zero_grad()

    for m in (alone, model):
        m(x).sum().backward()
        m(2 * x).sum().backward()  # accumulates
    for kind in (1.0, 3.0, float("inf")):
        norms = [
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1e9, kind).item() for m in (alone, model)
        ]
        assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    expect_equal("twice")
    for m in (alone, model):
        (m(x).sum() + m(2 * x).sum()).backward()
    expect_equal("two forwards in one graph")
    for m in (alone, model):
        loss = m(x).sum()
        for p in m.parameters():
            p.grad = torch.ones_like(p)
        m.zero_grad()
        loss.backward(retain_graph=True)
        loss.backward()
    expect_equal("zero_grad between, and the same graph twice")
    model.recompute = True
    for m in (alone, model):
        m(x).sum().backward()
    expect_equal("recomputed in backward")
    model.recompute = False

    for m in (alone, model):
        m(x).sum().backward()
    got = torch.autograd.grad(model(x).sum(), model.layers[1].weight)[0]
    expected = torch.autograd.grad(alone(x).sum(), alone.layers[1].weight)[0]
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    expect_equal("autograd.grad leaves .grad alone")

    y = model.layers[0](x)
    y.register_hook(lambda grad: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.layers[2](model.layers[1](y)).sum().backward()
    model.zero_grad()
    for m in (alone, model):
        m(x).sum().backward()
    expect_equal("after a backward that failed")
    with pytest.raises(ZeroDivisionError):  # and a forward
        model.layers[0].register_forward_hook(lambda *args: 1 / 0)
        model(x)
    assert all(layer.weight.shape == (-(-5 // size), 5) or rank for layer in model.layers)


def test_odd_uses():
    run_ranks(odd_uses, 2, method="forkserver")


def resume(rank, size, path, steps, load):
    """Train for some steps, on however many ranks, from the checkpoint that the last ones wrote."""
    import minitorch as torch
    from minitorch.distributed import fsdp
    from minitorch.distributed.checkpoint import state_dict as sd

    model = model_of(torch, TIED)
    fsdp.fully_shard(model.blocks[0])
    fsdp.fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    everything = sd.StateDictOptions(full_state_dict=True, cpu_offload=True)
    if load:
        saved = torch.load(path)
        sd.set_model_state_dict(model, saved["model"], options=everything)
        sd.set_optimizer_state_dict(model, optimizer, saved["optimizer"], options=everything)
    for tokens, targets in batches_of(torch)[steps]:
        optimizer.zero_grad()
        output = model(tokens[rank::size])
        torch.nn.functional.cross_entropy(output, targets[rank::size]).backward()
        optimizer.step()
    saved = {
        "model": sd.get_model_state_dict(model, options=everything),
        "optimizer": sd.get_optimizer_state_dict(model, optimizer, options=everything),
    }
    if rank == 0:
        torch.save(saved, path)
        return arrays(saved["model"]), [group["lr"] for group in optimizer.param_groups]
    return saved


def test_checkpoints_are_whole(tmp_path):
    """Saved on two ranks, resumed on three: as one process all the time."""
    first = run_ranks(
        resume, 2, tmp_path / "model", slice(0, 2), False, method="forkserver", timeout=120
    )
    assert first[1] == {"model": {}, "optimizer": {}}
    weights = run_ranks(
        resume, 3, tmp_path / "model", slice(2, 3), True, method="forkserver", timeout=120
    )[0][0]
    alone = train_alone((TIED,), optimizer="AdamW", options={"lr": 0.01})[3]
    assert set(weights) == {*alone, "head.weight"}
    for name, array in alone.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def small_things(rank, size):
    import minitorch as torch
    from minitorch.distributed import fsdp

    def error_of(call):
        with pytest.raises((ValueError, RuntimeError, NotImplementedError)) as caught:
            call()
        return f"{type(caught.value).__name__}: {caught.value}"

    nn = torch.nn
    torch.manual_seed(rank)  # the ranks begin with different weights: rank 0's are taken
    layer = nn.Linear(4, 3)
    begun = layer.weight.detach().numpy().copy()
    fsdp.fully_shard(layer)
    assert isinstance(layer, nn.Linear)
    assert isinstance(layer, fsdp.FSDPModule)
    assert type(layer).__name__ == "FSDPLinear"
    own = layer.weight.shape
    handle = layer.unshard(async_op=True)
    assert layer.weight.shape == own
    handle.wait()
    whole, weight = layer.weight.shape, layer.weight.detach().numpy().copy()
    assert layer.state_dict()["weight"].shape == own == layer.weight.shape
    shared = nn.Linear(4, 4)
    twice = nn.Sequential(fsdp.fully_shard(nn.Sequential(shared)), shared)
    tied = nn.Sequential(fsdp.fully_shard(nn.Linear(4, 4)), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    policy = fsdp.MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
    )
    low = fsdp.fully_shard(nn.Linear(4, 3), mp_policy=policy)
    seen = []
    low.register_forward_hook(lambda m, args, out: seen.append((args[0].dtype, out.dtype)))
    output = low(torch.ones(2, 4))
    output.sum().backward()
    precision = [*map(str, [*seen[0], output.dtype, low.weight.dtype, low.weight.grad.dtype])]
    errors = [
        error_of(lambda: fsdp.fully_shard(layer)),
        error_of(lambda: fsdp.fully_shard(tied)),
        error_of(lambda: fsdp.fully_shard(twice)),
        error_of(lambda: fsdp.fully_shard(mixed)),
    ]
    grad = low.weight.grad.numpy().copy()
    kept = nn.Linear(4, 3)
    fsdp.fully_shard(kept, ignored_params={kept.bias})
    assert kept.bias.shape == (3,)
    return own, whole, weight, precision, errors, grad, begun


def test_small_things():
    results = run_ranks(small_things, 2, method="forkserver")
    assert [result[0] for result in results] == [(2, 4), (1, 4)]
    for rank, (_, whole, weight, precision, errors, grad, _) in enumerate(results):
        np.testing.assert_array_equal(weight, results[0][6])
        assert whole == (3, 4)
        assert precision == ["torch.bfloat16"] * 2 + ["torch.float32"] * 3
        np.testing.assert_allclose(grad, np.full((2 - rank, 4), 2.0))
        assert errors == [
            "ValueError: fully_shard has been applied to this FSDPLinear already",
            "ValueError: 1.weight is shared with a FSDPLinear that is sharded by itself, and would "
            "not be whole where it is used: call fully_shard only on a module that has both",
            "ValueError: 1 is shared with a FSDPSequential that is sharded by itself, and would "
            "not be whole where it is used: call fully_shard only on a module that has both",
            "ValueError: parameters that are sharded together must have one dtype, got "
            "torch.float32 (0.bias) and torch.float64 (1.bias): call fully_shard on their modules "
            "one by one",
        ]


# The older interface


def wrapped(rank, size, path):
    import functools

    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed import fsdp
    from minitorch.distributed.fsdp import FullyShardedDataParallel as FSDP
    from minitorch.distributed.fsdp import wrap

    policies = {
        "class": wrap.ModuleWrapPolicy,
        "transformer": lambda classes: functools.partial(
            wrap.transformer_auto_wrap_policy, transformer_layer_cls=classes
        ),
        "size": lambda _: functools.partial(wrap.size_based_auto_wrap_policy, min_num_params=80),
        "all": lambda _: wrap.always_wrap_policy,
    }
    models, units = {}, {}
    for name, policy in policies.items():
        model = model_of(torch)
        block = type(model.blocks[0])
        model = models[name] = FSDP(model, auto_wrap_policy=policy({block}))
        units[name] = [n for n, m in model.module.named_modules() if isinstance(m, fsdp.FSDPModule)]
    model = models["class"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    norms = []
    for tokens, targets in batches_of(torch):
        optimizer.zero_grad()
        mine = tokens[rank::size].chunk(2), targets[rank::size].chunk(2)
        for i, (its_tokens, its_targets) in enumerate(zip(*mine, strict=True)):
            loss = torch.nn.functional.cross_entropy(model(its_tokens), its_targets) / 2
            if i == 0:
                with model.no_sync():
                    loss.backward()
                assert model.head.weight.grad is None
            else:
                loss.backward()
        norms.append(model.clip_grad_norm_(0.05).item())
        optimizer.step()
    model.eval()
    assert not model.module.training
    assert not model.blocks[0].training
    state = arrays(model.state_dict())
    with FSDP.state_dict_type(
        model, fsdp.StateDictType.FULL_STATE_DICT, fsdp.FullStateDictConfig(rank0_only=True)
    ):
        assert list(model.state_dict()) == ([] if rank else list(state))
    with FSDP.state_dict_type(model, fsdp.StateDictType.SHARDED_STATE_DICT):
        part = model.state_dict()["head.weight"].shape
    with FSDP.summon_full_params(model):
        np.testing.assert_array_equal(model.head.weight.numpy(), state["head.weight"])
        model.head.weight.zero_()
    zeroed = model.state_dict()["head.weight"].sum().item()
    if rank == 0:
        torch.save(model_of(torch, UNUSED).state_dict(), path)
    dist.barrier()
    result = model.load_state_dict(torch.load(path), strict=False)
    again = arrays(model.state_dict())["head.weight"]
    with pytest.raises(NotImplementedError, match="NO_SHARD is not here"):
        FSDP(model_of(torch), sharding_strategy=fsdp.ShardingStrategy.NO_SHARD)
    return norms, state, part, zeroed, result.unexpected_keys, again, units


def test_wrapper(tmp_path):
    import minitorch as torch

    _, norms, _, weights = train_alone((), clip=0.05)
    for rank, (its_norms, state, part, zeroed, unexpected, again, units) in enumerate(
        run_ranks(wrapped, 2, tmp_path / "model", method="forkserver", timeout=120)
    ):
        np.testing.assert_allclose(its_norms, norms, rtol=1e-5)
        assert list(state) == list(weights)
        for name, array in weights.items():
            np.testing.assert_allclose(state[name], array, rtol=1e-4, atol=1e-6)
        assert part == (6 - rank, 5)
        assert zeroed == 0
        assert unexpected == ["blocks.0.extra.weight", "blocks.0.extra.bias"]
        np.testing.assert_array_equal(again, model_of(torch).head.weight.detach().numpy())
        assert units["class"] == units["transformer"] == ["", "blocks.0", "blocks.1"]
        # 55 elements in the embedding and the head each, 83 in a block, 42 in its largest layer.
        assert units["size"] == ["", "blocks.0", "blocks.1"]
        assert len(units["all"]) == 10


# The example


def run_example(name, *arguments):
    """What an example prints on rank 0 of two."""
    root = pathlib.Path(__file__).parents[2]
    launcher = [sys.executable, "-m", "minitorch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, str(root / "examples" / name), *arguments],
        capture_output=True, text=True, timeout=120, cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_shows_what_is_saved():
    out = run_example("sharded_data_parallel.py", "--width", "64", "--depth", "4", "--steps", "2")
    for rank in range(2):
        line = next(line for line in out.splitlines() if f"rank {rank}  " in line)
        rest, sharded_rest, peak, sharded_peak, *_ = map(float, re.findall(r"\d+\.\d+", line))
        assert sharded_rest < rest / 2
        assert sharded_peak < peak
    losses, weights = re.search(r"of the losses (\S+), of any weight (\S+)", out).groups()
    assert float(losses) < 1e-4
    assert float(weights) < 1e-3


def split_twice(rank, world_size):
    import minitorch as torch
    from minitorch.distributed.fsdp import fully_shard

    layer = torch.nn.Linear(4, 4)
    layer.weight._sharding = "by columns"
    with pytest.raises(ValueError, match="split over ranks already"):
        fully_shard(layer)


def test_a_parameter_that_is_split_already_is_refused():
    run_ranks(split_twice, 2)
