"""Optimizers against PyTorch's: many steps to the last digits, options, errors, state dicts."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn as minitorch_nn
from minitorch import optim as minitorch_optim

NN = {minitorch: minitorch_nn, torch: torch.nn}
OPTIM = {minitorch: minitorch_optim, torch: torch.optim}

# float32 sums may be rounded in another order, or fused into one rounding, a few times a step
TOLERANCE = {"float32": 3e-6, "float64": 1e-13}

SHAPES = [(5,), (3, 4), (), (2, 1, 3), (0,)]

VARIANTS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("SGD", {"momentum": 0.5, "maximize": True, "foreach": True}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.3, 0.9)}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "fused": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"maximize": True, "weight_decay": 0}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.4, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "maximize": True, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("Adagrad", {"maximize": True, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.4, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.3, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"betas": (0.3, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.3, 0.6), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
]


def variant_id(variant):
    name, options = variant
    return name + "".join(f" {k}={v}" for k, v in options.items())


@pytest.fixture(params=VARIANTS, ids=variant_id)
def variant(request):
    return request.param


def parameters(T, dtype="float32", shapes=SHAPES):
    rng = np.random.default_rng(0)
    return [NN[T].Parameter(T.tensor(rng.normal(size=s).astype(dtype))) for s in shapes]


def set_gradients(T, params, step):
    """Gradients of many scales; now and then one is missing."""
    rng = np.random.default_rng(100 + step)
    for i, p in enumerate(params):
        grad = rng.normal(size=tuple(p.shape)) * 10.0 ** rng.integers(-3, 2)
        dtype = str(p.dtype).removeprefix("torch.")
        p.grad = None if (i + step) % 7 == 3 else T.tensor(grad.astype(dtype))


def make(T, params, variant, lr=0.05):
    name, options = variant
    return getattr(OPTIM[T], name)(params, lr=lr, **options)


def assert_same_parameters(ours, theirs, dtype):
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        got, expected = p.detach().numpy(), q.detach().numpy()
        assert got.dtype == expected.dtype == dtype
        np.testing.assert_allclose(
            got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=f"parameter {i}"
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_pytorchs(variant, dtype):
    ours, theirs = parameters(minitorch, dtype), parameters(torch, dtype)
    a, b = make(minitorch, ours, variant), make(torch, theirs, variant)
    for step in range(24):
        set_gradients(minitorch, ours, step)
        set_gradients(torch, theirs, step)
        a.step()
        b.step()
        assert_same_parameters(ours, theirs, dtype)


def test_large_and_noncontiguous_parameters_are_pytorchs(variant):
    """Large ones are updated in blocks; those without a flat view in another way."""
    rng = np.random.default_rng(1)
    big, grads = rng.normal(size=(400, 301)), rng.normal(size=(3, 400, 301))
    results = []
    for T in (minitorch, torch):
        params = [
            NN[T].Parameter(T.tensor(big.astype("float32"))),
            NN[T].Parameter(T.tensor(big.astype("float32")).t()),
        ]
        optimizer = make(T, params, variant)
        for g in grads:
            params[0].grad = T.tensor(g.astype("float32"))
            params[1].grad = T.tensor(g.astype("float32")).t()
            optimizer.step()
        results.append(params)
    assert_same_parameters(*results, "float32")


def test_repr_and_groups_are_pytorchs(variant):
    made = []
    for T in (minitorch, torch):
        a, b, c = parameters(T)[:3]
        name, options = variant
        groups = [{"params": [a]}, {"params": (p for p in [b]), "lr": 0.5, "weight_decay": 0.2}]
        optimizer = getattr(OPTIM[T], name)(groups, **options)
        optimizer.add_param_group({"params": c, "maximize": True})
        made.append(optimizer)
    assert repr(made[0]) == repr(made[1])
    assert made[0].defaults == made[1].defaults
    assert made[0].state_dict()["param_groups"] == made[1].state_dict()["param_groups"]


def test_groups_have_their_own_options(T):
    a, b = (NN[T].Parameter(T.ones(2)) for _ in range(2))
    a.grad, b.grad = T.ones(2), T.ones(2)
    OPTIM[T].SGD([{"params": [a]}, {"params": [b], "lr": 0.25}], lr=0.5).step()
    assert a.tolist() == [0.5, 0.5]
    assert b.tolist() == [0.75, 0.75]


def to_other(value, T):
    """State dicts with the other package's tensors."""
    if isinstance(value, (torch.Tensor, minitorch.Tensor)):
        return T.tensor(value.numpy().copy())
    if isinstance(value, dict):
        return {k: to_other(v, T) for k, v in value.items()}
    return value


