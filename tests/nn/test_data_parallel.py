"""DataParallel and its four steps, over several devices of a machine that has but one.

A list of CPUs runs the real code, in threads. Where it matters that a tensor is not the same on two
devices, `memories` makes "cpu:1" and "cpu:2" devices with memory of their own.
"""

import collections
import inspect
import warnings

import numpy as np
import pytest
import torch as theirs

import minitorch as torch
from minitorch import nn
from minitorch.nn import parallel
from minitorch.nn.modules.module import Module
from minitorch.nn.parallel.scatter_gather import scatter_kwargs

CPUS = ["cpu", "cpu", "cpu"]
APART = ["cpu", "cpu:1", "cpu:2"]
Pair = collections.namedtuple("Pair", "left right")


class Tied(Module):
    """Two layers with one weight, a list of parameters, and a keyword argument."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(5, 5)
        self.norm = nn.BatchNorm1d(5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.idle = None
        self.list = nn.ParameterList([nn.Parameter(torch.ones(5))])

    def forward(self, x, scale=1.0):
        hidden = self.norm(self.first(x).tanh())
        return {"sum": (self.second(hidden) * self.list[0] * scale).sum(1), "rows": [hidden]}


@pytest.fixture
def memories(monkeypatch):
    """What is moved to "cpu:1" is a copy."""
    to = torch.Tensor.to

    def move(self, *args, **options):
        moved = to(self, *args, **options)
        far = args and isinstance(args[0], torch.device) and args[0].index
        return moved.clone() if far else moved

    monkeypatch.setattr(torch.Tensor, "to", move)


@pytest.mark.parametrize("devices", [CPUS, APART])
def test_gradients_land_on_the_original(memories, devices):
    x = torch.randn(9, 5)
    scale = torch.rand(9, 1)
    model, plain = Tied(), Tied()
    model.norm.eval()  # else each replica has the statistics of its own part
    plain.norm.eval()
    parts = nn.DataParallel(model, devices)
    out, expected = parts(x, scale=scale), plain(x, scale=scale)
    for a, b in [(out["sum"], expected["sum"]), (out["rows"][0], expected["rows"][0])]:
        torch.testing.assert_close(a, b)
    out["sum"].square().sum().backward()
    expected["sum"].square().sum().backward()
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        "first.weight",
        "first.bias",
        "norm.weight",
        "norm.bias",
        "second.bias",
        "list.0",
    ]
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    with torch.no_grad():
        assert not parts(x)["sum"].requires_grad


def test_buffers_of_the_first_device_are_kept(memories):
    """BatchNorm's statistics are those of the first device's part, as in PyTorch."""
    x = torch.randn(9, 5)
    model, first = Tied(), Tied()
    nn.DataParallel(model, APART)(x)
    first(x[:3])
    for name, buffer in first.named_buffers():
        torch.testing.assert_close(dict(model.named_buffers())[name], buffer)


def test_replicas(memories):
    model = Tied()
    seen = []
    model.first.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    copies = parallel.replicate(model, APART[:2])
    assert [type(copy) for copy in copies] == [Tied, Tied]
    assert all(copy is not model and copy.first is not model.first for copy in copies)
    assert all(copy.first.weight is copy.second.weight for copy in copies), (
        "tied weights came apart"
    )
    assert copies[0].idle is None and copies[0].list[0] is not None
    assert model.second.weight is model.first.weight
    copies[1](torch.ones(2, 5))
    assert seen == [2]
    detached = parallel.replicate(model, ["cpu"], detach=True)[0]
    assert not detached(torch.ones(2, 5))["sum"].requires_grad
    assert parallel.replicate(model, []) == []


def test_scatter():
    x = torch.arange(10).view(5, 2)
    parts = parallel.scatter(x, CPUS)
    assert isinstance(parts, tuple) and [p.tolist() for p in parts] == [
        p.tolist() for p in x.chunk(3)
    ]
    assert len(parallel.scatter(x[:2], CPUS)) == 2
    assert [p.shape for p in parallel.scatter(x, CPUS[:2], dim=1)] == [(5, 1), (5, 1)]
    nested = parallel.scatter(({"x": x, "n": 3}, [x, "a"], Pair(x, None), ()), CPUS[:2])
    for part, rows in zip(nested, (3, 2), strict=True):
        as_dict, as_list, as_pair, empty = part
        assert as_dict["x"].shape == (rows, 2) and as_dict["n"] == 3
        assert isinstance(as_list, list) and as_list[1] == "a"
        assert isinstance(as_pair, Pair) and as_pair.left.shape == (rows, 2)
        assert empty == ()
    assert parallel.scatter(7, CPUS) == [7, 7, 7]
    args, kwargs = scatter_kwargs((x, 1), {}, CPUS)
    assert [len(a) for a in args] == [2, 2, 2] and kwargs == ({}, {}, {})
    args, kwargs = scatter_kwargs((), {"x": x}, CPUS)
    assert args == ((), (), ()) and [k["x"].shape[0] for k in kwargs] == [2, 2, 1]


def test_gather_undoes_scatter():
    x = torch.randn(5, 2, requires_grad=True)
    parts = parallel.scatter({"x": (x, Pair(x, [x]))}, CPUS)
    whole = parallel.gather(parts, "cpu")
    assert torch.equal(whole["x"][0], x) and torch.equal(whole["x"][1].right[0], x)
    whole["x"][1].left.sum().backward()
    assert x.grad.tolist() == torch.ones(5, 2).tolist()
    assert torch.equal(parallel.gather(parallel.scatter(x, CPUS, dim=1), -1, dim=1), x)
    with pytest.warns(UserWarning, match="scalars"):
        assert parallel.gather([torch.tensor(1.0), torch.tensor(2.0)], "cpu").tolist() == [1, 2]
    assert parallel.gather([None, None], "cpu") is None
    with pytest.raises(ValueError, match="same number of keys"):
        parallel.gather([{"a": x}, {"a": x, "b": x}], "cpu")


def test_parallel_apply():
    modules = [torch.add, torch.mul]
    got = parallel.parallel_apply(modules, [(torch.ones(2), 1), [torch.ones(2), 3]])
    assert [g.tolist() for g in got] == [[2, 2], [3, 3]]
    assert parallel.parallel_apply([len], [torch.ones(2)]) == [2]
    leaf = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        got = parallel.parallel_apply(modules, [(leaf, 1), (leaf, 3)])
    assert not any(g.requires_grad for g in got), "the threads did not hear of no_grad"
    with pytest.raises(
        AssertionError, match="number of modules 2 is not equal to the number of in"
    ):
        parallel.parallel_apply(modules, [1])

    def fail(x):
        raise KeyError("on purpose")

    with pytest.raises(KeyError) as caught:
        parallel.parallel_apply([len, fail], [torch.ones(2), 1], devices=["cpu", "cpu"])
    assert caught.value.__notes__ == ["in replica 1 on device cpu"]


def test_without_a_gpu_it_is_the_module():
    """The one thing that can be held against PyTorch on a machine without a GPU."""
    for package in (torch, theirs):
        model = package.nn.Linear(3, 2)
        for ids in (None, [0, 1]):
            parts = package.nn.DataParallel(model, device_ids=ids)
            assert parts.device_ids == []
            x = package.ones(4, 3)
            np.testing.assert_array_equal(parts(x).detach().numpy(), model(x).detach().numpy())
            assert list(parts.state_dict()) == ["module.weight", "module.bias"]
    out = parallel.data_parallel(model := nn.Linear(3, 2), torch.ones(4, 3), CPUS)
    torch.testing.assert_close(out, model(torch.ones(4, 3)))


def test_edges():
    nothing = type("Nothing", (nn.Module,), {"forward": lambda self: torch.ones(2)})()
    assert nn.DataParallel(nothing, CPUS)().tolist() == [1, 1]
    parts = nn.DataParallel(nn.Linear(2, 2), CPUS)
    assert parts(torch.ones(1, 2)).shape == (1, 2)  # fewer rows than devices
    parts.src_device_obj = torch.device("cuda:1")
    with pytest.raises(RuntimeError, match=r"on device cuda:1 \(device_ids\[0\]\) but found"):
        parts(torch.ones(4, 2))

    class First(nn.DataParallel):
        def gather(self, outputs, output_device):
            return outputs

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(First(nn.Linear(2, 2), CPUS)(torch.ones(4, 2))) == 2  # 2 + 2 rows


@pytest.mark.parametrize(
    "name", ["scatter", "gather", "replicate", "parallel_apply", "data_parallel", "DataParallel"]
)
def test_signatures_are_pytorchs(name):
    mine, expected = (
        [(p.name, p.default) for p in inspect.signature(getattr(home, name)).parameters.values()]
        for home in (parallel, theirs.nn.parallel)
    )
    assert mine == expected
    assert name in parallel.__all__
