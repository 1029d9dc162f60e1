"""Activations. PyTorch: torch/nn/modules/activation.py."""

from __future__ import annotations

from .. import functional as F
from .module import Module


class Sigmoid(Module):
    """1 / (1 + e^-x). Mirrors torch.nn.Sigmoid."""

    def forward(self, input):
        return F.sigmoid(input)


class Tanh(Module):
    """Mirrors torch.nn.Tanh."""

    def forward(self, input):
        return F.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(x)). Mirrors torch.nn.LogSigmoid."""

    def forward(self, input):
        return F.logsigmoid(input)


class _MaybeInPlace(Module):
    """An activation without parameters that can overwrite its input."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_MaybeInPlace):
    """max(x, 0). Mirrors torch.nn.ReLU."""

    def forward(self, input):
        return F.relu(input, self.inplace)


class ReLU6(_MaybeInPlace):
    """min(max(x, 0), 6). Mirrors torch.nn.ReLU6."""

    def forward(self, input):
        return F.relu6(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class SiLU(_MaybeInPlace):
    """x sigmoid(x). Mirrors torch.nn.SiLU."""

    def forward(self, input):
        return F.silu(input, self.inplace)


class LeakyReLU(Module):
    """x, times `negative_slope` where it is below 0. Mirrors torch.nn.LeakyReLU."""

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where it is above 0, else alpha (e^x - 1). Mirrors torch.nn.ELU."""

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Softplus(Module):
    """log(1 + e^(beta x)) / beta. Mirrors torch.nn.Softplus."""

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class GELU(Module):
    """x Phi(x), Phi the normal distribution's. Mirrors torch.nn.GELU."""

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """e^x, scaled to the sum 1 along `dim`. Mirrors torch.nn.Softmax."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along `dim`. Mirrors torch.nn.LogSoftmax."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
