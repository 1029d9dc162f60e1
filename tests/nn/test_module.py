"""Module: registration, walking, converting, hooks. Each statement holds for PyTorch as well."""

import pickle
import weakref
from copy import deepcopy

import pytest
import torch

import minitorch

from .both import nn_of


def tree(T):
    """A model with shared parameters, a buffer of each kind, and a None in every table."""
    nn = nn_of(T)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 3)
            self.scale = nn.Parameter(T.ones(3))
            self.register_buffer("count", T.tensor(4))
            self.register_buffer("cache", T.zeros(2), persistent=False)
            self.register_parameter("nothing", None)
            self.register_buffer("no_buffer", None)
            self.add_module("no_module", None)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = Block()
            self.right = nn.Sequential(nn.ReLU(), self.left.first, nn.Linear(3, 2, bias=False))
            self.tied = self.left.scale

    return Model()


WALKS = {
    "named_parameters": {},
    "named_parameters all": {"remove_duplicate": False},
    "named_parameters own": {"recurse": False, "prefix": "p"},
    "named_buffers": {},
    "named_modules": {},
    "named_modules all": {"remove_duplicate": False, "prefix": "m"},
    "named_children": {},
}


@pytest.mark.parametrize("walk", WALKS)
def test_walks_go_pytorchs_way(walk):
    names = [
        [name for name, _ in getattr(tree(T), walk.split()[0])(**WALKS[walk])]
        for T in (minitorch, torch)
    ]
    assert names[0] == names[1]
    assert names[0]


def test_walks_without_names(T):
    model = tree(T)
    for kind in ("parameters", "buffers", "modules", "children"):
        named = [value for _, value in getattr(model, "named_" + kind)()]
        plain = list(getattr(model, kind)())
        assert len(named) == len(plain) > 0
        assert all(a is b for a, b in zip(named, plain, strict=True))


def test_repr_is_pytorchs():
    assert repr(tree(minitorch)) == repr(tree(torch))


def test_assignment_registers_and_replaces(T):
    nn = nn_of(T)
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(T.zeros(2))
    assert "x" not in m.__dict__
    assert list(dict(m.named_parameters())) == ["x"]
    m.x = None
    assert m.x is None
    assert list(m.parameters()) == []
    m.y = nn.Parameter(T.zeros(2))
    del m.y
    m.y = nn.Linear(1, 1)
    m.y = nn.Parameter(T.zeros(1))  # from child to parameter
    assert list(m.children()) == []
    m.register_buffer("b", T.zeros(1), persistent=False)
    m.b = T.ones(3)  # stays a buffer, and not persistent
    assert dict(m.named_buffers())["b"].tolist() == [1.0, 1.0, 1.0]
    assert list(m.state_dict()) == ["y"]
    m.plain = T.ones(2)
    assert "plain" in m.__dict__
    m.buffer = nn.Buffer(T.ones(1), persistent=False)
    assert [name for name, _ in m.named_buffers()] == ["b", "buffer"]
    assert {"y", "b", "plain", "buffer", "forward"} <= set(dir(m))


def test_deleting(T):
    model = tree(T)
    del model.left.scale
    del model.left.cache
    del model.right
    with pytest.raises(AttributeError):
        model.left.scale  # noqa: B018
    with pytest.raises(AttributeError):
        del model.absent
    assert list(dict(model.named_children())) == ["left"]


ATTRIBUTE_ERRORS = {
    "cannot assign parameters before Module.__init__": lambda T, nn: nn.Parameter(T.zeros(1)),
    "cannot assign module before Module.__init__": lambda T, nn: nn.Linear(1, 1),
    "cannot assign buffer before Module.__init__": lambda T, nn: nn.Buffer(T.zeros(1)),
}


@pytest.mark.parametrize("words", ATTRIBUTE_ERRORS)
def test_assigning_before_init(T, words):
    nn = nn_of(T)

    class Hasty(nn.Module):
        def __init__(self):
            self.x = ATTRIBUTE_ERRORS[words](T, nn)

    with pytest.raises(AttributeError, match=words):
        Hasty()


def wrong(T, nn, what):
    m = tree(T)
    if what == "tensor for parameter":
        m.tied = T.zeros(3)
    elif what == "number for child":
        m.left = 3
    elif what == "number for buffer":
        m.left.count = 3
    elif what == "not a parameter":
        m.register_parameter("p", T.zeros(1))
    elif what == "not a leaf":
        m.register_parameter("p", nn.Parameter(T.zeros(1)) * 1)
    elif what == "not a module":
        m.add_module("p", 3)
    elif what == "dotted":
        m.register_buffer("a.b", T.zeros(1))
    elif what == "empty":
        m.register_parameter("", None)
    elif what == "name is no string":
        m.register_buffer(3, T.zeros(1))
    elif what == "taken":
        m.register_parameter("forward", None)
    elif what == "no attribute":
        return m.absent
    elif what == "no forward":
        return m(1)
    elif what == "integer dtype":
        m.to(T.int64)
    elif what == "mode":
        m.train("yes")
    elif what == "submodule":
        m.get_submodule("left.scale")
    elif what == "parameter":
        m.get_parameter("left.count")


