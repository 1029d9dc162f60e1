"""The interface of all distributions, and what they share: shapes, checks, expand.

Three shapes: a sample has sample_shape + batch_shape + event_shape. The event is what the
distribution draws at once (a vector, for MultivariateNormal); the batch is how many distributions
the parameters describe; the rest is how many samples were asked for. `log_prob` has one number for
each event.
PyTorch: torch/distributions/distribution.py.
"""

from __future__ import annotations

import copy
from functools import cached_property
from numbers import Number
from typing import Any

import minitorch as torch
from minitorch.autograd.grad_mode import enable_grad


class Distribution:
    """Base class. Mirrors torch.distributions.Distribution.

    A subclass names its parameters in `arg_constraints` (they are attributes, of the batch's
    shape), sets `support`, and implements what it can: rsample or sample, log_prob, mean ...
    Raises ValueError for parameters and samples that are not valid, unless validate_args=False.
    """

    arg_constraints: Any = {}  # name -> Constraint
    support: Any = None
    has_rsample = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their arguments. Off with `python -O`."""
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args: bool | None = None):
        self._batch_shape = torch.Size(batch_shape)
        self._event_shape = torch.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, value in self._given():
                constraint = self.arg_constraints[name]
                if not constraint.check(value).all():
                    raise ValueError(
                        f"Expected parameter {name} ({type(value).__name__} of shape "
                        f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                        f"{constraint!r}, but found invalid values:\n{value}"
                    )

    def _given(self) -> list[tuple]:
        """The parameters that there are, by name: of probs and logits, say, the given one."""
        return [(name, vars(self)[name]) for name in self.arg_constraints if name in vars(self)]

    @property
    def batch_shape(self):
        return self._batch_shape

    @property
    def event_shape(self):
        return self._event_shape

    @property
    def mean(self):
        raise NotImplementedError

    @property
    def mode(self):
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self):
        raise NotImplementedError

    @property
    def stddev(self):
        return self.variance.sqrt()

    def sample(self, sample_shape=()):
        """A sample without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """A sample through which gradients reach the parameters."""
        raise NotImplementedError

    def log_prob(self, value):
        """The logarithm of the density, or of the probability, at `value`."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of at most `value`."""
        raise NotImplementedError

    def icdf(self, value):
        """The inverse of cdf."""
        raise NotImplementedError

    def entropy(self):
        raise NotImplementedError

    def perplexity(self):
        return self.entropy().exp()

    def expand(self, batch_shape) -> Any:
        """The same with the batch expanded to `batch_shape`, without a copy of the parameters."""
        new = copy.copy(self)
        new._batch_shape = torch.Size(batch_shape)
        for name, value in self._given():
            event = value.shape[value.ndim - self.arg_constraints[name].event_dim :]
            vars(new)[name] = value.expand(*batch_shape, *event)
        return new

    def _extended_shape(self, sample_shape=()):
        return torch.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value) -> None:
        if not self._validate_args:
            return
        if not isinstance(value, torch.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        event = value.shape[value.ndim - len(self._event_shape) :]
        if event != self._event_shape:
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        try:
            torch.broadcast_shapes(value.shape, expected)
        except RuntimeError:
            raise ValueError(
                "Value is not broadcastable with batch_shape+event_shape: "
                f"{value.shape} vs {expected}."
            ) from None
        if not self.support.check(value).all():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({self.support!r}) of the distribution {self!r}, "
                f"but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        shown = [
            f"{name}: {value if value.numel() == 1 else value.size()}"
            for name, value in self._given()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def derived(function) -> cached_property:
    """A parameter that follows from the given ones: computed when first asked for, and kept.

    Always with its graph, for the first to ask may be `sample`, which needs none.
    """
    kept = cached_property(enable_grad()(function))
    kept.__doc__ = function.__doc__
    return kept


def broadcast_all(*values) -> tuple:
    """Numbers and tensors as tensors of one shape; numbers get the type of the tensors.

    Raises ValueError for anything else.
    """
    if not all(isinstance(value, (torch.Tensor, Number)) for value in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects "
            "implementing __torch_function__."
        )
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    like: dict = {"dtype": torch.get_default_dtype()}
    if tensors:
        like = {"dtype": tensors[0].dtype, "device": tensors[0].device}
    return torch.broadcast_tensors(
        *[v if isinstance(v, torch.Tensor) else torch.as_tensor(v, **like) for v in values]
    )


def one_of(probs, logits) -> None:
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def clamped(probs):
    """Probabilities whose logarithms, and those of 1 - p, are finite."""
    eps = torch.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)
