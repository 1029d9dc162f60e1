"""Tensor parallelism: a transformer split over ranks computes, and learns, what one process does;
and its gradients are those of PyTorch's DTensors over Gloo.

Everything is in float64, so that only a wrong formula, and no order of summing, can be seen.
"""

import copy
import tempfile

import numpy as np
import pytest

from .harness import run_ranks

VOCABULARY, WIDTH, HIDDEN, HEADS, LENGTH = 11, 12, 14, 6, 6  # on 3 ranks 11 and 14 are uneven


def build(torch, tied=False, dropout=0.0, seed=0):
    """A small language model, made alike by minitorch and PyTorch."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.w1, self.w2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
            self.dropout = nn.Dropout(dropout)

        def attention(self, x):
            q, k, v = (  # (batch, length, heads that are here, features of a head)
                f(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
                for f in (self.q, self.k, self.v)
            )
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.o(out.transpose(1, 2).flatten(2))

        def forward(self, x):
            x = x + self.dropout(self.attention(self.norm1(x)))
            return x + self.dropout(self.w2(F.gelu(self.w1(self.norm2(x)))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH, padding_idx=4)
            self.blocks = nn.ModuleList(Block() for _ in range(2))
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
            if tied:
                self.head.weight = self.embedding.weight

        def forward(self, x):
            x = self.embedding(x)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    torch.manual_seed(seed)
    return Model().double()


def words(torch, step):
    text = np.random.default_rng(step).integers(0, VOCABULARY, (4, LENGTH + 1))
    text[0, 2] = -100 if step % 2 else 1  # ignored as a target
    return torch.from_numpy(np.abs(text[:, :-1]) % VOCABULARY), torch.from_numpy(text[:, 1:].copy())


def train(torch, model, loss_of, steps=3, clip=True):
    """The losses, and the first step's gradients, before they are clipped."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses, first = [], None
    for step in range(steps):
        optimizer.zero_grad()
        x, target = words(torch, step)
        loss = loss_of(model(x), target.flatten())
        loss.backward()
        if first is None:
            named = model.named_parameters()
            first = {n: p.grad.clone() for n, p in named if p.grad is not None}
        if clip:  # PyTorch cannot clip DTensors and tensors together
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses, first


def one_process(torch, **options):
    model = build(torch, **options)
    losses, grads = train(torch, model, entropy(torch))
    end = {n: p.detach().numpy() for n, p in model.named_parameters()}
    return losses, {n: g.numpy() for n, g in grads.items()}, end


def plans(torch):
    """name -> plan. The same objects' names under minitorch and PyTorch."""
    from importlib import import_module

    tensor = import_module(f"{torch.__name__}.distributed.tensor")
    parallel = import_module(f"{torch.__name__}.distributed.tensor.parallel")
    Shard, Replicate = tensor.Shard, tensor.Replicate
    Col, Row, Seq = (
        parallel.ColwiseParallel,
        parallel.RowwiseParallel,
        parallel.SequenceParallel,
    )
    whole_in, whole_out = {"input_layouts": Replicate()}, {"output_layouts": Replicate()}
    blocks = {f"blocks.*.{n}": Col() for n in ("q", "k", "v", "w1")}
    blocks |= {"blocks.*.o": Row(), "blocks.*.w2": Row()}
    split_in, split_out = {"input_layouts": Shard(1)}, {"output_layouts": Shard(1)}
    by_sequence = {"blocks.*.norm?": Seq()}
    by_sequence |= {f"blocks.*.{n}": Col(**split_in) for n in ("q", "k", "v", "w1")}
    by_sequence |= {f"blocks.*.{n}": Row(**split_out) for n in ("o", "w2")}
    return {
        "blocks": blocks,
        "all": blocks | {"embedding": Row(**whole_in), "head": Col(**whole_out)},
        "by columns": {"embedding": Col(**whole_out), "blocks.0.w1": Col(**whole_out)},
        "whole inputs": {"blocks.*.w2": Row(**whole_in), "head": Row(**whole_in)},
        "other layouts": by_sequence
        | {"embedding": Col(**split_out), "head": Row(**split_in)}
        | {"blocks.*.w1": Row(**split_in, output_layouts=Shard(-1))},
        "by sequence": by_sequence
        | {"embedding": Row(**whole_in, **split_out), "head": Col(**split_in, **whole_out)},
    }


def entropy(torch):
    return lambda out, target: torch.nn.functional.cross_entropy(out.flatten(0, 1), target)


def trained(torch, model, loss_of):
    """What `one_process` returns, for a model that is split."""
    from minitorch.distributed.tensor.parallel import full_tensor

    losses, grads = train(torch, model, loss_of)
    named = dict(model.named_parameters())
    grads = {n: full_tensor(g, named[n]).numpy() for n, g in grads.items()}
    return losses, grads, {n: full_tensor(p).numpy() for n, p in named.items()}


def line(torch, world_size):
    return torch.distributed.init_device_mesh("cpu", (world_size,), mesh_dim_names=("tp",))


