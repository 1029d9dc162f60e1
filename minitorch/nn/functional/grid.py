"""Images seen through a grid of places: affine maps and other warps.

PyTorch: torch/nn/functional.py, aten/src/ATen/native/GridSampler.h.
"""

from __future__ import annotations

import itertools

import numpy as np

from ... import devices
from ...dispatch.declare import functions
from ...ops.nn import _embedding
from ...tensor import wrap, wrap_beside


def affine_grid(theta, size, align_corners=None):
    """Where an affine map theta takes each pixel: for grid_sample. Mirrors torch's affine_grid.

    theta (N, 2, 3) and size (N, C, H, W) -> (N, H, W, 2), or (N, 3, 4) and (N, C, D, H, W).
    """
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    d = len(size) - 2
    if d not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    if tuple(theta.shape[1:]) != (d, d + 1):
        raise ValueError(
            f"Expected a batch of {d}D affine matrices of shape Nx{d}x{d + 1} for size {size}. "
            f"Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    places = []
    for n in size[2:]:
        place = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        places.append(place if align_corners else place * ((n - 1) / n))
    grid = np.stack([*reversed(np.meshgrid(*places, indexing="ij")), np.ones(size[2:])], -1)
    base = wrap_beside(grid.reshape(-1, d + 1).astype(theta.array.dtype), theta)
    return (base @ theta.transpose(1, 2)).reshape(size[0], *size[2:], d)


@devices.on_its_device
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The values of (N, C, H, W) at the places (N, h, w, 2) -> (N, C, h, w); or in 3 dimensions.

    Places are (x, y), from -1 to 1 over the image. mode: "bilinear", "nearest" or "bicubic";
    padding_mode, what is outside: "zeros", "border" or "reflection". Mirrors
    torch.nn.functional.grid_sample.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    d = input.ndim - 2
    if d not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != d:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, the "
            f"last of which has one number for each spatial dimension, but got {list(input.shape)} "
            f"and {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and d == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    n, channels, *shape = input.shape
    rows = input.movedim(1, -1).reshape(-1, channels)  # one for each pixel

    # For each dimension, the last one first in the grid: where, and the pixel to the left.
    places = []
    for k, m in enumerate(shape):
        x = grid[..., d - 1 - k]
        x = (x + 1) * ((m - 1) / 2) if align_corners else ((x + 1) * m - 1) / 2
        places.append(x if mode == "bicubic" else _inside(x, m, padding_mode, align_corners))
    if mode == "nearest":
        lefts, offsets = [np.rint(x.array) for x in places], (0,)
    else:
        lefts = [np.floor(x.array) for x in places]
        offsets = (-1, 0, 1, 2) if mode == "bicubic" else (0, 1)

    total = None
    for corner in itertools.product(offsets, repeat=d):
        index = np.arange(n, like=input.array).reshape(-1, *[1] * d)
        seen, weight = True, None
        for x, left, offset, m in zip(places, lefts, corner, shape, strict=True):
            at = left + offset
            if mode == "bicubic":
                at = _inside(wrap(at), m, padding_mode, align_corners).array
                factor = _cubic_weight(x - wrap(left + offset))
            elif mode == "bilinear":
                factor = 1 - (x - wrap(left + offset)).abs()
            else:
                factor = None
            if factor is not None:
                weight = factor if weight is None else weight * factor
            seen = seen & (at >= 0) & (at < m)
            at = np.where((at >= 0) & (at < m), at, 0)  # also nan
            index = index * m + at.astype(np.int64)
        values = _embedding(rows, wrap(np.broadcast_to(index, grid.shape[:-1])))
        values = values * wrap(seen[..., None].astype(input.array.dtype))
        values = values if weight is None else values * weight.unsqueeze(-1)
        total = values if total is None else total + values
    return total.movedim(-1, 1).contiguous()


def _inside(x, m: int, padding_mode: str, align_corners):
    """Coordinates outside of the image brought inside, as padding_mode says."""
    if padding_mode == "reflection":
        low, high = (0, m - 1) if align_corners else (-0.5, m - 0.5)
        span = high - low
        if span == 0:
            return x * 0
        distance = (x - low).abs()
        flips = np.floor(distance.array / span)
        rest = distance - wrap((flips * span).astype(x.array.dtype))
        x = functions["where"](wrap(flips % 2 == 0), rest + low, high - rest)
    return x if padding_mode == "zeros" else x.clamp(0, m - 1)


def _cubic_weight(t, a=-0.75):
    t = t.abs()
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    return functions["where"](t <= 1, near, (((t - 5) * t + 8) * t - 4) * a)
