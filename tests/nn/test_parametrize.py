"""Parametrized tensors against PyTorch's: values, gradients, state dicts, errors; DataParallel."""

import copy

import numpy as np
import pytest
import torch

import minitorch


def symmetric(T):
    class Symmetric(T.nn.Module):
        calls = 0

        def forward(self, x):
            Symmetric.calls += 1
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def scaled(T, factor=3.0):
    class Scaled(T.nn.Module):
        def forward(self, x):
            return x * factor

    return Scaled()


def direction_and_norm(T):
    class DirectionAndNorm(T.nn.Module):
        def forward(self, direction, norm):
            return direction / direction.norm(dim=1, keepdim=True) * norm

        def right_inverse(self, x):
            return x, x.norm(dim=1, keepdim=True)

    return DirectionAndNorm()


def linear(T):
    layer = T.nn.Linear(3, 3)
    with T.no_grad():
        layer.weight.copy_(T.arange(9.0).reshape(3, 3) / 4 + 0.5)
        layer.bias.copy_(T.tensor([1.0, 2.0, 3.0]))
    return layer


def same(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


RECIPES = [
    [symmetric],
    [scaled],
    [symmetric, scaled],
    [direction_and_norm],
    [direction_and_norm, scaled],
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: "+".join(f.__name__ for f in r))
def test_training_is_pytorchs(recipe):
    layers = []
    for T in (minitorch, torch):
        layer = linear(T)
        for make in recipe:
            T.nn.utils.parametrize.register_parametrization(layer, "weight", make(T))
        optimizer = T.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (layer(T.ones(2, 3)) ** 2).sum().backward()
            optimizer.step()
        layers.append(layer)
    ours, theirs = layers
    same(ours.weight, theirs.weight)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        same(a, b)
        same(a.grad, b.grad)
    assert type(ours).__name__ == type(theirs).__name__ == "ParametrizedLinear"


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.parametrize("recipe", RECIPES[:3], ids=lambda r: "+".join(f.__name__ for f in r))
def test_removing(recipe, leave):
    weights = []
    for T in (minitorch, torch):
        parametrize = T.nn.utils.parametrize
        layer = linear(T)
        for make in recipe:
            parametrize.register_parametrization(layer, "weight", make(T))
        original = layer.parametrizations.weight.original
        assert parametrize.is_parametrized(layer, "weight")
        assert not parametrize.is_parametrized(layer, "bias")
        assert parametrize.type_before_parametrizations(layer) is T.nn.Linear
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
        assert type(layer) is T.nn.Linear
        assert layer.weight is original
        assert sorted(layer.state_dict()) == ["bias", "weight"]
        assert not parametrize.is_parametrized(layer)
        weights.append(layer.weight)
    same(*weights)


def test_assigning(T):
    parametrize = T.nn.utils.parametrize
    layer = linear(T)
    parametrize.register_parametrization(layer, "weight", symmetric(T))
    value = T.tensor([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    layer.weight = value
    assert layer.weight.tolist() == value.tolist()
    assert layer.parametrizations.weight.original.tolist() == value.triu().tolist()


def test_several_tensors_and_buffers(T):
    parametrize = T.nn.utils.parametrize
    layer = linear(T)
    layer.register_buffer("offset", T.ones(2))
    for name in ("weight", "bias", "offset"):
        parametrize.register_parametrization(layer, name, scaled(T, 2.0))
    assert layer.offset.tolist() == [2, 2]
    assert sorted(n for n, _ in layer.named_buffers()) == ["parametrizations.offset.original"]
    twin = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "bias")
    assert layer.bias.tolist() == [2, 4, 6]
    assert parametrize.is_parametrized(layer, "weight")
    if T is minitorch:  # PyTorch's copy shares the class, from which the property has gone
        assert twin.bias.tolist() == [2, 4, 6]
        assert parametrize.is_parametrized(twin, "bias")


def test_cached(T):
    layer = linear(T)
    module = symmetric(T)
    T.nn.utils.parametrize.register_parametrization(layer, "weight", module)
    before = type(module).calls
    with T.nn.utils.parametrize.cached():
        assert layer.weight is layer.weight
        assert type(module).calls == before + 1
    assert layer.weight is not layer.weight


def test_errors(T):
    parametrize = T.nn.utils.parametrize

    class Flat(T.nn.Module):
        def forward(self, x):
            return x.reshape(-1)

    class Number(T.nn.Module):
        def forward(self, x):
            return 1.0

    with pytest.raises(ValueError, match="with name 'weights'"):
        parametrize.register_parametrization(linear(T), "weights", scaled(T))
    layer = linear(T)
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", Flat())
    with pytest.raises(ValueError, match="return a tensor"):
        parametrize.register_parametrization(layer, "weight", Number())
    assert not parametrize.is_parametrized(layer)
    parametrize.register_parametrization(layer, "weight", Flat(), unsafe=True)
    assert layer.weight.shape == (9,)
    with pytest.raises(ValueError, match="does not have a parametrization on bias"):
        parametrize.remove_parametrizations(layer, "bias")
    layer = linear(T)
    parametrize.register_parametrization(layer, "weight", direction_and_norm(T))
    with pytest.raises(ValueError, match="Cannot leave unparametrized"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_data_parallel_without_gpus_is_the_module(T):
    layer = linear(T)
    wrapped = T.nn.DataParallel(layer, device_ids=[0], output_device=0)
    x = T.ones(2, 3)
    assert wrapped(x).tolist() == layer(x).tolist()
    assert wrapped.module is layer
    assert sorted(wrapped.state_dict()) == ["module.bias", "module.weight"]


def test_modules_share_memory(T):
    model = T.nn.BatchNorm1d(3)
    assert model.share_memory() is model
    assert all(t.is_shared() for t in model.state_dict().values())
    assert all(isinstance(p, T.nn.Parameter) for p in model.parameters())
