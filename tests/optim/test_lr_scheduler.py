"""Learning rate schedulers: PyTorch's values to the last bit."""

import pickle
import warnings

import pytest
import torch

import minitorch
from minitorch import nn as minitorch_nn
from minitorch import optim as minitorch_optim

NN = {minitorch: minitorch_nn, torch: torch.nn}
OPTIM = {minitorch: minitorch_optim, torch: torch.optim}


def halve(epoch):
    return 0.5**epoch


SCHEDULES = [
    ("StepLR", (3,), {}),
    ("StepLR", (2, 0.7), {}),
    ("MultiStepLR", ([2, 5, 5, 9],), {"gamma": 0.3}),
    ("ExponentialLR", (0.9,), {}),
    ("ConstantLR", (), {"factor": 0.4, "total_iters": 4}),
    ("LinearLR", (), {}),
    ("LinearLR", (), {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 6}),
    ("PolynomialLR", (), {"total_iters": 7, "power": 2.0}),
    ("CosineAnnealingLR", (5,), {}),
    ("CosineAnnealingLR", (4,), {"eta_min": 0.01}),
    ("LambdaLR", (halve,), {}),
    ("LambdaLR", ([halve, lambda epoch: epoch + 1],), {}),
]


def optimizer_of(T):
    groups = [{"params": [NN[T].Parameter(T.ones(2))]}]
    groups.append({"params": [NN[T].Parameter(T.ones(2))], "lr": 0.3})
    return OPTIM[T].SGD(groups, lr=0.1)


def make(T, schedule, optimizer, **more):
    name, args, kwargs = schedule
    return getattr(OPTIM[T].lr_scheduler, name)(optimizer, *args, **kwargs, **more)


def run(optimizer, schedulers, epochs):
    """The learning rates of all groups, epoch by epoch."""
    rates = []
    for _ in range(epochs):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        assert schedulers[-1].get_last_lr() == [group["lr"] for group in optimizer.param_groups]
    return rates


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s[0]}{s[2] or ''}")
def test_rates_are_pytorchs(schedule):
    curves = []
    for T in (minitorch, torch):
        optimizer = optimizer_of(T)
        scheduler = make(T, schedule, optimizer)
        curves.append(run(optimizer, [scheduler], 15))
        assert scheduler.last_epoch == 15
    assert curves[0] == curves[1]
    assert len({tuple(rates) for rates in curves[0]}) > 1


def test_schedulers_chain():
    curves = []
    for T in (minitorch, torch):
        optimizer = optimizer_of(T)
        schedulers = [make(T, SCHEDULES[i], optimizer) for i in (0, 3, 5, 8)]
        curves.append(run(optimizer, schedulers, 12))
    assert curves[0] == curves[1]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s[0]}{s[2] or ''}")
def test_continuing(schedule):
    """From the state dicts, and from last_epoch: as PyTorch continues."""
    for by_state in (True, False):
        curves = []
        for T in (minitorch, torch):
            optimizer = optimizer_of(T)
            scheduler = make(T, schedule, optimizer)
            run(optimizer, [scheduler], 4)
            again = optimizer_of(T)
            if by_state:
                resumed = make(T, schedule, again)
                again.load_state_dict(optimizer.state_dict())
                state = scheduler.state_dict()
                assert "optimizer" not in state
                if schedule[0] != "LambdaLR":
                    state = pickle.loads(pickle.dumps(state))
                resumed.load_state_dict(state)
                whole = run(optimizer, [scheduler], 8)
            else:
                again.load_state_dict(optimizer.state_dict())
                resumed = make(T, schedule, again, last_epoch=scheduler.last_epoch)
                whole = None
            curves.append(run(again, [resumed], 8))
            assert whole is None or whole == curves[-1]
        assert curves[0] == curves[1]


def test_a_state_of_pytorchs_is_understood():
    ours, theirs = optimizer_of(minitorch), optimizer_of(torch)
    a, b = make(minitorch, SCHEDULES[8], ours), make(torch, SCHEDULES[8], theirs)
    run(theirs, [b], 3)
    ours.load_state_dict({"state": {}, "param_groups": theirs.state_dict()["param_groups"]})
    a.load_state_dict(b.state_dict())
    assert run(ours, [a], 9) == run(theirs, [b], 9)


def test_wrong_order_warns(T):
    optimizer = optimizer_of(T)
    scheduler = OPTIM[T].lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\)` before `optimizer.step\(\)"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = optimizer_of(T)
        scheduler = OPTIM[T].lr_scheduler.StepLR(optimizer, 1)
        run(optimizer, [scheduler], 3)


def test_a_scheduler_of_ones_own(T):
    class Grow(OPTIM[T].lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base * (1 + self.last_epoch) for base in self.base_lrs]

    optimizer = optimizer_of(T)
    assert run(optimizer, [Grow(optimizer)], 3)[-1] == [0.1 * 3, 0.3 * 3]


def test_errors(T):
    schedulers = OPTIM[T].lr_scheduler
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        schedulers.StepLR(3, 1)
    with pytest.raises(KeyError, match="initial_lr"):
        schedulers.StepLR(optimizer_of(T), 1, last_epoch=4)
    with pytest.raises(ValueError, match="Expected 2 lr_lambdas, but got 1"):
        schedulers.LambdaLR(optimizer_of(T), [halve])
    with pytest.raises(ValueError, match="between 0 and 1"):
        schedulers.ConstantLR(optimizer_of(T), factor=2)
    with pytest.raises(ValueError, match="greater than 0"):
        schedulers.LinearLR(optimizer_of(T), start_factor=0)
    with pytest.raises(ValueError, match="Ending multiplicative"):
        schedulers.LinearLR(optimizer_of(T), end_factor=2)
