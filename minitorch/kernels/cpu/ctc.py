"""Connectionist temporal classification: the probability of all ways to spell a target.

A way gives each of T time steps a class or blank; dropping repetitions, then blanks, leaves the
target. With the labels l = (blank, t1, blank, t2, ..., blank), state s means that label s has been
reached. alpha[t, s] is the log-probability of all beginnings that are in state s at time t:

    alpha[t, s] = log_probs[t, l[s]] + logsumexp(alpha[t - 1, s], alpha[t - 1, s - 1],
                                                 alpha[t - 1, s - 2])

the last one only where label s is no blank and differs from label s - 2. beta is the same from the
end. All states of all samples are computed at once, time step by time step.
PyTorch: aten/src/ATen/native/LossCTC.cpp.
"""

from __future__ import annotations

import numpy as np


def ctc_loss_forward(log_probs, targets, input_lengths, target_lengths, blank=0):
    """(minus the log-probability of each target (N,), alpha (T, N, 2 S + 1)).

    log_probs (T, N, C); targets (N, S); the lengths (N,) say how much of T and S counts.
    """
    labels, skips = _states(targets, blank)
    emitted = _emitted(log_probs, labels)
    alpha = np.full_like(emitted, -np.inf)
    alpha[0, :, :2] = emitted[0, :, :2]
    for t in range(1, len(alpha)):
        alpha[t] = _step(alpha[t - 1], skips) + emitted[t]
    n = np.arange(len(labels), like=labels)
    last, end = alpha[input_lengths - 1, n], 2 * target_lengths
    state = np.arange(labels.shape[1], like=labels)
    last[input_lengths == 0] = np.where(state == 0, 0, -np.inf)
    before = np.where(target_lengths > 0, last[n, np.maximum(end - 1, 0)], -np.inf)
    losses = -np.logaddexp(last[n, end], before)
    return losses.astype(log_probs.dtype), alpha


def ctc_loss_backward(
    grad, log_probs, targets, input_lengths, target_lengths, blank, losses, log_alpha
):
    """The gradient for log_probs, as PyTorch has it: that for the logits before log_softmax."""
    labels, skips = _states(targets, blank)
    emitted = _emitted(log_probs, labels)
    skips = np.pad(skips[:, 2:], ((0, 0), (0, 2)))[:, ::-1]  # backwards: from s to s + 2
    state, end = np.arange(labels.shape[1], like=labels), (2 * target_lengths)[:, None]
    starts = np.where((state == end) | ((state == end - 1) & (end > 0)), 0, -np.inf)
    beta = np.full_like(emitted, -np.inf)
    following = np.full_like(starts, -np.inf, dtype=emitted.dtype)
    for t in reversed(range(len(beta))):
        following = _step(following[:, ::-1], skips)[:, ::-1]
        following = np.where((input_lengths == t + 1)[:, None], starts, following) + emitted[t]
        beta[t] = following
    possible = np.isfinite(losses)[:, None]
    share = np.exp(log_alpha + beta - emitted + np.where(possible, losses[:, None], -np.inf))
    share = np.where(np.isfinite(emitted), share, 0)
    dx = np.exp(log_probs)
    n = np.arange(len(labels), like=labels)[:, None]
    at = (n * dx.shape[2] + labels).reshape(-1)  # CuPy's add.at takes one array of indices
    for t in range(len(dx)):
        np.add.at(dx[t].reshape(-1), at, -share[t].reshape(-1))  # nor has it subtract.at
    late = np.arange(len(dx), like=dx)[:, None] >= input_lengths
    dx[late] = 0
    dx *= grad[:, None]
    dx[:, ~possible[:, 0]] = np.where(late[:, ~possible[:, 0], None], 0, np.nan)
    return dx.astype(log_probs.dtype, copy=False)


def _states(targets, blank):
    """The labels (N, 2 S + 1), and which can be reached from two states before."""
    labels = np.full_like(targets, blank, np.int64, shape=(len(targets), 2 * targets.shape[1] + 1))
    labels[:, 1::2] = targets
    skips = np.zeros_like(labels, bool)
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    return labels, skips


def _emitted(log_probs, labels):
    """log_probs at the labels, (T, N, 2 S + 1): in float64, since long sums of them follow."""
    n = np.arange(len(labels), like=labels)[:, None]
    return log_probs[:, n, labels].astype(np.float64)


def _step(alpha, skips):
    """logsumexp of each state, the one before it, and where allowed the one before that."""
    shifted = np.pad(alpha, ((0, 0), (2, 0)), constant_values=-np.inf)
    out = np.logaddexp(alpha, shifted[:, 1:-1])
    return np.logaddexp(out, np.where(skips, shifted[:, :-2], -np.inf))