def ours(rank, world_size):
    import minitorch as torch
    from minitorch.distributed.tensor.parallel import parallelize_module

    mesh, found = line(torch, world_size), {}
    for name, plan in plans(torch).items():
        # Where every module is in the plan, rank 0's parameters are the ones that count.
        seed = rank if name == "by sequence" else 0
        model = parallelize_module(build(torch, seed=seed), mesh, plan)
        found[name] = trained(torch, model, entropy(torch))
    return found


def check(found, expected, what):
    losses, grads, end = found
    np.testing.assert_allclose(losses, expected[0], rtol=1e-10, err_msg=what)
    for mine, other in ((grads, expected[1]), (end, expected[2])):
        assert list(mine) == list(other)
        for n in mine:
            np.testing.assert_allclose(
                mine[n], other[n], rtol=1e-7, atol=1e-10, err_msg=f"{what}: {n}"
            )


@pytest.mark.parametrize("world_size", [2, 3])
def test_as_one_process(world_size):
    import minitorch as torch

    expected = one_process(torch)
    for rank, found in enumerate(run_ranks(ours, world_size, method="forkserver")):
        for name, one in found.items():
            check(one, expected, f"{name}, rank {rank} of {world_size}")


def tied(rank, world_size):
    """A vocabulary cut once for both ends of the model, its loss computed in parts; dropout outside
    the parts; a frozen layer."""
    import minitorch as torch
    from minitorch.distributed import tensor
    from minitorch.distributed.tensor import parallel

    mesh = line(torch, world_size)
    plan = plans(torch)["blocks"] | {
        "embedding": parallel.RowwiseParallel(input_layouts=tensor.Replicate()),
        "head": parallel.ColwiseParallel(),
    }
    model = build(torch, tied=True, dropout=0.3)
    model.blocks[0].w1.requires_grad_(False)
    model = parallel.parallelize_module(model, mesh, plan)
    assert model.head.weight is model.embedding.weight
    model = copy.deepcopy(model)

    def loss_of(out, target):
        return parallel.vocab_parallel_cross_entropy(
            out.flatten(0, 1), target, VOCABULARY, mesh.get_group()
        )

    return trained(torch, model, loss_of)


@pytest.mark.parametrize("world_size", [2, 3])
def test_tied_vocabulary_dropout_and_frozen_layers(world_size):
    import minitorch as torch

    model = build(torch, tied=True, dropout=0.3)
    model.blocks[0].w1.requires_grad_(False)
    losses, grads = train(torch, model, entropy(torch))
    end = {n: p.detach().numpy() for n, p in model.named_parameters()}
    expected = losses, {n: g.numpy() for n, g in grads.items()}, end
    assert "blocks.0.w1.weight" not in grads
    for rank, found in enumerate(run_ranks(tied, world_size, method="forkserver")):
        check(found, expected, f"rank {rank} of {world_size}")


def restarted(rank, world_size):
    """A checkpoint of the whole, from the split model and its optimizer, and back."""
    import minitorch as torch
    from minitorch.distributed.checkpoint import state_dict as checkpoint
    from minitorch.distributed.tensor.parallel import parallelize_module

    mesh, plan = line(torch, world_size), plans(torch)["all"]
    model = parallelize_module(build(torch), mesh, plan)
    train(torch, model, entropy(torch), steps=1)
    options = checkpoint.StateDictOptions(full_state_dict=True)
    state = checkpoint.get_model_state_dict(model, options=options)
    again = parallelize_module(build(torch, seed=1), mesh, plan)
    checkpoint.set_model_state_dict(again, state, options=options)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    return {n: p.numpy() for n, p in state.items()}


def test_checkpoints_are_those_of_one_process():
    import minitorch as torch

    model = build(torch)
    train(torch, model, entropy(torch), steps=1)
    for state in run_ranks(restarted, 2, method="forkserver"):
        assert list(state) == list(model.state_dict())
        for name, p in model.state_dict().items():
            np.testing.assert_allclose(state[name], p.numpy(), rtol=1e-7, atol=1e-9)


def penalty(torch, model, x):
    """A loss with the gradient of another in it: derivatives of the collectives' derivatives."""
    hidden = model.embedding(x).detach().requires_grad_()
    out = model.blocks[0](hidden).square().sum()
    (grad,) = torch.autograd.grad(out, hidden, create_graph=True)
    (grad.square().sum() + out).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def penalised(rank, world_size):
    import minitorch as torch
    from minitorch.distributed.tensor.parallel import full_tensor, parallelize_module

    model = parallelize_module(build(torch), line(torch, world_size), plans(torch)["all"])
    grads = penalty(torch, model, words(torch, 0)[0])
    named = dict(model.named_parameters())
    return {n: full_tensor(g, named[n]).numpy() for n, g in grads.items()}


def test_derivatives_of_derivatives():
    import minitorch as torch

    expected = penalty(torch, build(torch), words(torch, 0)[0])
    assert "blocks.0.w2.weight" in expected
    for found in run_ranks(penalised, 2, method="forkserver"):
        assert list(found) == list(expected)
        for name, grad in expected.items():
            np.testing.assert_allclose(found[name], grad.numpy(), 1e-7, 1e-9, err_msg=name)


