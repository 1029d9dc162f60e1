"""Modules, optimizers, and what surrounds them, on a GPU: the same as on the CPU.

That the CPU's results are PyTorch's is tested in tests/nn and tests/optim. The tensors are on
cuda:1 while cuda:0 is the current one.
"""

import copy
import pickle

import numpy as np
import pytest

import minitorch as torch
from minitorch import nn
from minitorch.utils.checkpoint import checkpoint
from minitorch.utils.data import DataLoader, TensorDataset
from tests.nn.test_layers import LAYERS, layer_id
from tests.optim.test_optimizers import VARIANTS, variant_id

from .gpus import OTHER

GPU = torch.device(OTHER)


def assert_same(there, here, rtol=2e-4, atol=2e-5):
    assert there.device == GPU and there.dtype is here.dtype and there.shape == here.shape
    np.testing.assert_allclose(
        there.detach().cpu().float().numpy(), here.detach().float().numpy(), rtol, atol
    )


def run(module, inputs, device):
    """(results, gradients of the inputs, parameters' gradients, buffers) of a copy on `device`."""
    module = copy.deepcopy(module).to(device)
    inputs = [x.detach().to(device) for x in inputs]
    for x in inputs:
        x.requires_grad_(x.is_floating_point())
    out = module(*inputs)
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, torch.Tensor)]
    weights = torch.linspace(-1, 1, sum(t.numel() for t in outs)).to(device)
    flat = torch.cat([t.reshape(-1) for t in outs])
    if flat.requires_grad:
        (flat * weights).sum().backward()
    grads = [x.grad for x in inputs if x.grad is not None]
    return [*outs, *grads, *[p.grad for p in module.parameters()], *module.buffers()]


def assert_agree(module, *inputs):
    here, there = run(module, inputs, "cpu"), run(module, inputs, GPU)
    assert len(here) == len(there)
    for got, expected in zip(there, here, strict=True):
        assert_same(got, expected)
    assert torch.cuda.current_device() == 0


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("layer", LAYERS, ids=layer_id)
def test_layers(layer):
    name, args, kwargs, shape = layer
    torch.manual_seed(0)
    x = torch.randint(0, 5, (2, 7)) if shape == "index" else torch.randn(shape)
    assert_agree(getattr(nn, name)(*args, **kwargs), x)


SEQUENCES = [
    lambda: nn.RNN(3, 4, 2, nonlinearity="relu"),
    lambda: nn.GRU(3, 4, bidirectional=True),
    lambda: nn.LSTM(3, 4, 2, batch_first=True),
    lambda: nn.LSTM(3, 4, proj_size=2),
    lambda: nn.TransformerEncoderLayer(3, 1, 8, dropout=0.0),
]


@pytest.mark.parametrize("make", SEQUENCES, ids=["rnn", "gru", "lstm", "projected", "transformer"])
def test_sequences(make):
    torch.manual_seed(0)
    assert_agree(make(), torch.randn(5, 2, 3))


def test_packed_sequences():
    torch.manual_seed(0)
    x, lengths = torch.randn(5, 3, 2), torch.tensor([3, 5, 1])
    lstm = nn.LSTM(2, 4)
    results = []
    for device in ("cpu", GPU):
        packed = nn.utils.rnn.pack_padded_sequence(x.to(device), lengths, enforce_sorted=False)
        out, _ = copy.deepcopy(lstm).to(device)(packed)
        results.append(nn.utils.rnn.pad_packed_sequence(out))
    assert_same(results[1][0], results[0][0])
    assert results[0][1].tolist() == results[1][1].tolist() == [3, 5, 1]
    with pytest.raises(RuntimeError, match="should be a 1D CPU int64 tensor"):
        nn.utils.rnn.pack_padded_sequence(x.to(GPU), lengths.to(GPU))


