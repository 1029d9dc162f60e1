"""Layers for images: other sizes, channels as pixels, windows as columns.

PyTorch: torch/nn/modules/upsampling.py, pixelshuffle.py, channelshuffle.py, fold.py.
"""

from __future__ import annotations

from .. import functional as F
from .fixed import Fixed
from .module import Module


class Upsample(Module):
    """Resizes the spatial dimensions of (N, C, *) to `size`, or by `scale_factor`.

    mode: see functional.interpolate. Mirrors torch.nn.Upsample.
    """

    def __init__(
        self,
        size=None,
        scale_factor=None,
        mode="nearest",
        align_corners=None,
        recompute_scale_factor=None,
    ):
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample by "nearest". Mirrors torch.nn.UpsamplingNearest2d."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample by "bilinear", corners aligned. Mirrors torch.nn.UpsamplingBilinear2d."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Fixed, function=F.pixel_shuffle, upscale_factor=...):
    """(*, C r^2, H, W) -> (*, C, H r, W r). Mirrors torch.nn.PixelShuffle."""


class PixelUnshuffle(Fixed, function=F.pixel_unshuffle, downscale_factor=...):
    """(*, C, H r, W r) -> (*, C r^2, H, W). Mirrors torch.nn.PixelUnshuffle."""


class ChannelShuffle(Fixed, function=F.channel_shuffle, groups=...):
    """Channels taken in turn from each of `groups`. Mirrors torch.nn.ChannelShuffle."""


class Unfold(Fixed, function=F.unfold, kernel_size=..., dilation=1, padding=0, stride=1):
    """The windows of (N, C, H, W) as columns. Mirrors torch.nn.Unfold."""


class Fold(
    Fixed, function=F.fold, output_size=..., kernel_size=..., dilation=1, padding=0, stride=1
):
    """Adds columns to their places in an image. Mirrors torch.nn.Fold."""