def theirs(rank, world_size, path):
    """The same with PyTorch's DTensors."""
    import torch
    from torch.distributed.tensor.parallel import parallelize_module

    torch.distributed.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    mesh, found = line(torch, world_size), {}
    for name, plan in plans(torch).items():
        model = parallelize_module(build(torch), mesh, plan)
        losses, grads = train(torch, model, entropy(torch), steps=1, clip=False)
        grads = {
            n: (g.full_tensor() if hasattr(g, "full_tensor") else g).numpy()
            for n, g in grads.items()
        }
        found[name] = losses, grads
    torch.distributed.destroy_process_group()
    return found


@pytest.mark.slow  # DTensors' first steps take PyTorch long
def test_as_pytorchs_dtensors():
    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 2, f"{folder}/store", process_group=False, timeout=120)
    for mine, other in zip(run_ranks(ours, 2, method="forkserver"), expected, strict=True):
        assert list(mine) == list(other)
        for name, (losses, grads) in other.items():
            np.testing.assert_allclose(mine[name][0][:1], losses, rtol=1e-10)
            assert list(grads) == list(mine[name][1])
            for n, grad in grads.items():
                np.testing.assert_allclose(
                    mine[name][1][n], grad, rtol=1e-6, atol=1e-9, err_msg=f"{name}: {n}"
                )


def mistakes(rank, world_size):
    import minitorch as torch
    from minitorch import nn
    from minitorch.distributed.tensor import Partial, Replicate
    from minitorch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
        vocab_parallel_cross_entropy,
    )

    mesh = line(torch, world_size)
    row = parallelize_module(nn.Linear(6, 2), mesh, RowwiseParallel())
    with pytest.raises(
        RuntimeError,
        match=rf"rank {rank} of 2 has 3 of this layer's 6 input features, but got an input of 6, "
        r"shape \(1, 6\).*input_layouts=Replicate",
    ):
        row(torch.ones(1, 6))
    with pytest.raises(NotImplementedError, match=r"splits nn.Linear and nn.Embedding, not GELU"):
        parallelize_module(nn.GELU(), mesh, ColwiseParallel())
    with pytest.raises(NotImplementedError, match="max_norm"):
        parallelize_module(nn.Embedding(4, 2, max_norm=1), mesh, ColwiseParallel())
    with pytest.raises(ValueError, match="1 embeddings on 2 ranks"):
        whole = RowwiseParallel(input_layouts=Replicate())
        parallelize_module(nn.Embedding(1, 2), mesh, whole)
    with pytest.raises(ValueError, match="every rank needs all indices"):
        parallelize_module(nn.Embedding(4, 2), mesh, RowwiseParallel())
    with pytest.raises(NotImplementedError, match="DTensors"):
        ColwiseParallel(use_local_output=False)
    with pytest.raises(TypeError, match=r"expected Shard or Replicate, got Partial"):
        ColwiseParallel(output_layouts=Partial())
    with pytest.raises(ValueError, match="one dimension"):
        grid = torch.distributed.init_device_mesh("cpu", (2, 1), mesh_dim_names=("a", "b"))
        parallelize_module(nn.Linear(2, 2), grid, ColwiseParallel())
    with pytest.raises(TypeError, match="parallelize_plan"):
        parallelize_module(nn.Linear(2, 2), mesh, "colwise")
    with pytest.warns(UserWarning, match=r"'w9' could not be resolved: there are 0, 1"):
        parallelize_module(nn.Sequential(nn.GELU(), nn.GELU()), mesh, {"w9": ColwiseParallel()})
    both = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    both[1].weight = both[0].weight
    with pytest.raises(ValueError, match=r"shape \(2, 2\) is spread.*cuts dimension 1"):
        parallelize_module(both, mesh, {"0": ColwiseParallel(), "1": RowwiseParallel()})
    with pytest.raises(ValueError, match=rf"classes {4 * rank} to {3 + 4 * rank} of 8"):
        logits, target = torch.ones(3, 8), torch.ones(3, dtype=torch.int64)
        vocab_parallel_cross_entropy(logits, target, 8, mesh.get_group())
    table = parallelize_module(nn.Embedding(4, 2), mesh, whole)
    with pytest.raises(IndexError, match="there are 4 embeddings"):
        table(torch.tensor([4]))
    with pytest.raises(RuntimeError, match="No device mesh"):
        parallelize_module(nn.Linear(2, 2), None, ColwiseParallel())
    with mesh:
        layer = parallelize_module(nn.Linear(2, 3, bias=False), None, ColwiseParallel())
    return tuple(layer.weight.shape), repr(layer), list(layer.state_dict())


def test_errors():
    found = run_ranks(mistakes, 2, method="forkserver")
    assert [shape for shape, _, _ in found] == [(2, 2), (1, 2)]
    for _, text, names in found:
        assert text == "ColwiseLinear(in_features=2, out_features=3, bias=False)"
        assert names == ["weight"]
