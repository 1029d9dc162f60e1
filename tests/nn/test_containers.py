"""Sequential, ModuleList, ModuleDict, ParameterList: as lists and dicts, as PyTorch's."""

from collections import OrderedDict

import pytest
import torch

import minitorch

from .both import nn_of


def linears(T, n=3):
    return [nn_of(T).Linear(i + 1, i + 2) for i in range(n)]


def state_names(T, container):
    return list(container.state_dict())


def test_sequential(T):
    nn = nn_of(T)
    a, b, c = linears(T)
    s = nn.Sequential(a, b, c)
    assert s(T.ones(5, 1)).shape == (5, 4)
    assert len(s) == 3
    assert s[0] is a
    assert s[-1] is c
    assert list(s) == [a, b, c]
    assert type(s[1:]) is nn.Sequential
    assert list(s[1:]) == [b, c]
    assert state_names(T, s[1:]) == ["1.weight", "1.bias", "2.weight", "2.bias"]  # names are kept
    s[1] = nn.Identity()
    assert isinstance(s[1], nn.Identity)
    del s[0]
    assert [name for name, _ in s.named_children()] == ["0", "1"]
    assert s.append(b) is s
    assert s.insert(0, a) is s
    assert [s[0], s[3]] == [a, b]
    assert s.pop(1) is not a
    assert len(s) == 3
    s.extend([a])
    assert len(s + nn.Sequential(b)) == 5
    with pytest.raises(IndexError, match="index 9 is out of range"):
        s[9]
    with pytest.raises(TypeError, match="is not a Module subclass"):
        nn.Sequential(3)


def test_sequential_with_names(T):
    nn = nn_of(T)
    s = nn.Sequential(OrderedDict(one=nn.Linear(1, 2), two=nn.ReLU()))
    assert s.one is s[0]
    assert state_names(T, s) == ["one.weight", "one.bias"]
    assert s(T.ones(1)).shape == (2,)
    del s[0]
    assert isinstance(s[0], nn.ReLU)


def test_module_list(T):
    nn = nn_of(T)
    a, b, c = linears(T)
    m = nn.ModuleList([a, b])
    m.append(c)
    assert [len(m), m[0], m[-1]] == [3, a, c]
    assert list(m[::2]) == [a, c]
    assert state_names(T, m[1:])[0] == "0.weight"  # numbered anew
    m += [a]
    assert list(m) == [a, b, c, a]
    assert len(list(m.parameters())) == 6  # the shared one counts once
    m[0] = nn.ReLU()
    del m[1:3]
    assert list(m)[1] is a
    m.insert(0, b)
    assert m.pop(-1) is a
    assert [name for name, _ in m.named_children()] == ["0", "1"]
    assert type(m + nn.ModuleList([c])) is nn.ModuleList
    with pytest.raises(NotImplementedError):
        m(1)
    with pytest.raises(IndexError, match="out of range"):
        m[-3]
    with pytest.raises(TypeError, match="iterable"):
        m.extend(3)


def test_module_dict(T):
    nn = nn_of(T)
    a, b, c = linears(T)
    m = nn.ModuleDict({"a": a, "b": b})
    m["c"] = c
    assert list(m) == list(m.keys()) == ["a", "b", "c"]
    assert m["a"] is a
    assert "b" in m
    assert len(m) == 3
    assert [v for _, v in m.items()] == list(m.values()) == [a, b, c]
    assert m.pop("a") is a
    del m["b"]
    m.update([("d", a)])
    assert state_names(T, m) == ["c.weight", "c.bias", "d.weight", "d.bias"]
    m.clear()
    assert len(m) == 0


def test_parameter_list(T):
    nn = nn_of(T)
    m = nn.ParameterList([nn.Parameter(T.ones(2)), T.zeros(3, 1)])
    assert all(isinstance(p, nn.Parameter) for p in m)
    m.append(nn.Parameter(T.zeros(1)))
    m += [T.zeros(4)]
    assert state_names(T, m) == ["0", "1", "2", "3"]
    assert m[-1].shape == (4,)
    assert [tuple(p.shape) for p in m[:2]] == [(2,), (3, 1)]
    m[0] = nn.Parameter(T.zeros(7))
    assert len(list(m.parameters())) == len(m) == 4
    with pytest.raises(IndexError, match="out of range"):
        m[4]
    with pytest.raises(RuntimeError, match="should not be called"):
        m()


def nested(T):
    nn = nn_of(T)
    block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())  # noqa: E731
    return [
        nn.ModuleList([nn.Linear(2, 3) for _ in range(3)] + [nn.ReLU()]),
        nn.ModuleList([block(), block(), nn.ModuleList()]),
        nn.Sequential(),
        nn.ModuleDict({"x": block(), "y": nn.Dropout()}),
        nn.ParameterList([T.zeros(2, 3), T.zeros(1, dtype=T.float64), T.tensor(1.0)]),
        nn.ParameterList([T.zeros(2), 3]),
        nn.ParameterList([T.zeros(2)]),
        nn.ParameterList([]),
    ]


@pytest.mark.parametrize("i", range(8))
def test_repr_is_pytorchs(i):
    assert repr(nested(minitorch)[i]) == repr(nested(torch)[i])
