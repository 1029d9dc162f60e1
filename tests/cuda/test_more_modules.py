"""The modules that test_modules.py does not run, on a GPU: the same as on the CPU."""

import copy

import numpy as np
import pytest

import minitorch as torch
from minitorch import nn
from tests.nn.test_layers import LAYERS

from .gpus import OTHER
from .test_modules import LOSSES, SEQUENCES

BASES = {"Module", "RNNBase", "RNNCellBase", "NLLLoss2d"}  # the last one is NLLLoss
CONTAINERS = {"ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"}
RANDOM = {"AlphaDropout", "Dropout1d", "Dropout3d", "FeatureAlphaDropout"}
ELSEWHERE = {"DataParallel"}  # test_distributed_scripts.py


class Unpooled(nn.Module):
    """Max pooling, and back to where the maxima were."""

    def __init__(self, pool, unpool):
        super().__init__()
        self.pool, self.unpool = pool(2, return_indices=True), unpool(2)

    def forward(self, x):
        return self.unpool(*self.pool(x))


def uniform(*shape):
    return lambda: torch.rand(shape)


def signs(*shape):
    return lambda: torch.rand(shape).round() * 2 - 1


def lengths(*values):
    return lambda: torch.tensor(values)


CASES = [
    (nn.Bilinear(3, 4, 5), (2, 3), (2, 4)),
    (nn.CTCLoss(), (6, 2, 5), lengths([1, 2, 3], [4, 4, 1]), lengths(6, 6), lengths(3, 2)),
    (nn.BCELoss(), uniform(3, 4), uniform(3, 4)),
    (nn.CosineEmbeddingLoss(), (3, 4), (3, 4), signs(3)),
    (nn.CosineSimilarity(), (3, 4), (3, 4)),
    (nn.GaussianNLLLoss(), (3, 4), (3, 4), uniform(3, 4)),
    (nn.HingeEmbeddingLoss(), (3, 4), signs(3, 4)),
    (nn.MarginRankingLoss(0.3), (4,), (4,), signs(4)),
    (nn.MultiLabelSoftMarginLoss(), (3, 4), uniform(3, 4)),
    (nn.PairwiseDistance(), (3, 4), (3, 4)),
    (nn.PoissonNLLLoss(full=True), (3, 4), uniform(3, 4)),
    (nn.SoftMarginLoss(), (3, 4), signs(3, 4)),
    (nn.TripletMarginLoss(swap=True), (3, 4), (3, 4), (3, 4)),
    (nn.TripletMarginWithDistanceLoss(), (3, 4), (3, 4), (3, 4)),
    (nn.CircularPad1d(2), (2, 3, 5)),
    (nn.ReplicationPad1d(1), (2, 3, 5)),
    *[
        (getattr(nn, name + "Pad3d")(1, *value), (1, 2, 3, 3, 3))
        for name, *value in (("Circular",), ("Constant", 2.0), ("Reflection",), ("Zero",))
    ],
    (Unpooled(nn.MaxPool1d, nn.MaxUnpool1d), (2, 3, 8)),
    (Unpooled(nn.MaxPool2d, nn.MaxUnpool2d), (2, 3, 4, 6)),
    (Unpooled(nn.MaxPool3d, nn.MaxUnpool3d), (2, 3, 4, 4, 2)),
    (nn.RReLU().eval(), (3, 4)),
    *[(cell(3, 4), (2, 3)) for cell in (nn.RNNCell, nn.GRUCell, nn.LSTMCell)],
    (nn.Transformer(8, 2, 1, 1, 16, 0.0), (5, 2, 8), (4, 2, 8)),
    (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2), (5, 2, 8)),
]


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in flat(part)]


def run(module, inputs, device):
    """Results and gradients of a copy on `device`."""
    module = copy.deepcopy(module).to(device)
    inputs = [x.to(device).detach() for x in inputs]
    for x in inputs:
        x.requires_grad_(x.is_floating_point())
    outs = flat(module(*inputs))
    sum((out.square() + out).sum() for out in outs).backward()
    return [*outs, *[x.grad for x in inputs], *[p.grad for p in module.parameters()]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_the_same_as_on_the_cpu(case):
    module, *inputs = case
    torch.manual_seed(0)
    inputs = [x() if callable(x) else torch.randn(x) for x in inputs]
    here, there = run(module, inputs, "cpu"), run(module, inputs, OTHER)
    assert len(here) == len(there) and torch.cuda.current_device() == 0
    for expected, got in zip(here, there, strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            assert got.device == torch.device(OTHER)
            got, expected = got.detach().cpu().numpy(), expected.detach().numpy()
            np.testing.assert_allclose(got, expected, 2e-4, 2e-5)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_ones(name):
    torch.manual_seed(0)
    shape = (2, 3, 4, 4, 4) if name == "Dropout3d" else (2, 8, 4)
    x = torch.ones(shape, device=OTHER, requires_grad=True)
    out = getattr(nn, name)(0.5)(x)
    out.sum().backward()
    assert out.device == x.grad.device == x.device and out.unique().numel() == 2


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs(search):
    results = []
    for device in ("cpu", OTHER):
        x = torch.tensor([1.0, -2.0, 4.0], device=device, requires_grad=True)
        optimizer = torch.optim.LBFGS([x], lr=0.5, line_search_fn=search)

        def closure(x=x, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((x - 3) ** 4).sum() + x.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        results.append(x.tolist())
    assert results[1] == pytest.approx(results[0], rel=1e-4)


def test_no_module_is_left_out():
    ran = {name for name, *_ in LAYERS} | {type(loss).__name__ for loss, *_ in LOSSES}
    for made in [make() for make in SEQUENCES] + [module for module, *_ in CASES]:
        ran |= {type(part).__name__ for part in made.modules()}
    classes = [getattr(nn, name) for name in dir(nn)]
    modules = {c.__name__ for c in classes if isinstance(c, type) and issubclass(c, nn.Module)}
    assert modules - ran <= BASES | CONTAINERS | RANDOM | ELSEWHERE
