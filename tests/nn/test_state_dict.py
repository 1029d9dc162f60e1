"""state_dict and load_state_dict: PyTorch's names, order, messages; states go both ways."""

from collections import OrderedDict

import pytest
import torch

import minitorch
from minitorch import serialization

from .both import PACKAGES, assert_same, in_minitorch, in_torch, nn_of


def model(T):
    nn = nn_of(T)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
            self.heads = nn.ModuleDict({"a": nn.Linear(8, 3), "b": nn.Linear(8, 2, bias=False)})
            self.scale = nn.Parameter(T.tensor(2.0))
            self.register_buffer("steps", T.tensor(7))
            self.register_buffer("scratch", T.zeros(2), persistent=False)

        def forward(self, x):
            x = self.body(x)
            return self.heads["a"](x) * self.scale

    return Model()


def test_names_metadata_and_sharing():
    ours, theirs = (model(T) for T in (minitorch, torch))
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert isinstance(state, OrderedDict)
    assert state._metadata == expected._metadata
    assert list(ours.state_dict(prefix="module.")) == list(theirs.state_dict(prefix="module."))
    assert state["scale"].array is ours.scale.array
    assert not state["scale"].requires_grad
    assert ours.state_dict(keep_vars=True)["scale"] is ours.scale


def test_states_go_both_ways():
    ours, theirs = (model(T) for T in (minitorch, torch))
    result = ours.load_state_dict(in_minitorch(theirs.state_dict()))
    assert repr(result) == "<All keys matched successfully>" == str(result)
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    assert_same(ours(in_minitorch(x)), theirs(x), rtol=1e-5, atol=1e-6)
    ours.scale.data.fill_(5.0)
    theirs.load_state_dict(in_torch(ours.state_dict()))
    assert theirs.scale.item() == 5.0


def test_loading_copies_into_the_same_memory(T):
    m, other = model(T), model(T)
    before = dict(m.named_parameters())
    pointers = {name: p.data_ptr() for name, p in before.items()}
    state = other.state_dict()
    m.load_state_dict(state)
    for name, p in m.named_parameters():
        assert p is before[name]
        assert p.data_ptr() == pointers[name]
        assert p.tolist() == state[name].tolist()


def test_assign_takes_the_tensors_themselves(T):
    m = model(T)
    state = {k: v.double() if v.is_floating_point() else v for k, v in m.state_dict().items()}
    m.scale.requires_grad_(False)
    m.load_state_dict(state, assign=True)
    assert m.heads.a.weight.dtype == T.float64
    assert m.heads.a.weight.data_ptr() == state["heads.a.weight"].data_ptr()
    assert isinstance(m.heads.a.weight, nn_of(T).Parameter)
    assert m.heads.a.weight.requires_grad
    assert not m.scale.requires_grad
    assert m.steps is state["steps"]
    other = model(T)
    m.load_state_dict(other.state_dict(keep_vars=True), assign=True)
    assert m.scale is other.scale
    assert not m.scale.requires_grad  # as the module's own was


def spoiled(T):
    """A state dict with every kind of problem."""
    state = model(T).state_dict()
    del state["body.0.bias"], state["steps"]
    state["extra"] = T.zeros(1)
    state["heads.c.weight"] = T.zeros(1)
    state["scratch"] = T.zeros(2)
    state["heads.a.weight"] = T.zeros(2, 2)
    state["heads.a.bias"] = [1, 2, 3]
    return state


def test_all_problems_are_reported_in_pytorchs_words():
    messages = []
    for T in (minitorch, torch):
        with pytest.raises(RuntimeError) as error:
            model(T).load_state_dict(spoiled(T))
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert "size mismatch for heads.a.weight" in messages[0]


def test_not_strict():
    results = []
    for T in (minitorch, torch):
        state = spoiled(T)
        state["heads.a.weight"], state["heads.a.bias"] = T.zeros(3, 8), T.zeros(3)
        m = model(T)
        results.append(m.load_state_dict(state, strict=False))
        assert m.heads.a.weight.tolist() == [[0.0] * 8] * 3
    assert tuple(results[0]) == tuple(results[1])
    assert repr(results[0]) == repr(results[1])
    assert results[0].missing_keys == ["steps", "body.0.bias"]


def test_not_a_dict(T):
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        model(T).load_state_dict([1])


def test_one_element_for_a_scalar(T):
    m = model(T)
    m.load_state_dict({"scale": T.tensor([3.0])}, strict=False)
    assert m.scale.item() == 3.0


def test_extra_state(T):
    class Counting(nn_of(T).Linear):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    m = nn_of(T).Sequential(Counting(1, 1))
    m[0].count = 5
    state = m.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0._extra_state"]
    twin = nn_of(T).Sequential(Counting(1, 1))
    twin.load_state_dict(state)
    assert twin[0].count == 5
    with pytest.raises(RuntimeError, match="_extra_state"):
        nn_of(T).Sequential(nn_of(T).Linear(1, 1)).load_state_dict(state)


@pytest.mark.parametrize("reader", PACKAGES)
@pytest.mark.parametrize("writer", PACKAGES)
def test_through_a_file(tmp_path, writer, reader):
    """A state dict that one package saves, the other loads."""
    save = {"minitorch": serialization.save, "torch": torch.save}[writer]
    load = {"minitorch": serialization.load, "torch": torch.load}[reader]
    source, target = model(PACKAGES[writer]), model(PACKAGES[reader])
    save(source.state_dict(), tmp_path / "state.pt")
    assert repr(target.load_state_dict(load(tmp_path / "state.pt"))).startswith("<All keys")
    for a, b in zip(source.parameters(), target.parameters(), strict=True):
        assert a.tolist() == b.tolist()
