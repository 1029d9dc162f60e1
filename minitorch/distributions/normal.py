"""The normal distribution. PyTorch: torch/distributions/normal.py."""

from __future__ import annotations

import math

import minitorch as torch

from . import constraints
from .distribution import Distribution, broadcast_all


class Normal(Distribution):
    """Normal with mean `loc` and standard deviation `scale`. Mirrors torch.distributions.Normal."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def stddev(self):
        return self.scale

    @property
    def variance(self):
        return self.scale**2

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return torch.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape=()):
        return self.loc + self.scale * torch.normal(*_standard(self, sample_shape))

    def log_prob(self, value):
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        return -0.5 * z**2 - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value):
        self._validate_sample(value)
        return 0.5 * (1 + torch.erf((value - self.loc) / (self.scale * math.sqrt(2))))

    def icdf(self, value):
        return self.loc + self.scale * torch.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self):
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


def _standard(distribution, sample_shape) -> tuple:
    """Mean 0 and deviation 1, for torch.normal, of a sample's shape and type."""
    shape = distribution._extended_shape(sample_shape)
    like = {"dtype": distribution.loc.dtype, "device": distribution.loc.device}
    return torch.zeros(shape, **like), torch.ones(shape, **like)
