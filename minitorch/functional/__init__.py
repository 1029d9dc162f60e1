"""Functions that are made of operations, and so need no derivatives of their own.

Here are PyTorch's names; one idea a file. Each is also a function of the package, and a method of
Tensor where PyTorch has one: importing a file registers them. Invariant: nothing in ops/ needs
these. PyTorch: torch/functional.py.
"""

from ..linalg.older import chain_matmul
from ..ops.pieces import split
from . import differences, dropout, indexing, products, questions, rearranging, statistics
from .counting import unique, unique_consecutive
from .diagonals import block_diag
from .distances import cdist, norm
from .einsum import einsum, tensordot
from .grids import cartesian_prod, meshgrid, unravel_index
from .shapes import broadcast_shapes, broadcast_tensors
from .stacking import atleast_1d, atleast_2d, atleast_3d
