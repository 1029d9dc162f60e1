"""Matrices of which only the diagonal is given, or taken, or changed.

PyTorch: torch/functional.py (block_diag), aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import composite
from ..dispatch.errors import require
from ..ops.diagonal import diag_embed
from ..ops.join import cat
from .stacking import atleast_2d, listed


@composite(numpy=np.diag, out=True)
def diag(input, diagonal=0):
    """The diagonal of a matrix, as a copy, or the matrix with a vector as its diagonal.

    Mirrors torch.diag.
    """
    require(input.ndim in (1, 2), "diag(): Supports 1D or 2D tensors. Got {}D", input.ndim)
    return diag_embed(input, diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone()


@composite(numpy=np.diagflat)
def diagflat(input, offset=0):
    """The matrix with the elements of `input` as its diagonal. Mirrors torch.diagflat."""
    return diag_embed(input.reshape(-1), offset)


@composite(function=False)
def fill_diagonal_(self, fill_value, wrap=False):
    """Set the main diagonal, along which all dimensions grow at once, to `fill_value`.

    `wrap`: in a tall matrix another one begins below its end. Mirrors Tensor.fill_diagonal_.
    """
    fits = self.ndim == 2 or (self.ndim > 2 and len(set(self.shape)) == 1)
    require(fits, "fill_diagonal_ wants a matrix, or all dimensions of equal length")
    index = (np.arange(min(self.shape), like=self.array),) * self.ndim
    if wrap and self.ndim == 2:
        places = np.arange(0, self.numel(), self.shape[1] + 1, like=self.array)
        index = np.divmod(places, self.shape[1])
    self[index] = fill_value
    return self


@composite(method=False)
def block_diag(*tensors):
    """A matrix with the matrices `tensors` along its diagonal. Mirrors torch.block_diag."""
    blocks = [atleast_2d(t) for t in listed(tensors)]
    width, left, rows = sum(b.shape[1] for b in blocks), 0, []
    for block in blocks:
        require(block.ndim == 2, "torch.block_diag: Input tensors must have 2 or fewer dimensions")
        n, m = block.shape
        rows.append(cat([block.new_zeros(n, left), block, block.new_zeros(n, width - left - m)], 1))
        left += m
    return cat(rows)
