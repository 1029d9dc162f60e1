"""Differences of neighbours, slopes, and the areas under a line through points.

PyTorch: aten/src/ATen/native/ReduceOps.cpp (diff, gradient), Integration.cpp.
"""

from __future__ import annotations

from .. import dtypes
from ..creation import full
from ..dispatch.declare import composite
from ..dispatch.dims import axes, axis
from ..dispatch.errors import require
from ..ops.join import cat


def _neighbours(input, dim):
    """All but the last along `dim`, and all but the first."""
    n = max(input.shape[dim] - 1, 0)
    return input.narrow(dim, 0, n), input.narrow(dim, input.shape[dim] - n, n)


@composite(out=True)
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """The differences of neighbours along `dim`, `n` times over. Mirrors torch.diff.

    `prepend`, `append`: what to put before and behind `input` first.
    """
    fits = input.ndim and n >= 0
    require(fits, "diff expects input to be at least one-dimensional, and n >= 0")
    if n == 0:
        return input.clone()
    pieces = [t for t in (prepend, input, append) if t is not None]
    out = input if len(pieces) == 1 else cat(pieces, dim)
    for _ in range(min(n, out.shape[dim])):
        before, behind = _neighbours(out, dim)
        out = behind != before if out.array.dtype.kind == "b" else behind - before
    return out


def _areas(y, x, dx, dim):
    """Twice the area of each piece under the line through the points."""
    before, behind = _neighbours(y, dim)
    if x is None:
        return before + behind if dx is None else (before + behind) * dx
    vector = x.ndim == 1 and y.ndim > 1
    return (before + behind) * (_along(diff(x), dim, y) if vector else diff(x, dim=dim))


def _along(vector, dim, like):
    return vector.reshape(-1, *(1,) * (like.ndim - 1 - axis(dim, like.ndim)))


@composite(method=False, aliases=("trapz",))
def trapezoid(y, x=None, *, dx=None, dim=-1):
    """The integral of `y` along `dim` by the trapezoidal rule, at the points `x` or `dx` apart.

    Mirrors torch.trapezoid.
    """
    return _areas(y, x, dx, dim).sum(dim) / 2


@composite(method=False)
def cumulative_trapezoid(y, x=None, *, dx=None, dim=-1):
    """The integrals up to the second, third, ... point. Mirrors torch.cumulative_trapezoid."""
    return _areas(y, x, dx, dim).cumsum(dim) / 2


@composite(method=False)
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """The derivative of `input` along each dimension by central differences.

    `spacing`: the distance of the points; a list has one, or a tensor of coordinates, for each
    dimension. `edge_order`: 1 or 2, of the differences at the two ends. Mirrors torch.gradient.
    """
    dims = axes(dim, input.ndim)
    spacing = 1 if spacing is None else spacing
    spacings = spacing if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    require(
        len(spacings) == len(dims) and edge_order in (1, 2),
        "torch.gradient expected a spacing for each of {} dimensions, and edge_order 1 or 2, but "
        "got {} spacings and edge_order {}",
        *(len(dims), len(spacings), edge_order),
    )
    return tuple([_slopes(input, h, d, edge_order) for h, d in zip(spacings, dims, strict=True)])


def _slopes(y, spacing, dim, edge_order):
    n = y.shape[dim]
    enough = n > edge_order
    require(enough, "torch.gradient expected each dimension size to be at least edge_order+1")
    if getattr(spacing, "ndim", 0):
        steps = diff(spacing)
    else:
        kind = y.dtype if y.dtype.category >= dtypes.FLOATING else dtypes.get_default_dtype()
        steps = full((n - 1,), 1, dtype=kind, device=y.device) * spacing
    steps = _along(steps, dim, y)
    pieces = diff(y, dim=dim) / steps
    left, right = _neighbours(pieces, dim)
    h, k = _neighbours(steps, 0)
    first, last = pieces.narrow(dim, 0, 1), pieces.narrow(dim, n - 2, 1)
    if edge_order == 2:  # along the parabola through three points
        bend = (right - left) / (h + k)
        first = first - (bend * h).narrow(dim, 0, 1)
        last = last + (bend * k).narrow(dim, n - 3, 1)
    return cat([first, (left * k + right * h) / (h + k), last], dim)
