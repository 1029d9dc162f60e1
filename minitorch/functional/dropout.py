"""Dropout: a product with a random mask. And what rrelu multiplies by, which is one, too.

The masks are drawn, like PyTorch's, as a tensor of the input's layout is by `bernoulli_(1 - p)`.
On a GPU the generator only gives a seed, and kernels/cuda/dropout.cu makes its own numbers from it;
plain dropout then stores no mask.
PyTorch: aten/src/ATen/native/Dropout.cpp, native/Activation.cpp (rrelu).
"""

from __future__ import annotations

import math

import numpy as np

from .. import devices, kernels, random
from ..dispatch.declare import composite
from ..ops.nn import _dropout
from ..random.layout import empty_like
from ..tensor import Tensor, wrap, wrap_beside


def _seed() -> int:
    return int(random.default_generator.pairs(1)[0])


def _ones_and_zeros(like, p: float):
    """1 with probability 1 - p, and else 0, where `like` is and of its shape and type."""
    if type(like) is not np.ndarray:
        ones = np.ones_like(like, np.float32)
        return (kernels.find("dropout", ones)(ones, p, _seed()) != 0).astype(like.dtype)
    drawn = empty_like(like)
    random.bernoulli_(random.default_generator, drawn, 1 - p)  # in the order of its memory
    return drawn


def _kind(name: str, features: bool, alpha: bool, meaning: str):
    """The four kinds of dropout, each with its in-place form."""

    @devices.on_its_device
    def call(input, p=0.5, train=True, update=False):
        if not 0 <= p <= 1:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
        if not train or p == 0 or not input.array.size:
            return input
        multiply = input.mul_ if update else input.mul
        if p == 1:
            return multiply(wrap(np.zeros_like(input.array, shape=())))
        like = input.array
        plain = not (features or alpha or update) and like.dtype.kind in "fV"
        if plain and type(like) is not np.ndarray:
            return _dropout(input, p, _seed())
        if features:
            if input.ndim < 2:
                raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
            like = np.empty_like(like, shape=(*input.shape[:2], *[1] * (input.ndim - 2)))
        noise = wrap_beside(_ones_and_zeros(like, p), input)
        if not alpha:
            kind = like.dtype
            if kind.kind in "biu":
                raise RuntimeError(
                    "result type Float can't be cast to the desired output type "
                    + input.dtype.legacy_name
                )
            real = np.float32 if kind.itemsize == 2 else kind.type
            noise.array *= (real(1) / real(1 - p)).astype(kind)
            return multiply(noise)
        # What is dropped becomes selu's lower limit; then mean and variance are 0 and 1 again.
        limit = 1.7580993408473766
        scale = 1 / math.sqrt((limit**2 * p + 1) * (1 - p))
        shift = noise.add(-1).mul_(limit * scale).add_(limit * scale * p)
        return multiply(noise.mul_(scale)).add_(shift)

    def call_(input, p=0.5, train=True):
        return call(input, p, train, True)

    for function, its_name in ((call, name), (call_, name + "_")):
        function.__name__ = function.__qualname__ = its_name
        function.__doc__ = f"{meaning}. Mirrors torch.{its_name}."
        composite(function, method=False)


_kind("dropout", False, False, "Zeros with probability p, and the rest times 1 / (1 - p)")
_kind("feature_dropout", True, False, "Dropout of whole channels (N, C, *)")
_kind("alpha_dropout", False, True, "Dropout that keeps mean 0 and variance 1")
_kind("feature_alpha_dropout", True, True, "alpha_dropout of whole channels (N, C, *)")


@devices.on_its_device
def random_slopes(input, lower, upper) -> Tensor:
    """1 where input > 0, elsewhere uniform from [lower, upper]: what rrelu multiplies by.

    float32 also for 16-bit types, whose product is rounded once.
    """
    if input.array.dtype.kind in "biuc":
        raise NotImplementedError(f"\"rrelu\" not implemented for '{input.dtype.legacy_name}'")
    if not lower <= upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    real = np.float64 if input.array.dtype == np.float64 else np.float32
    slopes = np.ones(input.shape, real)
    below = devices.moved(input.array <= 0, devices.CPU)
    low, high = float(real(lower)), float(real(upper))
    uniforms = random.default_generator.doubles(int(np.count_nonzero(below)))
    slopes[below] = uniforms * (high - low) + low
    return wrap_beside(slopes, input)