WRONG = [
    ("tensor for parameter", TypeError, "cannot assign 'torch.FloatTensor' as parameter 'tied'"),
    ("number for child", TypeError, "cannot assign 'int' as child module 'left'"),
    ("number for buffer", TypeError, "cannot assign 'int'.* buffer 'count'"),
    ("not a parameter", TypeError, "cannot assign 'torch.FloatTensor' object to parameter 'p'"),
    ("not a leaf", TypeError, "cannot assign"),
    ("not a module", TypeError, "int is not a Module subclass"),
    ("dotted", KeyError, "t contain"),
    ("empty", KeyError, "t be empty"),
    ("name is no string", TypeError, "buffer name should be a string. Got int"),
    ("taken", KeyError, "attribute 'forward' already exists"),
    ("no attribute", AttributeError, "'Model' object has no attribute 'absent'"),
    ("no forward", NotImplementedError, r'Module \[Model\] is missing the required "forward"'),
    ("integer dtype", TypeError, "only accepts floating point or complex dtypes"),
    ("mode", ValueError, "expected to be boolean"),
    ("submodule", AttributeError, "`scale` is not an nn.Module"),
    ("parameter", AttributeError, "`count` is not an nn.Parameter"),
]


@pytest.mark.parametrize("what, error, words", WRONG)
def test_errors(T, what, error, words):
    with pytest.raises(error, match=words):
        wrong(T, nn_of(T), what)


def test_conversion_keeps_the_parameters_and_leaves_integers(T):
    model = tree(T)
    before = list(model.parameters())
    (model.left.scale * 2).sum().backward()
    assert model.double() is model
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    assert {p.dtype for p in model.parameters()} == {T.float64}
    assert model.left.scale.grad.dtype == T.float64
    assert model.left.count.dtype == T.int64
    assert model.left.cache.dtype == T.float64
    (model.left.scale * 2).sum().backward()  # gradients of the new dtype are added
    assert model.left.scale.grad.tolist() == [4.0] * 3
    for convert, dtype in [
        (lambda m: m.half(), T.float16),
        (lambda m: m.to(T.float32), T.float32),
        (lambda m: m.to(T.zeros(1, dtype=T.float64)), T.float64),
        (lambda m: m.to("cpu", T.float32), T.float32),
        (lambda m: m.bfloat16(), T.bfloat16),
        (lambda m: m.float().cpu(), T.float32),
        (lambda m: m.type(T.float64), T.float64),
    ]:
        assert {p.dtype for p in convert(model).parameters()} == {dtype}
    assert model.left.count.dtype == T.float64  # type() converts integers as well


def test_train_eval_apply_and_zero_grad(T):
    model = tree(T)
    assert model.training
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())
    order = []
    model.apply(order.append)
    assert order[-1] is model
    assert order[0] is model.left.first  # children before parents
    for p in model.parameters():
        (p * 3).sum().backward()
    grad = model.left.scale.grad
    model.zero_grad(set_to_none=False)
    assert model.left.scale.grad is grad
    assert grad.tolist() == [0.0] * 3
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_getting_by_name(T):
    model = tree(T)
    assert model.get_submodule("") is model
    assert model.get_submodule("right.2") is model.right[2]
    assert model.get_parameter("left.first.weight") is model.left.first.weight
    assert model.get_buffer("left.count").item() == 4


def test_hooks(T):
    layer = nn_of(T).Identity()
    log = []

    def before(module, args):
        log.append(("before", args[0]))
        return args[0] + 1

    def before_with_kwargs(module, args, kwargs):
        log.append(("first", args[0]))
        return (args[0] * 2,), kwargs

    def after(module, args, output):
        log.append(("after", output))
        return output * 10

    def look(module, args, output):
        log.append(("look", output))

    handle = layer.register_forward_pre_hook(before)
    layer.register_forward_pre_hook(before_with_kwargs, with_kwargs=True, prepend=True)
    layer.register_forward_hook(after)
    layer.register_forward_hook(look)
    assert layer(3) == 70
    assert log == [("first", 3), ("before", 6), ("after", 7), ("look", 70)]
    handle.remove()
    assert layer(3) == 60
    layer.register_forward_pre_hook(lambda module, args: (args[0] + 100,))
    assert layer(3) == 1060


def test_deepcopy_and_pickle_keep_sharing(T):
    nn = nn_of(T)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    for twin in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin[0].weight is twin[1].weight
        assert twin[0].weight is not model[0].weight
        assert isinstance(twin[0].weight, nn.Parameter)
        assert not twin[0].weight.requires_grad
        assert twin[0].bias.requires_grad
        assert twin(T.ones(2)).tolist() == model(T.ones(2)).tolist()
        twin[0].bias.data.fill_(9)
        assert model[0].bias.tolist() != [9.0, 9.0]


def test_parameter(T):
    nn = nn_of(T)
    data = T.zeros(2)
    p = nn.Parameter(data)
    data[0] = 5
    assert p.tolist() == [5.0, 0.0]  # the memory is shared
    assert repr(p) == "Parameter containing:\ntensor([5., 0.], requires_grad=True)"
    assert p.is_leaf
    assert p.requires_grad
    assert isinstance(p, T.Tensor)
    assert type(p * 2) is T.Tensor
    assert type(p.detach()) is T.Tensor
    assert nn.Parameter().shape == (0,)
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    with T.no_grad():
        assert nn.Parameter(data).requires_grad
    assert nn.Parameter(T.tensor([1]), requires_grad=False).dtype == T.int64
    with pytest.raises(RuntimeError, match=r"[Oo]nly Tensors of floating point"):
        nn.Parameter(T.tensor([1]))
    p.grad = T.ones(2)
    copy = deepcopy(p)
    assert type(copy) is nn.Parameter
    assert copy.grad is None


def test_a_change_of_the_data_is_noticed_through_the_parameter(T):
    data = T.ones(2)
    p = nn_of(T).Parameter(data)
    y = (p * p).sum()
    data.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_dropped_model_frees_its_memory_at_once(T):
    """No reference cycle holds the parameters: memory goes without the garbage collector."""
    model = tree(T)
    dead = weakref.ref(model.left.scale)
    del model
    assert dead() is None