@pytest.mark.parametrize("source", [minitorch, torch], ids=["minitorch", "torch"])
def test_state_dicts_go_both_ways(variant, source):
    """Five steps in one package, the rest in the other: as ten steps in one."""
    target = torch if source is minitorch else minitorch
    first, whole = parameters(source), parameters(torch)
    a, c = make(source, first, variant), make(torch, whole, variant)
    for step in range(5):
        for T, params, optimizer in ((source, first, a), (torch, whole, c)):
            set_gradients(T, params, step)
            optimizer.step()
    second = [NN[target].Parameter(target.tensor(p.detach().numpy().copy())) for p in first]
    b = make(target, second, variant, lr=123.0)
    state = a.state_dict()
    b.load_state_dict({**state, "state": to_other(state["state"], target)})
    assert b.param_groups[0]["lr"] == 0.05
    for step in range(5, 10):
        for T, params, optimizer in ((target, second, b), (torch, whole, c)):
            set_gradients(T, params, step)
            optimizer.step()
    got = second if target is minitorch else [minitorch.tensor(p.detach().numpy()) for p in second]
    assert_same_parameters(got, whole, "float32")


def test_state_dict_has_pytorchs_form(variant):
    states = []
    for T in (minitorch, torch):
        params = parameters(T)
        optimizer = make(T, params, variant)
        set_gradients(T, params, 0)
        optimizer.step()
        state = optimizer.state_dict()
        assert all(
            t is None or not t.requires_grad for s in state["state"].values() for t in s.values()
        )
        states.append(
            {
                number: {
                    k: None if v is None else (str(v.dtype), tuple(v.shape)) for k, v in s.items()
                }
                for number, s in state["state"].items()
            }
        )
    assert states[0] == states[1]


def test_loading_copies_and_casts(T):
    p = NN[T].Parameter(T.zeros(2, dtype=T.float64))
    q = NN[T].Parameter(T.zeros(2))
    a, b = OPTIM[T].Adam([p]), OPTIM[T].Adam([q])
    p.grad = T.ones(2, dtype=T.float64)
    a.step()
    b.load_state_dict(a.state_dict())
    assert b.state[q]["exp_avg"].dtype == T.float32
    assert b.state[q]["step"].dtype == T.float32
    assert b.state[q]["step"].item() == 1.0
    if T is minitorch:  # PyTorch shares the step count, and all that needs no cast
        c = OPTIM[T].Adam([NN[T].Parameter(T.zeros(2, dtype=T.float64))])
        c.load_state_dict(a.state_dict())
        before = c.state_dict()["state"][0]["exp_avg"].tolist()
        a.step()
        assert b.state[q]["step"].item() == 1.0
        assert c.state_dict()["state"][0]["exp_avg"].tolist() == before


