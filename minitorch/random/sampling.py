"""Sampling: which of n things, in what order, and how many.

PyTorch: aten/src/ATen/native/TensorFactories.cpp (randperm), native/Distributions.cpp and
native/cpu/MultinomialKernel.cpp (multinomial), native/Distributions.cpp (poisson).
"""

from __future__ import annotations

import math

import numpy as np

from minitorch import dtypes
from minitorch.random.distributions import exponential_
from minitorch.random.generator import Generator
from minitorch.random.layout import empty_like


def randperm(generator: Generator, n: int) -> np.ndarray:
    """A random order of 0 .. n-1, int64 (n,). Mirrors torch.randperm.

    Fisher and Yates's shuffle from the front: place i swaps with i + word % (n - i).
    """
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    words = generator.words(max(n - 1, 0))
    if n < 2048:
        return _swap_in_turn(n, [i + word % (n - i) for i, word in enumerate(words.tolist())])
    place = np.arange(n - 1)
    return _swap_in_rounds(n, words % (n - place) + place)


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
        speed = weights / exponential_(generator, empty_like(weights))
        if num_samples == 1:  # a language model's choice of the next token: no need to sort
            return speed.argmax(axis=-1, keepdims=True)
        order = np.argsort(-speed, axis=-1, kind="stable")
        return np.ascontiguousarray(order[..., :num_samples])
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


def poisson(generator: Generator, means: np.ndarray) -> np.ndarray:
    """How often something happens that happens means[i] times on average. Mirrors torch.poisson.

    A mean below 10: uniforms are multiplied until the product is below e^-mean (that is, waiting
    times are added up). Others: Hoermann's transformed rejection (1993), two uniforms for a try.
    Raises RuntimeError for means that are negative or nan.
    """
    if means.dtype.kind in "biuc":
        kind = dtypes.of(means).legacy_name
        raise NotImplementedError(f"\"poisson_cpu\" not implemented for '{kind}'")
    if not np.all(means >= 0):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")

    def uniform() -> float:
        return generator.doubles(1).item()

    draw = [_poisson_large if mean >= 10 else _poisson_small for mean in means.flat]
    counts = [d(mean, uniform) for d, mean in zip(draw, means.ravel().tolist(), strict=True)]
    return np.array(counts, np.float64).astype(means.dtype).reshape(means.shape)


def _poisson_small(mean: float, uniform) -> int:
    count, product, limit = 0, 1.0, math.exp(-mean)
    while mean and (product := product * uniform()) > limit:
        count += 1
    return count


def _poisson_large(mean: float, uniform) -> int:
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    while True:
        u, v = uniform() - 0.5, uniform()
        from_edge = 0.5 - abs(u)
        count = math.floor((2 * a / from_edge + b) * u + mean + 0.43)
        if from_edge >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return count
        if count < 0 or (from_edge < 0.013 and v > from_edge):
            continue
        density = -mean + count * math.log(mean) - math.lgamma(count + 1)
        scale = (1.1239 + 1.1328 / (b - 3.4)) / (a / (from_edge * from_edge) + b)
        if math.log(v * scale) <= density:
            return count


def _swap_in_turn(n: int, partner: list[int]) -> np.ndarray:
    """0 .. n-1 after swapping place i with partner[i] for i = 0, 1, 2, ..."""
    order = list(range(n))
    for i, j in enumerate(partner):
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
