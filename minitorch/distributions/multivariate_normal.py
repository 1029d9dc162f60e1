"""Normal vectors. PyTorch: torch/distributions/multivariate_normal.py."""

from __future__ import annotations

import math

import minitorch as torch

from . import constraints
from .distribution import Distribution, derived
from .normal import _standard


class MultivariateNormal(Distribution):
    """Vectors with mean `loc` and a covariance. Mirrors torch.distributions.MultivariateNormal.

    The covariance, (*batch, n, n), is given by itself, by its inverse, or by its Cholesky factor,
    which is what is computed with.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc,
        covariance_matrix=None,
        precision_matrix=None,
        scale_tril=None,
        validate_args: bool | None = None,
    ):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix,
            "scale_tril": scale_tril,
            "precision_matrix": precision_matrix,
        }
        given = {name: matrix for name, matrix in given.items() if matrix is not None}
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = torch.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        vars(self)[name] = matrix.expand(*batch, *matrix.shape[-2:])
        self.loc = loc.expand(*batch, loc.shape[-1])
        super().__init__(batch, self.loc.shape[-1:], validate_args)

    @derived
    def scale_tril(self):
        if "covariance_matrix" in vars(self):
            return torch.linalg.cholesky(self.covariance_matrix)
        # P = U U^T with U upper triangular, a Cholesky factorisation read from the far corner.
        # Then P^-1 = (U^-T) (U^-T)^T, and U^-T is lower triangular.
        upper = torch.linalg.cholesky(self.precision_matrix.flip(-2, -1)).flip(-2, -1)
        identity = torch.eye(upper.shape[-1], dtype=upper.dtype, device=upper.device)
        return torch.linalg.solve_triangular(upper.mT, identity, upper=False)

    @derived
    def covariance_matrix(self):
        return self.scale_tril @ self.scale_tril.mT

    @derived
    def precision_matrix(self):
        return torch.cholesky_inverse(self.scale_tril)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return (self.scale_tril**2).sum(-1)

    def rsample(self, sample_shape=()):
        drawn = torch.normal(*_standard(self, sample_shape))
        return self.loc + (self.scale_tril @ drawn.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value):
        self._validate_sample(value)
        offset = (value - self.loc).unsqueeze(-1)
        z = torch.linalg.solve_triangular(self.scale_tril, offset, upper=False)
        n = self._event_shape[0]
        squares = (z**2).sum((-2, -1))
        return -0.5 * (n * math.log(2 * math.pi) + squares) - self._half_log_det()

    def entropy(self):
        n = self._event_shape[0]
        return 0.5 * n * (1 + math.log(2 * math.pi)) + self._half_log_det()

    def _half_log_det(self):
        """Half the logarithm of the covariance's determinant."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
