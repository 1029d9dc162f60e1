"""One toss of a coin. PyTorch: torch/distributions/bernoulli.py."""

from __future__ import annotations

import minitorch as torch
import minitorch.nn.functional as F

from . import constraints
from .distribution import Distribution, broadcast_all, clamped, derived, one_of


class Bernoulli(Distribution):
    """1 with probability `probs`, else 0. Mirrors torch.distributions.Bernoulli."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean

    def __init__(self, probs=None, logits=None, validate_args: bool | None = None):
        one_of(probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        given = self.logits if probs is None else self.probs
        super().__init__(given.shape, validate_args=validate_args)

    @derived
    def probs(self):
        return torch.sigmoid(self.logits)

    @derived
    def logits(self):
        probs = clamped(self.probs)
        return probs.log() - torch.log1p(-probs)

    @property
    def mean(self):
        return self.probs

    @property
    def mode(self):
        return (self.probs >= 0.5).to(self.probs).masked_fill(self.probs == 0.5, torch.nan)

    @property
    def variance(self):
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return torch.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")
