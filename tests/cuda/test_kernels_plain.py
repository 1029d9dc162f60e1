"""What runs on a GPU by NumPy's own functions, handed to CuPy: equal to the CPU's kernels."""

import numpy as np
import pytest
import torch

import minitorch

from .twins import agree


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f")


@pytest.mark.parametrize("name", ["floor_divide", "fmod", "hypot", "logaddexp", "remainder"])
def test_functions_of_two_numbers(name):
    agree(name, draw(40), draw(40, seed=1))


def test_where():
    agree("where", draw(5, 4) > 0, draw(5, 4, seed=1), draw(4, seed=2))


def test_inverse():
    agree("inverse", draw(300, 3, 3) + 3 * np.eye(3, dtype="f"), scale=10)


def test_lstm():
    sums, h, c, weight = draw(5, 2, 12), draw(2, 3, seed=1), draw(2, 3, seed=2), draw(12, 3, seed=3)
    hs, cs, gates = agree("lstm_forward", sums, h, c, weight)
    dhs, dcs = draw(5, 2, 3, seed=4), draw(5, 2, 3, seed=5)
    agree("lstm_backward", dhs, dcs, h, c, weight, hs, cs, gates)


def test_ctc():
    log_probs = draw(9, 3, 5) - 2
    targets = np.array([[1, 1, 2], [3, 4, 1], [2, 1, 1]])
    problem = log_probs, targets, np.array([9, 4, 9]), np.array([3, 3, 0])
    losses, alpha = agree("ctc_loss_forward", *problem, 0)
    agree("ctc_loss_backward", draw(3), *problem, 0, losses, alpha)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_lstm_of_which_only_the_cell_state_is_used(device):
    theirs = torch.nn.LSTM(4, 6)
    ours = minitorch.nn.LSTM(4, 6)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        p.data.copy_(minitorch.tensor(q.detach().numpy()))
    ours.to(device)
    x = draw(5, 2, 4)
    ours(minitorch.tensor(x, device=device))[1][1].sum().backward()
    theirs(torch.tensor(x))[1][1].sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.cpu().numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5)
