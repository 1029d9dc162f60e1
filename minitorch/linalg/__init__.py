"""torch.linalg: linear algebra, made of the operations in ops/decompositions.py and ops/linalg.py.

Everything has derivatives, because its parts have. PyTorch: torch/linalg/__init__.py.
"""

from ..ops.decompositions import LinAlgError
from ..ops.linalg import matmul
from . import older
from .factors import cholesky, eig, eigh, eigvals, eigvalsh, qr, svd, svdvals
from .norms import cond, matrix_norm, norm, vector_norm
from .products import cross, diagonal, matrix_exp, matrix_power, multi_dot, vander, vecdot
from .solving import (
    det,
    inv,
    lstsq,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
