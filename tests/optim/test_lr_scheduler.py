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
    ("MultiplicativeLR", (halve,), {}),
    ("CosineAnnealingWarmRestarts", (3,), {}),
    ("CosineAnnealingWarmRestarts", (2,), {"T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", (0.5,), {"total_steps": 20}),
    ("OneCycleLR", ([0.5, 0.2],), {"epochs": 5, "steps_per_epoch": 6, "three_phase": True}),
    ("OneCycleLR", (0.5, 30), {"anneal_strategy": "linear", "pct_start": 0.6}),
    ("CyclicLR", (0.01, 0.1), {"step_size_up": 3}),
    ("CyclicLR", (0.01, [0.1, 0.7]), {"step_size_up": 2, "step_size_down": 3}),
    ("CyclicLR", (0.01, 0.1, 3), {"mode": "triangular2", "base_momentum": 0.2}),
    ("CyclicLR", (0.01, 0.1, 3), {"mode": "exp_range", "gamma": 0.9, "cycle_momentum": False}),
    ("CyclicLR", (0.01, 0.1, 3), {"scale_fn": halve, "scale_mode": "iterations"}),
]


OPTIONS = ("lr", "momentum")


def optimizer_of(T):
    groups = [{"params": [NN[T].Parameter(T.ones(2))]}]
    groups.append({"params": [NN[T].Parameter(T.ones(2))], "lr": 0.3})
    return OPTIM[T].SGD(groups, lr=0.1, momentum=0.5)


def make(T, schedule, optimizer, **more):
    name, args, kwargs = schedule
    return getattr(OPTIM[T].lr_scheduler, name)(optimizer, *args, **kwargs, **more)


def run(optimizer, schedulers, epochs):
    """The learning rates and momenta of all groups, epoch by epoch."""
    rates = []
    for _ in range(epochs):
        rates.append([group[option] for group in optimizer.param_groups for option in OPTIONS])
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
                if schedule[0] not in ("LambdaLR", "MultiplicativeLR"):
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


def chain(T, optimizer):
    schedulers = OPTIM[T].lr_scheduler
    warm_up = schedulers.LinearLR(optimizer, 0.1, total_iters=4)
    decay = schedulers.ExponentialLR(optimizer, 0.9)
    return schedulers.ChainedScheduler([warm_up, decay])


def sequence(T, optimizer):
    schedulers = OPTIM[T].lr_scheduler
    warm_up = schedulers.LinearLR(optimizer, 0.1, total_iters=4)
    cosine = schedulers.CosineAnnealingLR(optimizer, 5)
    stairs = schedulers.StepLR(optimizer, 2)
    return schedulers.SequentialLR(optimizer, [warm_up, cosine, stairs], milestones=[3, 9])


def sequence_of_functions(T, optimizer):
    schedulers = OPTIM[T].lr_scheduler
    parts = [
        schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.9 + epoch / 10),
        schedulers.LambdaLR(optimizer, halve),
        schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.9 + epoch / 10),
        schedulers.OneCycleLR(optimizer, 0.5, 9),
    ]
    return schedulers.SequentialLR(optimizer, parts, milestones=[2, 5, 8])


def sequence_of_sequences(T, optimizer):
    schedulers = OPTIM[T].lr_scheduler
    parts = [sequence(T, optimizer), schedulers.LambdaLR(optimizer, halve)]
    return schedulers.SequentialLR(optimizer, parts, milestones=[7])


@pytest.mark.parametrize("combine", [chain, sequence, sequence_of_functions, sequence_of_sequences])
def test_combined_schedulers_are_pytorchs(combine):
    curves = []
    for T in (minitorch, torch):
        optimizer = optimizer_of(T)
        combined = combine(T, optimizer)
        curves.append(run(optimizer, [combined], 5))
        again = optimizer_of(T)
        resumed = combine(T, again)
        again.load_state_dict(optimizer.state_dict())
        resumed.load_state_dict(combined.state_dict())
        curves[-1] += run(optimizer, [combined], 9)
        assert run(again, [resumed], 9) == curves[-1][5:]
    assert curves[0] == curves[1]


