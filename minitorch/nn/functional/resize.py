"""Images of other sizes. Every mode but "area" is a separable weighted sum (ops/resample.py).

PyTorch: torch/nn/functional.py, aten/src/ATen/native/UpSample.h.
"""

from __future__ import annotations

import math

import numpy as np

from ...ops.resample import _resample
from ...tensor import Tensor
from . import pooling

_SPATIAL = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize the spatial dimensions of (N, C, *) to `size`, or by `scale_factor`.

    mode: "nearest", "nearest-exact", "linear" (1 spatial dimension), "bilinear", "bicubic" (2),
    "trilinear" (3) or "area". align_corners: the corner pixels' centres keep their places, not the
    corners. antialias: shrinking with "bilinear" and "bicubic" widens their windows. Mirrors
    torch.nn.functional.interpolate.
    """
    n = input.ndim - 2
    if mode not in ("nearest", "nearest-exact", "area", *_SPATIAL):
        raise NotImplementedError(f"interpolate: mode {mode!r} is not known")
    if align_corners is not None and mode not in _SPATIAL:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear "
            "| bicubic | trilinear"
        )
    if not 1 <= n <= 3 or _SPATIAL.get(mode, n) != n:
        raise NotImplementedError(
            f"interpolate: got a {input.ndim}D input for mode {mode!r}, which takes "
            f"{_SPATIAL.get(mode, '1 to 3')} spatial dimensions after (N, C)"
        )
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "only one of size or scale_factor should be defined"
            if size is not None
            else "either size or scale_factor should be defined"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    shape = input.shape[2:]
    scales: list = [None] * n
    if size is not None:
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        sizes = _given(size, n, "size")
    else:
        factors = _given(scale_factor, n, "scale_factor")
        sizes = [math.floor(m * f) for m, f in zip(shape, factors, strict=True)]
        if not recompute_scale_factor and mode != "area":
            scales = [1 / f for f in factors]
    if min(sizes) <= 0 or 0 in shape or input.shape[1] == 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input (H: {list(shape)}) "
            f"output (H: {sizes})"
        )
    if mode == "area":
        adaptive = f"adaptive_avg_pool{n}d"
        return getattr(pooling, adaptive)(input, tuple(sizes))
    wide = np.float64 if input.array.dtype == np.float64 else np.float32
    out = input
    for dim, (m, k, scale) in enumerate(zip(shape, sizes, scales, strict=True), start=2):
        taps = _taps(mode, m, k, scale, align_corners, antialias, wide)
        out = _resample(out, dim, taps)
    return out


def _given(value, n: int, name: str) -> list:
    if isinstance(value, (list, tuple)):
        if len(value) != n:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions: {name} must "
                f"have {n} values, got {value}"
            )
        return [v.item() if isinstance(v, Tensor) else v for v in value]
    return [value] * n


def _taps(mode, m: int, n: int, scale, align_corners, antialias, wide) -> tuple:
    """Where the n pixels of the result look, among the m of the input, and with what weights."""
    i = np.arange(n)
    step = wide(m / n if scale is None else scale)
    if mode.startswith("nearest"):
        place = np.floor((i + (0.5 if mode == "nearest-exact" else 0)) * step).astype(np.int64)
        return ((np.minimum(place, m - 1), None),)
    cubic = mode == "bicubic"
    if align_corners:
        step = wide((m - 1) / (n - 1) if n > 1 else 0)
    if antialias:
        return _wide_taps(cubic, i, m, step)
    x = i.astype(wide) * step if align_corners else (i + wide(0.5)) * step - wide(0.5)
    if not cubic:
        x = np.maximum(x, 0)
    low = np.minimum(np.floor(x), m - 1) if not cubic else np.floor(x)
    offsets = (-1, 0, 1, 2) if cubic else (0, 1)
    filter = _cubic if cubic else _triangle
    first = low.astype(np.int64)
    return tuple((np.clip(first + k, 0, m - 1), filter(x - low - k).astype(wide)) for k in offsets)


def _triangle(t):
    return np.maximum(1 - np.abs(t), 0)


def _cubic(t, a=-0.75):
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    return np.where(t <= 1, near, np.where(t < 2, (((t - 5) * t + 8) * t - 4) * a, 0))


def _wide_taps(cubic, i, m, step) -> tuple:
    """Taps of a window as wide as `step`, over which the filter is stretched."""
    stretch = max(step, 1)
    support = (2 if cubic else 1) * stretch
    centre = (i + 0.5) * step
    start = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.int64), m)
    filter = (lambda t: _cubic(t, -0.5)) if cubic else _triangle
    places = [start + k for k in range((stop - start).max())]
    weights = [np.where(p < stop, filter((p - centre + 0.5) / stretch), 0) for p in places]
    total = sum(weights)
    return tuple(
        (np.minimum(p, m - 1), (w / total).astype(step.dtype))
        for p, w in zip(places, weights, strict=True)
    )


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """An old name of interpolate. Mirrors torch.nn.functional.upsample."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """interpolate by "nearest". Mirrors torch.nn.functional.upsample_nearest."""
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """interpolate by "bilinear", corners aligned. Mirrors torch's upsample_bilinear."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
