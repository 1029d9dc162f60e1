"""CTC against PyTorch, and against the sum over all ways to spell the target."""

import itertools

import numpy as np
import pytest
import torch

from minitorch import kernels


def log_softmax(shape, seed=0):
    logits = np.random.default_rng(seed).standard_normal(shape)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def spelled(way, blank):
    """A way without its repetitions, then without its blanks."""
    return [c for c, _ in itertools.groupby(way) if c != blank]


@pytest.mark.parametrize("target", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
def test_all_ways_are_summed(target):
    log_probs = log_softmax((4, 1, 3))
    total = sum(
        np.exp(sum(log_probs[t, 0, c] for t, c in enumerate(way)))
        for way in itertools.product(range(3), repeat=4)
        if spelled(way, 0) == target
    )
    lengths = np.array([4]), np.array([len(target)])
    loss, _ = kernels.ctc_loss_forward(log_probs, np.array([target], int), *lengths, 0)
    np.testing.assert_allclose(np.exp(-loss), total)


@pytest.mark.parametrize("blank", [0, 2])
def test_like_torch(blank):
    log_probs = log_softmax((9, 4, 5), seed=1)
    classes = [c for c in range(5) if c != blank]
    targets = np.random.default_rng(2).choice(classes, (4, 4))
    lengths = np.array([9, 7, 5, 3]), np.array([4, 3, 0, 2])
    t = torch.tensor(log_probs, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        t, torch.tensor(targets), *map(torch.tensor, lengths), blank, reduction="none"
    )
    weight = np.arange(1.0, 5)
    (expected * torch.tensor(weight)).sum().backward()
    loss, alpha = kernels.ctc_loss_forward(log_probs, targets, *lengths, blank)
    np.testing.assert_allclose(loss, expected.detach().numpy())
    dx = kernels.ctc_loss_backward(weight, log_probs, targets, *lengths, blank, loss, alpha)
    np.testing.assert_allclose(dx, t.grad.numpy(), atol=1e-12)
