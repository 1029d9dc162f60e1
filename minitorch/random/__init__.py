"""Random numbers: PyTorch's own, from NumPy's copy of the same engine.

Why: a script run under PyTorch and under minitorch with one seed must see the same initial
weights, shuffles and dropout masks, so that any difference between the two runs is a bug.
Both libraries ship the Mersenne Twister MT19937, a stream of 32-bit words; what differs is how
words become numbers. `generator` has the stream, `distributions` the recipes that fill arrays,
`sampling` permutations and weighted choices. All of it works on NumPy arrays.
Invariant: every function takes exactly as many words as PyTorch's does, so the streams of the two
libraries stay in step after any mixture of calls.

Results are PyTorch's bit for bit, but for the last digit of some logarithms and cosines, which
NumPy's vectorised functions round otherwise than the C library, or than PyTorch's own polynomials
for float32. That concerns one in seven float32 numbers of `normal_`, where 16 or more are made
together, and in float64 one in 500 of those, one in 20 of `exponential_` and `log_normal_`, and one
in 300 of `cauchy_`. `bernoulli_` with one probability, and so dropout, follows PyTorch on
processors other than Intel's; on those PyTorch calls a generator inside Intel's MKL.
PyTorch: torch/random.py, aten/src/ATen/core/DistributionsHelper.h.
"""

from __future__ import annotations

from minitorch.random.distributions import (
    bernoulli_,
    cauchy_,
    exponential_,
    geometric_,
    log_normal_,
    normal_,
    randint_,
    random_,
    uniform_,
)
from minitorch.random.generator import Generator
from minitorch.random.sampling import multinomial, randperm

__all__ = [
    "Generator",
    "bernoulli_",
    "cauchy_",
    "default_generator",
    "exponential_",
    "geometric_",
    "initial_seed",
    "log_normal_",
    "manual_seed",
    "multinomial",
    "normal_",
    "randint_",
    "random_",
    "randperm",
    "seed",
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
