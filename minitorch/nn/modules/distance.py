"""Distances. PyTorch: torch/nn/modules/distance.py."""

from __future__ import annotations

from .. import functional as F
from .fixed import Silent


class PairwiseDistance(Silent, function=F.pairwise_distance, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 over the last dimension. Mirrors torch.nn.PairwiseDistance."""

    @property
    def norm(self):
        """What PyTorch calls p."""
        return self.p


class CosineSimilarity(Silent, function=F.cosine_similarity, dim=1, eps=1e-8):
    """The cosine of the angle between x1 and x2 along `dim`. Mirrors torch.nn.CosineSimilarity."""
