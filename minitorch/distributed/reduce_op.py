"""What a reduction does to two values.

Every reduction is a NumPy ufunc, and NumPy already gives them PyTorch's meaning for booleans: the
sum is "or", the product is "and". AVG is a sum that is divided by the number of ranks at the end.
PyTorch: torch/csrc/distributed/c10d/Types.hpp (`ReduceOp`).
"""

from collections.abc import Callable
from enum import Enum

import numpy as np


class ReduceOp(Enum):
    """The reductions of `all_reduce` and `reduce` (`torch.distributed.ReduceOp`)."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


_UFUNCS = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}
_BITWISE = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)


def ufunc_of(op: ReduceOp, dtype: np.dtype) -> Callable:
    """The ufunc that reduces two arrays of `dtype`.

    Raises RuntimeError for a pair that has no meaning: the average of integers, the bits of
    floats, the order of complex numbers.
    """
    if dtype.kind in "biu":
        if op is ReduceOp.AVG:
            raise RuntimeError(
                f"Cannot use ReduceOp.AVG with {dtype.name} tensors: the average of integers is "
                "not an integer. Use ReduceOp.SUM and divide, or convert to a floating dtype."
            )
    elif op in _BITWISE:
        raise RuntimeError(
            f"Cannot use ReduceOp.{op.name} with non-integral dtype {dtype.name}: "
            "it works on the bits of integers and booleans."
        )
    elif dtype.kind == "c" and op in (ReduceOp.MIN, ReduceOp.MAX):
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with {dtype.name}: it has no order.")
    return _UFUNCS[op]
