"""Normalisation of each channel over the batch, or over each sample: with running statistics.

PyTorch: torch/nn/modules/batchnorm.py, instancenorm.py.
"""

from __future__ import annotations

from ...dispatch.declare import functions
from .. import functional as F
from .. import init
from .module import Module
from .utils import empty_parameter


class _Norm(Module):
    """What both have: weight and bias if `affine`, running mean and variance if wanted."""

    ndims: tuple  # what the input may have

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = None
            if wanted:
                parameter = empty_parameter(num_features, device=device, dtype=dtype)
            self.register_parameter(name, parameter)
        for name in ("running_mean", "running_var"):
            buffer = None
            if track_running_stats:
                buffer = functions["empty"](num_features, device=device, dtype=dtype)
            self.register_buffer(name, buffer)
        counter = functions["tensor"](0) if track_running_stats else None
        self.register_buffer("num_batches_tracked", counter)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input) -> None:
        if input.dim() not in self.ndims:
            expected = " or ".join(f"{n}D" for n in self.ndims)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    def forward(self, input):
        self._check(input)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the mean of all batches, each of the same weight
                momentum = 1 / float(self.num_batches_tracked)
        own = self.training or (self.running_mean is None and self.running_var is None)
        keeps = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if keeps else None,
            self.running_var if keeps else None,
            self.weight,
            self.bias,
            own,
            0.0 if momentum is None else momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Each channel of (N, C) or (N, C, L) to mean 0 and variance 1. Mirrors torch.nn.BatchNorm1d.

    In training by the batch's statistics, in evaluation by the running ones. momentum: how far
    these move towards each batch's; None takes the mean of all batches.
    """

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for (N, C, H, W). Mirrors torch.nn.BatchNorm2d."""

    ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for (N, C, D, H, W). Mirrors torch.nn.BatchNorm3d."""

    ndims = (5,)


class _InstanceNorm(_Norm):
    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=False,
        track_running_stats=False,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        options = (affine, track_running_stats, device, dtype)
        super().__init__(num_features, eps, momentum, *options, bias=bias)

    def forward(self, input):
        self._check(input)
        unbatched = input.dim() == self.ndims[0]
        channels = input.shape[0 if unbatched else 1]
        if self.affine and channels != self.num_features:
            raise ValueError(
                f"expected input's size at dim={0 if unbatched else 1} to match num_features "
                f"({self.num_features}), but got: {channels}."
            )
        out = F.instance_norm(
            input.unsqueeze(0) if unbatched else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out.squeeze(0) if unbatched else out


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of (N, C, L) by itself. Mirrors torch.nn.InstanceNorm1d."""

    ndims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for (N, C, H, W). Mirrors torch.nn.InstanceNorm2d."""

    ndims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for (N, C, D, H, W). Mirrors torch.nn.InstanceNorm3d."""

    ndims = (4, 5)