LOSSES = [
    (nn.CrossEntropyLoss(), (4, 5), torch.tensor([0, 4, 2, 2])),
    (nn.CrossEntropyLoss(label_smoothing=0.1), (4, 5), torch.tensor([0, 4, 2, 2])),
    (nn.NLLLoss(), (4, 5), torch.tensor([0, 4, 2, 2])),
    (nn.MSELoss(), (4, 5), torch.ones(4, 5)),
    (nn.L1Loss(), (4, 5), torch.ones(4, 5)),
    (nn.SmoothL1Loss(), (4, 5), torch.ones(4, 5)),
    (nn.HuberLoss(), (4, 5), torch.ones(4, 5)),
    (nn.BCEWithLogitsLoss(), (4, 5), torch.ones(4, 5)),
    (nn.KLDivLoss(reduction="batchmean"), (4, 5), torch.ones(4, 5) / 5),
    (nn.MultiMarginLoss(), (4, 5), torch.tensor([0, 4, 2, 2])),
    (nn.MultiLabelMarginLoss(), (2, 3), torch.tensor([[2, -1, 0], [0, 1, -1]])),
]


@pytest.mark.parametrize("loss, shape, target", LOSSES, ids=lambda v: type(v).__name__)
def test_losses(loss, shape, target):
    torch.manual_seed(0)
    x = torch.randn(shape)
    results = []
    for device in ("cpu", GPU):
        leaf = x.to(device).detach().requires_grad_()
        value = loss(leaf, target.to(device))
        value.backward()
        results.append((value, leaf.grad))
    for there, here in zip(results[1], results[0], strict=True):
        assert_same(there, here)


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_id)
def test_optimizers(variant):
    name, options = variant
    results = []
    for device in ("cpu", GPU):
        torch.manual_seed(1)
        parameters = [nn.Parameter(torch.randn(s).to(device)) for s in ((3, 4), (5,), ())]
        optimizer = getattr(torch.optim, name)(parameters, lr=0.1, **options)
        for _ in range(3):
            for p in parameters:
                p.grad = torch.randn(p.shape).to(device)
            optimizer.step()
        state = copy.deepcopy(optimizer.state_dict())
        fresh = getattr(torch.optim, name)(parameters, lr=0.1, **options)
        fresh.load_state_dict(state)
        for p in parameters:
            p.grad = torch.randn(p.shape).to(device)
        fresh.step()
        results.append(parameters)
    for there, here in zip(results[1], results[0], strict=True):
        assert_same(there, here)