PLATEAUS = [
    {"patience": 1},
    {"patience": 2, "mode": "max", "factor": 0.5, "cooldown": 2},
    {"patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.02, 0.001]},
    {"patience": 0, "mode": "max", "threshold": 0.1, "threshold_mode": "abs", "eps": 0.05},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateaus_are_pytorchs(options):
    losses = [3, 2, 2, 2.1, 1.9999, 1.95, 1.0, 1.1, 1.2, 1.05, 1.0, 0.95, 1.3, 1.3, 1.3, 0.1, 9]
    curves = []
    for T in (minitorch, torch):
        optimizer = optimizer_of(T)
        scheduler = OPTIM[T].lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for i, loss in enumerate(losses):
            scheduler.step(T.tensor(loss) if i % 2 else loss)
            rates.append((scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.best))
            if i == 5:
                state = scheduler.state_dict()
                scheduler = OPTIM[T].lr_scheduler.ReduceLROnPlateau(optimizer)
                scheduler.load_state_dict(pickle.loads(pickle.dumps(state)))
        curves.append(rates)
    assert curves[0] == curves[1]
    assert curves[0][-1][0][0] < 0.1


def test_warm_restarts_in_the_middle_of_epochs():
    curves = []
    for T in (minitorch, torch):
        optimizer = optimizer_of(T)
        scheduler = OPTIM[T].lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, 2)
        rates = []
        for batch in range(40):
            scheduler.step(batch / 4)
            rates.append(scheduler.get_last_lr())
        curves.append(rates)
    assert curves[0] == curves[1]


def test_adams_beta1_cycles():
    curves = []
    for T in (minitorch, torch):
        rates = []
        for name, options in (("CyclicLR", (0.01, 0.1, 3)), ("OneCycleLR", (0.5, 12))):
            optimizer = OPTIM[T].Adam([NN[T].Parameter(T.ones(2))])
            scheduler = getattr(OPTIM[T].lr_scheduler, name)(optimizer, *options)
            for _ in range(11):
                optimizer.step()
                scheduler.step()
                rates.append((optimizer.param_groups[0]["betas"], scheduler.get_last_lr()))
        curves.append(rates)
    assert curves[0] == curves[1]


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
    assert run(optimizer, [Grow(optimizer)], 3)[-1] == [0.1 * 3, 0.5, 0.3 * 3, 0.5]


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
    with pytest.raises(ValueError, match="total_steps OR"):
        schedulers.OneCycleLR(optimizer_of(T), 0.1)
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        run(o := optimizer_of(T), [schedulers.OneCycleLR(o, 0.1, 2)], 3)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        schedulers.OneCycleLR(optimizer_of(T), 0.1, 2, anneal_strategy="up")
    without = OPTIM[T].Adagrad([NN[T].Parameter(T.ones(1))])
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        schedulers.CyclicLR(without, 0.1, 0.2)
    with pytest.raises(ValueError, match="mode is invalid"):
        schedulers.CyclicLR(optimizer_of(T), 0.1, 0.2, mode="round")
    with pytest.raises(ValueError, match=r"Factor should be < 1.0"):
        schedulers.ReduceLROnPlateau(optimizer_of(T), factor=1)
    with pytest.raises(ValueError, match="is unknown!"):
        schedulers.ReduceLROnPlateau(optimizer_of(T), mode="mid")
    with pytest.raises(ValueError, match="Expected positive integer T_0"):
        schedulers.CosineAnnealingWarmRestarts(optimizer_of(T), 0)
    optimizer = optimizer_of(T)
    plateau = schedulers.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        schedulers.ChainedScheduler([plateau])
    with pytest.raises(ValueError, match="same optimizer"):
        schedulers.ChainedScheduler([schedulers.StepLR(optimizer_of(T), 1)], optimizer)
    with pytest.raises(ValueError, match="mileston"):
        schedulers.SequentialLR(optimizer, [schedulers.StepLR(optimizer, 1)], [1])
