"""Padding. PyTorch: aten/src/ATen/native/PadNd.cpp, ReflectionPad.cpp."""

from __future__ import annotations

import numpy as np

from ...dispatch.declare import composite
from ...ops.convolution import _pad_constant
from ...ops.resample import _resample


def pad(input, pad, mode="constant", value=None):
    """Widen the last dimension by `pad` = (before, after), the one before by the next two, ...

    Negative widths cut off. mode: "constant" fills with `value`; "reflect" mirrors the inside,
    "replicate" repeats the border, "circular" continues with the other end: these three only for
    the spatial dimensions of (N, C, *) or (C, *). Mirrors torch.nn.functional.pad.
    """
    pairs = _pairs(input, pad)
    if mode == "constant":
        return _constant(input, pairs, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _PLACES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if not 1 <= len(pairs) <= 3 or input.ndim - len(pairs) not in (1, 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: "
            f"got {len(pad)} widths for a tensor of {input.ndim} dimensions"
        )
    if 0 in input.shape[1:]:
        raise RuntimeError(
            f"Expected a tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    limit = {"reflect": -1, "circular": 0}.get(mode, float("inf"))
    for i, (before, after) in enumerate(pairs):
        dim = input.ndim - 1 - i
        extent = input.shape[dim]
        if max(before, after) > extent + limit:
            raise RuntimeError(
                f"Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
            )
        if extent + before + after < (1 if mode != "circular" else 0):
            raise RuntimeError(
                f"input (length: {extent}) is too small: padding ({before}, {after}) leaves nothing"
            )
        if before or after:
            first, last = 0, extent
            if mode == "circular":  # goes round in what is left after cutting off
                first, last = max(-before, 0), extent + min(after, 0)
            places = np.arange(-before, extent + after) - first
            places = _PLACES[mode](places, last - first) + first
            input = _resample(input, dim, ((places, None),))
    return input if any(pad) else input.clone()


@composite(method=False)
def constant_pad_nd(input, pad, value=0):
    """`pad` with a constant. Mirrors torch.constant_pad_nd."""
    return _constant(input, _pairs(input, pad), value)


def _pairs(input, pad) -> list[tuple]:
    """The widths (before, after) of the dimensions, the last one's first."""
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"Padding length must be even and at most twice the number of dimensions of the input, "
            f"but got {len(pad)} widths for a tensor of {input.ndim} dimensions"
        )
    return [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]


_PLACES = {
    "reflect": lambda place, n: n - 1 - np.abs(n - 1 - np.abs(place)),
    "replicate": lambda place, n: np.clip(place, 0, n - 1),
    "circular": lambda place, n: place % n,
}


def _constant(input, pairs, value):
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for dim, (before, after) in enumerate(widths):
        if before < 0 or after < 0:
            start, extent = max(-before, 0), input.shape[dim] + min(before, 0) + min(after, 0)
            if extent < 0:
                raise RuntimeError(
                    f"The input size {input.shape[dim]}, plus negative padding {before} and "
                    f"{after}, resulted in a negative output size"
                )
            input = input.narrow(dim, start, extent)
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    return _pad_constant(input, widths, value)