def test_loading_an_old_state(T):
    """Options that were not known then keep their values; the step count was a number."""
    p = NN[T].Parameter(T.zeros(2))
    optimizer = OPTIM[T].Adam([p])
    state = {"step": 3, "exp_avg": T.ones(2), "exp_avg_sq": T.ones(2)}
    groups = [{"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "params": [0]}]
    optimizer.load_state_dict({"state": {0: state}, "param_groups": groups})
    assert optimizer.param_groups[0]["amsgrad"] is False
    p.grad = T.ones(2)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 4


def test_copies(T):
    params = parameters(T)
    optimizer = OPTIM[T].Adam(params)
    set_gradients(T, params, 0)
    optimizer.step()
    for twin in (deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        p = twin.param_groups[0]["params"][0]
        assert p is not params[0]
        assert twin.state[p]["exp_avg"].tolist() == optimizer.state[params[0]]["exp_avg"].tolist()


def test_closure_and_zero_grad(T):
    p = NN[T].Parameter(T.tensor([3.0]))
    optimizer = OPTIM[T].SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with T.no_grad():  # the closure is recorded all the same
        assert optimizer.step(closure).item() == 9.0
    assert abs(p.item() - 2.4) < 1e-6
    grad = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad
    assert grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()  # nothing to do
    assert abs(p.item() - 2.4) < 1e-6


NAMES = sorted({name for name, _ in VARIANTS})


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_an_in_place_change(T, name):
    """Backward through values from before the step is an error, not a wrong gradient."""
    p = NN[T].Parameter(T.ones(2))
    y = (p * p).sum()
    p.grad = T.ones(2)
    pointer = p.data_ptr()
    getattr(OPTIM[T], name)([p], lr=0.1).step()
    assert p.data_ptr() == pointer
    assert p.requires_grad
    assert p.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_names(T):
    model = NN[T].Linear(2, 1)
    optimizer = OPTIM[T].SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="with/without names"):
        optimizer.add_param_group({"params": [NN[T].Parameter(T.ones(1))]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        OPTIM[T].SGD([("a", model.weight), model.bias])


def test_tensor_as_learning_rate(T):
    p = NN[T].Parameter(T.ones(2))
    p.grad = T.ones(2)
    OPTIM[T].SGD([p], lr=T.tensor(0.5)).step()
    assert p.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="must be 1-element"):
        OPTIM[T].Adam([p], lr=T.ones(2))


OPTION_ERRORS = [
    ("SGD", {"lr": -1.0}, "Invalid learning rate: -1.0"),
    ("SGD", {"momentum": -0.1}, "Invalid momentum value: -0.1"),
    ("SGD", {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
    ("SGD", {"nesterov": True}, "Nesterov momentum requires"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov momentum requires"),
    ("Adam", {"lr": -1.0}, "Invalid learning rate: -1.0"),
    ("Adam", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
    ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
    ("AdamW", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
    ("AdamW", {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
    ("Adam", {"lr": float("nan")}, "Invalid learning rate: nan"),
    ("RMSprop", {"alpha": -1.0}, "Invalid alpha value: -1.0"),
    ("RMSprop", {"lr": -1.0}, "Invalid learning rate: -1.0"),
    ("RMSprop", {"momentum": -1.0}, "Invalid momentum value: -1.0"),
    ("Adagrad", {"lr_decay": -1.0}, "Invalid lr_decay value: -1.0"),
    ("Adagrad", {"initial_accumulator_value": -1.0}, "Invalid initial_accumulator_value value"),
    ("Adadelta", {"rho": 1.5}, "Invalid rho value: 1.5"),
    ("Adamax", {"betas": (0.9, 1.0)}, "Invalid beta parameter at index 1: 1.0"),
    ("NAdam", {"momentum_decay": -1.0}, "Invalid momentum_decay value: -1.0"),
    ("RAdam", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
]


@pytest.mark.parametrize("name, options, words", OPTION_ERRORS)
def test_option_errors(T, name, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(OPTIM[T], name)([NN[T].Parameter(T.ones(1))], **options)


def test_fused_excludes_foreach(T):
    with pytest.raises(RuntimeError, match=r"fused.*foreach"):
        OPTIM[T].SGD([NN[T].Parameter(T.ones(1))], fused=True, foreach=True)


def test_parameter_errors(T):
    p = NN[T].Parameter(T.ones(1))
    SGD = OPTIM[T].SGD
    with pytest.raises(TypeError, match=r"iterable of Tensors or dicts, but got torch.FloatTensor"):
        SGD(p)
    with pytest.raises(ValueError, match="empty parameter list"):
        SGD([])
    with pytest.raises(TypeError, match="ordered collections"):
        SGD([{"params": {p}}])
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        SGD([1])
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        SGD([p * 2])
    with pytest.raises(ValueError, match="more than one parameter group"):
        SGD([{"params": p}, {"params": [p]}])
    with pytest.warns(UserWarning, match="duplicate parameters"):
        SGD([p, p])
    with pytest.raises(TypeError, match="param_group must be a dict"):
        SGD([p]).add_param_group([p])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        SGD([p]).load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})


def test_an_optimizer_of_ones_own(T):
    from_module = OPTIM[T].Optimizer

    class Sign(from_module):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            with T.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["lr"] * p.grad.sign()

    p = NN[T].Parameter(T.tensor([1.0, 1.0]))
    p.grad = T.tensor([5.0, -3.0])
    Sign([p], lr=0.5).step()
    assert p.tolist() == [0.5, 1.5]


def test_training_follows_pytorchs_loss_curve():
    """Initial weights, forward, backward and Adam together: the same losses for 20 steps."""
    curves = []
    for T in (minitorch, torch):
        T.manual_seed(0)
        nn = NN[T]
        model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
        optimizer = OPTIM[T].Adam(model.parameters(), lr=0.02)
        x, y = T.randn(32, 4), T.randint(0, 3, (32,))
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0][-1] < curves[0][0] - 0.1
    np.testing.assert_allclose(*curves, rtol=2e-5)
