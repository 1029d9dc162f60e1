"""The Kullback-Leibler divergence, a table of formulas. PyTorch: torch/distributions/kl.py."""

from __future__ import annotations

from collections.abc import Callable

import minitorch as torch
import minitorch.nn.functional as F

from .bernoulli import Bernoulli
from .categorical import Categorical
from .independent import Independent
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .uniform import Uniform

_formulas: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type):
    """Decorates the formula of kl_divergence(p, q) for these types and their subclasses."""

    def decorate(formula):
        _formulas[type_p, type_q] = formula
        return formula

    return decorate


def kl_divergence(p, q):
    """The expectation, under p, of log p - log q; one number for each of the batch.

    Raises NotImplementedError for pairs without a formula. Mirrors torch's function.
    """
    for type_p in type(p).__mro__:
        for type_q in type(q).__mro__:
            if (type_p, type_q) in _formulas:
                return _formulas[type_p, type_q](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {p.__class__.__name__} "
        f"and q type {q.__class__.__name__}"
    )


@register_kl(Normal, Normal)
def _normal(p, q):
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(Uniform, Uniform)
def _uniform(p, q):
    inside = (q.low <= p.low) & (p.high <= q.high)
    return ((q.high - q.low) / (p.high - p.low)).log().masked_fill(~inside, torch.inf)


def _weighted(weight, difference, other):
    """weight * difference. 0 * anything is 0, and what `other` never gives is infinitely far."""
    return (weight * difference).masked_fill(other == 0, torch.inf).masked_fill(weight == 0, 0)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p, q):
    ones = _weighted(p.probs, F.softplus(-q.logits) - F.softplus(-p.logits), q.probs)
    zeros = _weighted(1 - p.probs, F.softplus(q.logits) - F.softplus(p.logits), 1 - q.probs)
    return ones + zeros


@register_kl(Categorical, Categorical)
def _categorical(p, q):
    return _weighted(p.probs, p.logits - q.logits, q.probs).sum(-1)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p, q):
    n = p.event_shape[0]
    if n != q.event_shape[0]:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    solve = torch.linalg.solve_triangular
    spread = solve(q.scale_tril, p.scale_tril, upper=False)
    offset = solve(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False)
    squares = (spread**2).sum((-2, -1)) + (offset**2).sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (squares - n)


@register_kl(Independent, Independent)
def _independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
