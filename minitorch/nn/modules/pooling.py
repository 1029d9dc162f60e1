"""Pooling. The classes for one, two and three dimensions differ in nothing but that.

PyTorch: torch/nn/modules/pooling.py.
"""

from __future__ import annotations

from .. import functional as F
from .fixed import Fixed
from .utils import ntuple

_MAX = {"stride": None, "padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False}
_AVG = {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True}


class _Strided(Fixed):
    """With a window for each stride: `stride` is kernel_size by default."""

    def _fix(self, **arguments) -> None:
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        super()._fix(**arguments)


class _MaxPool(_Strided):
    """The largest element of every window: (N, C, *) -> (N, C, *); N may be missing."""

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool, function=F.max_pool1d, kernel_size=..., **_MAX):
    """The largest element of every window: (N, C, L) -> (N, C, L'). Mirrors torch.nn.MaxPool1d."""


class MaxPool2d(_MaxPool, function=F.max_pool2d, kernel_size=..., **_MAX):
    """The largest element of every window: (N, C, H, W) -> (N, C, H', W'); N may be missing.

    Mirrors torch.nn.MaxPool2d.
    """


class MaxPool3d(_MaxPool, function=F.max_pool3d, kernel_size=..., **_MAX):
    """The largest element of every window: (N, C, D, H, W). Mirrors torch.nn.MaxPool3d."""


class _AvgPool(_Strided):
    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool, function=F.avg_pool1d, kernel_size=..., **_AVG):
    """The mean of every window: (N, C, L) -> (N, C, L'). Mirrors torch.nn.AvgPool1d."""

    def _fix(self, **arguments) -> None:
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        for name in ("kernel_size", "stride", "padding"):
            arguments[name] = ntuple(arguments[name], 1)
        super()._fix(**arguments)


class AvgPool2d(_AvgPool, function=F.avg_pool2d, kernel_size=..., **_AVG, divisor_override=None):
    """The mean of every window: (N, C, H, W) -> (N, C, H', W'). Mirrors torch.nn.AvgPool2d."""


class AvgPool3d(_AvgPool, function=F.avg_pool3d, kernel_size=..., **_AVG, divisor_override=None):
    """The mean of every window: (N, C, D, H, W). Mirrors torch.nn.AvgPool3d."""


class AdaptiveAvgPool1d(Fixed, function=F.adaptive_avg_pool1d, output_size=...):
    """The means of `output_size` windows: (N, C, L). Mirrors torch.nn.AdaptiveAvgPool1d."""


class AdaptiveAvgPool2d(Fixed, function=F.adaptive_avg_pool2d, output_size=...):
    """The means of `output_size` windows: (N, C, H, W). Mirrors torch.nn.AdaptiveAvgPool2d."""


class AdaptiveAvgPool3d(Fixed, function=F.adaptive_avg_pool3d, output_size=...):
    """The means of `output_size` windows: (N, C, D, H, W). Mirrors torch's AdaptiveAvgPool3d."""


class _AdaptiveMaxPool(Fixed):
    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(
    _AdaptiveMaxPool, function=F.adaptive_max_pool1d, output_size=..., return_indices=False
):
    """The maxima of `output_size` windows: (N, C, L). Mirrors torch.nn.AdaptiveMaxPool1d."""


class AdaptiveMaxPool2d(
    _AdaptiveMaxPool, function=F.adaptive_max_pool2d, output_size=..., return_indices=False
):
    """The maxima of `output_size` windows: (N, C, H, W). Mirrors torch.nn.AdaptiveMaxPool2d."""


class AdaptiveMaxPool3d(
    _AdaptiveMaxPool, function=F.adaptive_max_pool3d, output_size=..., return_indices=False
):
    """The maxima of `output_size` windows: (N, C, D, H, W). Mirrors torch's AdaptiveMaxPool3d."""


class LPPool1d(
    Fixed, function=F.lp_pool1d, norm_type=..., kernel_size=..., stride=None, ceil_mode=False
):
    """The p-norm of every window: (N, C, L). Mirrors torch.nn.LPPool1d."""


class LPPool2d(
    Fixed, function=F.lp_pool2d, norm_type=..., kernel_size=..., stride=None, ceil_mode=False
):
    """The p-norm of every window: (N, C, H, W). Mirrors torch.nn.LPPool2d."""


class LPPool3d(
    Fixed, function=F.lp_pool3d, norm_type=..., kernel_size=..., stride=None, ceil_mode=False
):
    """The p-norm of every window: (N, C, D, H, W). Mirrors torch.nn.LPPool3d."""


class _MaxUnpool(_Strided):
    spatial: int

    def _fix(self, **arguments) -> None:
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        super()._fix(**{n: ntuple(v, self.spatial) for n, v in arguments.items()})

    def forward(self, input, indices, output_size=None):
        sizes = (self.kernel_size, self.stride, self.padding)
        return self._function(input, indices, *sizes, output_size)


class MaxUnpool1d(_MaxUnpool, function=F.max_unpool1d, kernel_size=..., stride=None, padding=0):
    """The reverse of MaxPool1d, 0 but for the maxima. Mirrors torch.nn.MaxUnpool1d."""

    spatial = 1


class MaxUnpool2d(_MaxUnpool, function=F.max_unpool2d, kernel_size=..., stride=None, padding=0):
    """The reverse of MaxPool2d, 0 but for the maxima. Mirrors torch.nn.MaxUnpool2d."""

    spatial = 2


class MaxUnpool3d(_MaxUnpool, function=F.max_unpool3d, kernel_size=..., stride=None, padding=0):
    """The reverse of MaxPool3d, 0 but for the maxima. Mirrors torch.nn.MaxUnpool3d."""

    spatial = 3
