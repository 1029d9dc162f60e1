"""Channels as pixels, and channels in another order.

PyTorch: aten/src/ATen/native/PixelShuffle.cpp, ChanelShuffle.cpp.
"""

from __future__ import annotations

from ...dispatch.declare import composite


@composite(method=False)
def pixel_shuffle(input, upscale_factor):
    """(*, C r^2, H, W) -> (*, C, H r, W r). Mirrors torch.nn.functional.pixel_shuffle."""
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got {input.ndim}"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    if r == 1:
        return input.clone()
    *outer, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(outer)
    x = input.reshape(*outer, c // (r * r), r, r, h, w)
    x = x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*outer, c // (r * r), h * r, w * r)


@composite(method=False)
def pixel_unshuffle(input, downscale_factor):
    """(*, C, H r, W r) -> (*, C r^2, H, W). Mirrors torch.nn.functional.pixel_unshuffle."""
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got {input.ndim}"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    if r == 1:
        return input.clone()
    *outer, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(
            "pixel_unshuffle expects height and width to be divisible by downscale_factor, but "
            f"they are {h} and {w}, and downscale_factor is {r}"
        )
    n = len(outer)
    x = input.reshape(*outer, c, h // r, r, w // r, r)
    x = x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*outer, c * r * r, h // r, w // r)


@composite(method=False)
def channel_shuffle(input, groups):
    """Channels (N, C, *) taken in turn from each of `groups`. Mirrors torch's channel_shuffle."""
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    n, c, *spatial = input.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by a positive groups. Got {c} channels and "
            f"{groups} groups."
        )
    x = input.reshape(n, groups, c // groups, *spatial).transpose(1, 2)
    return x.reshape(input.shape)
