"""One of n categories. PyTorch: torch/distributions/categorical.py."""

from __future__ import annotations

import minitorch as torch

from . import constraints
from .distribution import Distribution, clamped, derived, one_of


class Categorical(Distribution):
    """k with probability probs[..., k]. Mirrors torch.distributions.Categorical.

    probs: (*batch, n), scaled so that they sum to 1; or logits, of which they are the softmax.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, probs=None, logits=None, validate_args: bool | None = None):
        one_of(probs, logits)
        given = logits if probs is None else probs
        if given.dim() < 1:
            name = "logits" if probs is None else "probs"
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits - logits.logsumexp(-1, keepdim=True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @derived
    def probs(self):
        return torch.softmax(self.logits, -1)

    @derived
    def logits(self):
        return clamped(self.probs).log()

    @property
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self):
        return torch.full(self._batch_shape, torch.nan).to(self.probs)

    variance = mean

    @property
    def mode(self):
        return self.probs.argmax(-1)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        rows = self.probs.reshape(-1, self._num_events)
        drawn = torch.multinomial(rows.detach(), torch.Size(sample_shape).numel(), True)
        return drawn.T.reshape(shape)

    def log_prob(self, value):
        self._validate_sample(value)
        index, logits = torch.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self):
        logits = self.logits.clamp(min=torch.finfo(self.logits.dtype).min)  # 0 * log 0 is 0
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True):
        """All categories, along a first dimension; `expand`: for each of the batch."""
        values = torch.arange(self._num_events, device=vars(self)[self._given()[0][0]].device)
        values = values.view(-1, *[1] * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values
