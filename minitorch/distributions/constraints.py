"""What parameters and samples may be: a test on tensors, and a name for error messages.

PyTorch: torch/distributions/constraints.py, where each is a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import minitorch as torch


@dataclass(frozen=True)
class Constraint:
    """`check(value)` has True for each valid element, or each event of `event_dim` dimensions."""

    name: str
    check: Callable
    event_dim: int = 0
    is_discrete: bool = False

    def __repr__(self) -> str:
        return self.name


def independent(base: Constraint, dims: int) -> Constraint:
    """`base` for whole events: the last `dims` dimensions must be valid together."""
    if dims == 0:
        return base
    return Constraint(
        f"IndependentConstraint({base}, {dims})",
        lambda value: base.check(value).flatten(-dims).all(-1),
        base.event_dim + dims,
        base.is_discrete,
    )


def greater_than(bound) -> Constraint:
    return Constraint(f"GreaterThan(lower_bound={bound})", lambda value: value > bound)


def less_than(bound) -> Constraint:
    return Constraint(f"LessThan(upper_bound={bound})", lambda value: value < bound)


def interval(low, high) -> Constraint:
    name = f"Interval(lower_bound={low}, upper_bound={high})"
    return Constraint(name, lambda value: (value >= low) & (value <= high))


def integer_interval(low: int, high: int) -> Constraint:
    name = f"IntegerInterval(lower_bound={low}, upper_bound={high})"
    check = lambda value: (value % 1 == 0) & (value >= low) & (value <= high)  # noqa: E731
    return Constraint(name, check, is_discrete=True)


def _is_simplex(value):
    return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


def _is_symmetric(value):
    return torch.isclose(value, value.mT, atol=1e-6).flatten(-2).all(-1)


def _is_positive_definite(value):
    symmetric = _is_symmetric(value)
    return (torch.linalg.eigvalsh(value) > 0).all(-1) if symmetric.all() else symmetric


def _is_cholesky(value):
    lower = (value.tril() == value).flatten(-2).all(-1)
    return lower & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


real = Constraint("Real()", lambda value: value == value)
real_vector = independent(real, 1)
positive = greater_than(0.0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda value: (value == 0) | (value == 1), is_discrete=True)
simplex = Constraint("Simplex()", _is_simplex, 1)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, 2)
lower_cholesky = Constraint("LowerCholesky()", _is_cholesky, 2)
