"""Tensors side by side, and taken apart again: other ways of saying cat and split.

PyTorch: torch/functional.py (atleast_1d, block_diag), aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import composite
from ..dispatch.errors import require
from ..ops.join import cat
from ..ops.pieces import dim_of, narrow, split
from ..tensor import Tensor


def listed(tensors) -> list:
    """f(a, b) and f([a, b]) both as a list."""
    return list(tensors if len(tensors) != 1 or isinstance(tensors[0], Tensor) else tensors[0])


def _named(function, name: str, meaning: str, **entry):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}. Mirrors torch.{name}."
    return composite(function, **entry)


def _at_least(ndim: int, widen):
    """atleast_1d and its kin: tensors with at least `ndim` dimensions."""

    def atleast(*tensors):
        wide = tuple([t if t.ndim >= ndim else widen(t) for t in listed(tensors)])
        return wide if len(wide) > 1 else wide[0]

    meaning = f"Views of `tensors` with {ndim} dimensions or more, those added of extent 1"
    return _named(atleast, f"atleast_{ndim}d", meaning, method=False)


atleast_1d = _at_least(1, lambda t: t.reshape(1))
atleast_2d = _at_least(2, lambda t: t.reshape(1, -1))
atleast_3d = _at_least(3, lambda t: t.unsqueeze(-1) if t.ndim == 2 else t.reshape(1, -1, 1))


def _stacking(names: str, meaning: str, widen, dim: int) -> None:
    """hstack and its kin: cat along `dim`, once all have the dimensions for it."""
    name, *aliases = names.split()

    def stacked(tensors):
        require(tensors, "{} expects a non-empty TensorList", name)
        wide = [widen(t) for t in tensors]
        return cat(wide, min(dim, wide[0].ndim - 1))

    _named(stacked, name, f"`tensors` {meaning}", method=False, out=True, aliases=aliases)


_stacking("hstack", "side by side", atleast_1d, 1)
_stacking("vstack row_stack", "as rows, one below the other", atleast_2d, 0)
_stacking("dstack", "one behind the other", atleast_3d, 2)
_stacking("column_stack", "as columns", lambda t: t if t.ndim > 1 else t.reshape(-1, 1), 1)


@composite(out=True)
def narrow_copy(input, dim, start, length):
    """`narrow`, as a copy. Mirrors torch.narrow_copy."""
    return narrow(input, dim, start, length).clone()


@composite(aliases=("unsafe_chunk",))
def chunk(input, chunks, dim=0):
    """At most `chunks` pieces of equal extent along `dim` (the last may be shorter), as views.

    Mirrors torch.chunk.
    """
    require(chunks > 0, "chunk expects `chunks` to be greater than 0, got: {}", chunks)
    size = -(-input.shape[dim_of("chunk", input, dim)] // chunks)
    return split(input, size or [0] * chunks, dim)  # of nothing, as many as were asked for


@composite
def tensor_split(input, indices_or_sections, dim=0):
    """Pieces along `dim`: a number of them, as equal as can be, or cut before the given indices.

    Mirrors torch.tensor_split.
    """
    cuts, dim = indices_or_sections, dim_of("tensor_split", input, dim)
    if isinstance(cuts, Tensor):
        fits = cuts.ndim < 2 and cuts.array.dtype == np.int64
        require(fits, "tensor_split expected a long tensor of zero or one dimensions")
        cuts = cuts.tolist()
    extent = input.shape[dim]
    if isinstance(cuts, int):
        require(cuts > 0, "number of sections must be larger than 0, got {}", cuts)
        size, rest = divmod(extent, cuts)
        cuts = [i * size + min(i, rest) for i in range(1, cuts)]
    bounds = zip([0, *cuts], [*cuts, extent], strict=True)
    return tuple([input[(slice(None),) * dim + (slice(i, j),)] for i, j in bounds])


def _splitting(name: str, dim: int, least: int) -> None:
    """hsplit and its kin: tensor_split along `dim` of tensors with `least` dimensions or more."""

    def pieces(input, indices_or_sections):
        require(input.ndim >= least, "torch.{} requires {} dimensions at least", name, least)
        along, n = min(dim, input.ndim - 1), indices_or_sections
        fits = not isinstance(n, int) or (n > 0 and input.shape[along] % n == 0)
        require(fits, "torch.{} cannot make {} equal pieces of {}", name, n, input.shape[along])
        return tensor_split(input, n, along)

    _named(pieces, name, f"`tensor_split` along dimension {dim} into equal pieces")


_splitting("vsplit", 0, 2)
_splitting("hsplit", 1, 1)
_splitting("dsplit", 2, 3)
