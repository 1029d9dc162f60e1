"""Activations. PyTorch: torch/nn/modules/activation.py."""

from __future__ import annotations

from .. import functional as F
from .. import init
from .fixed import Fixed, Silent
from .module import Module
from .utils import empty_parameter


class Sigmoid(Fixed, function=F.sigmoid):
    """1 / (1 + e^-x). Mirrors torch.nn.Sigmoid."""


class Tanh(Fixed, function=F.tanh):
    """Mirrors torch.nn.Tanh."""


class LogSigmoid(Fixed, function=F.logsigmoid):
    """log(sigmoid(x)). Mirrors torch.nn.LogSigmoid."""


class Softsign(Fixed, function=F.softsign):
    """x / (1 + |x|). Mirrors torch.nn.Softsign."""


class Tanhshrink(Fixed, function=F.tanhshrink):
    """x - tanh(x). Mirrors torch.nn.Tanhshrink."""


class ReLU(Fixed, function=F.relu, inplace=False):
    """max(x, 0). Mirrors torch.nn.ReLU."""


class ReLU6(Fixed, function=F.relu6, inplace=False):
    """min(max(x, 0), 6). Mirrors torch.nn.ReLU6."""


class SiLU(Fixed, function=F.silu, inplace=False):
    """x sigmoid(x). Mirrors torch.nn.SiLU."""


class Mish(Fixed, function=F.mish, inplace=False):
    """x tanh(softplus(x)). Mirrors torch.nn.Mish."""


class Hardsigmoid(Silent, function=F.hardsigmoid, inplace=False):
    """(x + 3) / 6, kept in [0, 1]. Mirrors torch.nn.Hardsigmoid."""


class Hardswish(Silent, function=F.hardswish, inplace=False):
    """x hardsigmoid(x). Mirrors torch.nn.Hardswish."""


class SELU(Fixed, function=F.selu, inplace=False):
    """ELU whose two factors keep mean 0 and variance 1. Mirrors torch.nn.SELU."""


class ELU(Fixed, function=F.elu, alpha=1.0, inplace=False):
    """x where it is above 0, else alpha (e^x - 1). Mirrors torch.nn.ELU."""


class CELU(Fixed, function=F.celu, alpha=1.0, inplace=False):
    """max(x, 0) + min(alpha (e^(x / alpha) - 1), 0). Mirrors torch.nn.CELU."""


class LeakyReLU(Fixed, function=F.leaky_relu, negative_slope=1e-2, inplace=False):
    """x, times `negative_slope` where it is below 0. Mirrors torch.nn.LeakyReLU."""


class Hardtanh(Fixed, function=F.hardtanh, min_val=-1.0, max_val=1.0, inplace=False):
    """x, cut off at both ends. Mirrors torch.nn.Hardtanh."""

    def _fix(self, **arguments) -> None:
        super()._fix(**arguments)
        if not self.max_val > self.min_val:
            raise AssertionError("max_val must be larger than min_val")


class Threshold(Fixed, function=F.threshold, threshold=..., value=..., inplace=False):
    """x where it is above `threshold`, else `value`. Mirrors torch.nn.Threshold."""


class RReLU(Fixed, function=F.rrelu, lower=1 / 8, upper=1 / 3, inplace=False):
    """LeakyReLU; in training with random slopes between the two. Mirrors torch.nn.RReLU."""

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class _Shrink(Fixed):
    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink, function=F.hardshrink, lambd=0.5):
    """x, but 0 between -lambd and lambd. Mirrors torch.nn.Hardshrink."""


class Softshrink(_Shrink, function=F.softshrink, lambd=0.5):
    """x moved towards 0 by `lambd`. Mirrors torch.nn.Softshrink."""


class Softplus(Fixed, function=F.softplus, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta. Mirrors torch.nn.Softplus."""


class GELU(Fixed, function=F.gelu, approximate="none"):
    """x Phi(x), Phi the normal distribution's. Mirrors torch.nn.GELU."""

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class GLU(Fixed, function=F.glu, dim=-1):
    """The first half along `dim` times the sigmoid of the second. Mirrors torch.nn.GLU."""


class Softmax(Fixed, function=F.softmax, dim=None):
    """e^x, scaled to the sum 1 along `dim`. Mirrors torch.nn.Softmax."""


class LogSoftmax(Fixed, function=F.log_softmax, dim=None):
    """log(softmax(x)) along `dim`. Mirrors torch.nn.LogSoftmax."""


class Softmin(Fixed, function=F.softmin, dim=None):
    """softmax(-x) along `dim`. Mirrors torch.nn.Softmin."""


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W). Mirrors torch.nn.Softmax2d."""

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected 3D or 4D input, got {input.dim()}D")
        return F.softmax(input, -3)


class PReLU(Module):
    """x, times a learned `weight` where it is below 0: one, or one a channel (N, C, *).

    Mirrors torch.nn.PReLU.
    """

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = empty_parameter(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
