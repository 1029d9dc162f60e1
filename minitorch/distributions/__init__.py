"""Probability distributions: sample from them, and differentiate their log-probabilities.

Those that most scripts use: policies draw from Categorical, autoencoders from Normal. Everything
is made of operations, so gradients come by themselves: through `log_prob`, and through `rsample`,
which draws from a fixed distribution and transforms what it has drawn (the reparametrisation
trick).
PyTorch: torch/distributions.
"""

from . import constraints
from .bernoulli import Bernoulli
from .categorical import Categorical
from .distribution import Distribution
from .independent import Independent
from .kl import kl_divergence, register_kl
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .uniform import Uniform

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Independent",
    "MultivariateNormal",
    "Normal",
    "Uniform",
    "kl_divergence",
    "register_kl",
]
