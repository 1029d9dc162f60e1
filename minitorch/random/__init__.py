"""Random numbers: PyTorch's own, from NumPy's copy of the same engine.

Why: a script run under PyTorch and under minitorch with one seed must see the same initial
weights, shuffles and dropout masks, so that any difference between the two runs is a bug.
Both libraries ship the Mersenne Twister MT19937, a stream of 32-bit words; what differs is how
words become numbers. `generator` has the stream, `distributions` the recipes that fill arrays (with
`normals` for one of them), `sampling` permutations and weighted choices, `rounding` what it takes
to get the last digit right. All of it works on NumPy arrays.
Invariant: every function takes exactly as many words as PyTorch's does, so the streams of the two
libraries stay in step after any mixture of calls. Which numbers are PyTorch's bit for bit, and
which (float64, by the thousand) but for the last digit: docs/random.md.
PyTorch: torch/random.py, aten/src/ATen/core/DistributionsHelper.h.
"""

from __future__ import annotations

from contextlib import contextmanager

from minitorch.random.distributions import (
    bernoulli_,
    cauchy_,
    exponential_,
    geometric_,
    integers_of,
    log_normal_,
    normal_,
    randint_,
    random_,
    uniform_,
)
from minitorch.random.generator import Generator
from minitorch.random.sampling import multinomial, poisson, randperm

__all__ = [
    "Generator",
    "bernoulli_",
    "cauchy_",
    "default_generator",
    "exponential_",
    "fork_rng",
    "geometric_",
    "get_rng_state",
    "initial_seed",
    "integers_of",
    "log_normal_",
    "manual_seed",
    "multinomial",
    "normal_",
    "poisson",
    "randint_",
    "random_",
    "randperm",
    "seed",
    "set_rng_state",
    "uniform_",
]

default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it. Mirrors torch.manual_seed."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the system's randomness. Mirrors torch.seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed. Mirrors torch.initial_seed."""
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state, a uint8 tensor. Mirrors torch.get_rng_state."""
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Put the default generator into a state of `get_rng_state`. Mirrors torch.set_rng_state."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices=None, enabled=True, device_type=None):
    """Inside, random numbers are drawn as ever; after it, as if none had been drawn.

    devices, device_type: of GPUs, which there are none of yet. Mirrors torch.random.fork_rng.
    """
    state = default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(state)