def test_a_model_on_two_gpus():
    """Parameters of one optimizer may be on several devices."""
    torch.manual_seed(0)
    x, results = torch.randn(3, 4), []
    first, second = nn.Linear(4, 5), nn.Linear(5, 2)
    for places in (("cpu", "cpu"), ("cuda:0", OTHER)):
        a, b = (copy.deepcopy(m).to(d) for m, d in zip((first, second), places, strict=True))
        parameters = [*a.parameters(), *b.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            b(a(x.to(places[0])).tanh().to(places[1])).square().sum().backward()
            total = nn.utils.clip_grad_norm_(parameters, 0.5)
            optimizer.step()
        results.append([total, *parameters])
    for there, here in zip(results[1], results[0], strict=True):
        assert torch.allclose(there.cpu(), here, atol=1e-5)


def test_scaler_skips_a_step_that_overflowed():
    weight = nn.Parameter(torch.ones(3, device=GPU))
    optimizer, scaler = torch.optim.SGD([weight], lr=1.0), torch.amp.GradScaler(init_scale=4.0)
    assert scaler.is_enabled()
    scaler.scale((weight * 2).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [-1, -1, -1]
    weight.grad.fill_(float("inf"))
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [-1, -1, -1] and scaler.get_scale() == 2


def test_autocast_says_that_it_is_not_here():
    with torch.autocast("cuda", enabled=False):
        pass
    with pytest.raises(NotImplementedError, match="autocast"):
        torch.autocast("cuda")


def test_half_precision_and_buffers_move():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(GPU, torch.float16)
    assert {t.device for t in model.state_dict().values()} == {GPU}
    assert model[0].weight.dtype is torch.float16 and model[1].num_batches_tracked.dtype.is_signed
    out = model(torch.ones(2, 3, dtype=torch.float16, device=GPU))
    assert out.dtype is torch.float16 and out.device == GPU
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        model(torch.ones(2, 3, dtype=torch.float16))


def test_state_goes_between_devices(tmp_path):
    torch.manual_seed(0)
    here, there = nn.Linear(3, 2), nn.Linear(3, 2).to(GPU)
    there.load_state_dict(here.state_dict())
    assert there.weight.device == GPU and there.weight.tolist() == here.weight.tolist()
    torch.save(there.state_dict(), tmp_path / "model.pt")
    for where, expected in ((None, GPU), ("cpu", torch.device("cpu")), ("cuda:0", None)):
        state = torch.load(tmp_path / "model.pt", map_location=where)
        assert state["weight"].device == (expected or torch.device("cuda:0"))
        assert state["weight"].tolist() == here.weight.tolist()
    state = torch.load(tmp_path / "model.pt", map_location={OTHER: "cuda:0"})
    assert state["weight"].device == torch.device("cuda:0")
    twin = pickle.loads(pickle.dumps(there))
    assert twin.weight.device == GPU and twin.bias.tolist() == here.bias.tolist()


def test_views_share_memory_in_files(tmp_path):
    whole = torch.arange(6.0, device=GPU).reshape(2, 3).t()
    torch.save([whole, whole[1]], tmp_path / "x.pt")
    loaded, row = torch.load(tmp_path / "x.pt")
    assert loaded.tolist() == whole.tolist() and loaded.stride() == whole.stride()
    loaded[1, 0] = 9
    assert row.tolist() == [9, 4] and row.device == GPU


def test_checkpoint_and_saved_tensors():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3).to(GPU)
    x = torch.randn(2, 3).to(GPU).requires_grad_()
    (expected,) = torch.autograd.grad(layer(layer(x)).sum(), x)
    out = checkpoint(lambda x: layer(layer(x)), x, use_reentrant=False)
    assert torch.allclose(torch.autograd.grad(out.sum(), x)[0], expected)
    with torch.autograd.graph.save_on_cpu():
        before = torch.cuda.memory_allocated(GPU)
        out = layer(x).exp()
        assert torch.cuda.memory_allocated(GPU) - before <= 2 * 512  # the result, and little else
    assert torch.autograd.grad(out.sum(), x)[0].device == GPU


def test_hooks_see_the_gpu():
    seen = []
    x = torch.ones(2, device=GPU, requires_grad=True)
    x.register_hook(lambda grad: seen.append(grad.device) or grad * 2)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.device))
    y = x * 3
    y.retain_grad()
    y.sum().backward()
    assert seen == [GPU, GPU] and x.grad.tolist() == [6, 6] and y.grad.device == GPU


def test_pinned_memory():
    x = torch.ones(3)
    assert not x.is_pinned() and x.pin_memory().is_pinned() and x.pin_memory().tolist() == [1, 1, 1]
    assert torch.empty(2, pin_memory=True).is_pinned()
    assert x.pin_memory().to(GPU, non_blocking=True).tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.to(GPU).pin_memory()
    data = TensorDataset(torch.arange(6.0), torch.arange(6))
    for batch in DataLoader(data, batch_size=4, pin_memory=True):
        assert all(t.is_pinned() for t in batch)
    assert [b.tolist() for b in next(iter(DataLoader(data, 2, pin_memory=True)))] == [[0, 1]] * 2


@pytest.mark.parametrize(
    "fill",
    [
        lambda x: x.uniform_(2, 3),
        lambda x: x.normal_(),
        lambda x: x.exponential_(),
        lambda x: x.bernoulli_(0.5),
        lambda x: x.random_(5),
        nn.init.orthogonal_,
        nn.init.trunc_normal_,
        nn.init.kaiming_uniform_,
        nn.init.eye_,
        lambda x: torch.rand_like(x),
        lambda x: torch.bernoulli(torch.full_like(x, 0.5)),
        lambda x: torch.randint_like(x, 9),
        lambda x: torch.normal(torch.zeros_like(x), 2.0),
        lambda x: torch.multinomial(torch.ones_like(x), 2),
    ],
)
def test_random_numbers_are_the_cpus(fill):
    results = []
    for device in ("cpu", GPU):
        x = torch.empty(3, 4, device=device)
        torch.manual_seed(5)
        results.append(fill(x))
    assert_same(results[1], results[0], 0, 0)
