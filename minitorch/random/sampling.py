"""Sampling: which of n things, and in what order.

PyTorch: aten/src/ATen/native/TensorFactories.cpp (randperm), native/Distributions.cpp and
native/cpu/MultinomialKernel.cpp (multinomial).
"""

from __future__ import annotations

import numpy as np

from minitorch.random.distributions import exponential_
from minitorch.random.generator import Generator


def randperm(generator: Generator, n: int) -> np.ndarray:
    """A random order of 0 .. n-1, int64 (n,). Mirrors torch.randperm.

    Fisher and Yates's shuffle from the front: place i swaps with i + word % (n - i).
    """
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    place = np.arange(max(n - 1, 0))
    partner = generator.words(place.size) % (n - place) + place
    swap = _swap_in_turn if n < 2048 else _swap_in_rounds
    return swap(n, partner)


def multinomial(
    generator: Generator, weights: np.ndarray, num_samples: int, replacement=False
) -> np.ndarray:
    """Indices drawn with these weights: (k,) or (rows, k) floats to (..., num_samples) int64.

    Mirrors torch.multinomial. Weights need not sum to one. Raises RuntimeError for weights that are
    negative, infinite, nan or all zero, and for too many samples without replacement. Where 16-bit
    weights make a race undecided, the order of the equals may differ from PyTorch's.
    """
    _check_multinomial(weights, num_samples, replacement)
    if not replacement or num_samples == 1:
        # An exponential race: the time until index i arrives has rate weights[i]. The first
        # num_samples to arrive are a sample without replacement.
        speed = weights / exponential_(generator, np.empty_like(weights))
        if num_samples == 1:  # a language model's choice of the next token: no need to sort
            return speed.argmax(axis=-1, keepdims=True)
        return np.argsort(-speed, axis=-1, kind="stable")[..., :num_samples]
    rows = weights.reshape(-1, weights.shape[-1])
    drawn = np.empty((len(rows), num_samples), np.int64)
    for row, samples in zip(rows, drawn, strict=True):
        cumulative = np.cumsum(row, dtype=np.promote_types(row.dtype, np.float32))
        cumulative /= cumulative[-1]
        samples[...] = np.searchsorted(cumulative.astype(float), generator.doubles(num_samples))
    return drawn.reshape(*weights.shape[:-1], num_samples)


def _check_multinomial(weights, num_samples, replacement) -> None:
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if weights.dtype.kind in "biu":
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {weights.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if not np.all((weights >= 0) & (weights < np.inf)):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if np.any(weights.sum(axis=-1) == 0):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _swap_in_turn(n: int, partner: np.ndarray) -> np.ndarray:
    """0 .. n-1 after swapping place i with partner[i] for i = 0, 1, 2, ..."""
    order = list(range(n))
    for i, j in enumerate(partner.tolist()):
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def _swap_in_rounds(n: int, partner: np.ndarray) -> np.ndarray:
    """_swap_in_turn for large n, without a Python step for each swap.

    Swaps of different places commute. So of the swaps that wait, all those can be done at once
    which are the first, in turn, to touch both of their places (Shun, Gu, Blelloch, Fineman and
    Gibbons 2015, "Sequential random permutation, list contraction and tree contraction are highly
    parallel"). Sixteenths of what is left are taken at a time: then few swaps collide.
    """
    order, first = np.arange(n), np.empty(n, np.int64)
    start = 0
    while start < n - 1:
        stop = min(n - 1, start + max(1024, (n - start) // 16))
        i, j = np.arange(start, stop), partner[start:stop]
        while i.size:
            first[i] = i
            first[j[::-1]] = i[::-1]  # where several meet, the earliest is written last
            ready = (first[i] == i) & (first[j] == i)
            a, b = i[ready], j[ready]
            order[a], order[b] = order[b], order[a]
            i, j = i[~ready], j[~ready]
        start = stop
    return order
