"""What a reduction does to two values.

Every reduction is a NumPy ufunc, and NumPy already gives them PyTorch's meaning for booleans: the
sum is "or", the product is "and". AVG is a sum that is divided by the number of ranks at the end.
PyTorch: torch/csrc/distributed/c10d/Types.hpp (`ReduceOp`).
"""

import warnings
from enum import Enum

import numpy as np


class ReduceOp(Enum):
    """The reductions of all_reduce, reduce and reduce_scatter. Mirrors
    `torch.distributed.ReduceOp`, without NCCL's PREMUL_SUM."""

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


def check_reduction(op: ReduceOp, dtype: np.dtype) -> None:
    """Raise an error for a pair that has no meaning.

    RuntimeError for the average of integers and the bits of floats, ValueError for the order or the
    bits of complex numbers, as PyTorch does.
    """
    if dtype.kind in "biu":
        if op is ReduceOp.AVG:
            raise RuntimeError(
                f"Cannot use ReduceOp.AVG with {dtype.name} tensors: the average of integers is "
                "not an integer. Use ReduceOp.SUM and divide, or convert to a floating dtype."
            )
    elif dtype.kind == "c":
        if not supports_complex(op):
            raise ValueError(
                f"Cannot use ReduceOp.{op.name} with {dtype.name}: complex numbers have no order "
                "and no bits. Use torch.view_as_real to reduce the parts."
            )
    elif op in _BITWISE:
        raise RuntimeError(
            f"Cannot use ReduceOp.{op.name} with non-integral dtype {dtype.name}: "
            "it works on the bits of integers and booleans."
        )


def supports_complex(reduceOp: ReduceOp) -> bool:
    """Whether complex tensors can be reduced so. Mirrors `torch.distributed.supports_complex`,
    which denies PRODUCT as well."""
    return reduceOp in (ReduceOp.SUM, ReduceOp.AVG, ReduceOp.PRODUCT)


def ufunc_of(op: ReduceOp) -> np.ufunc:
    """The ufunc that reduces two arrays. It rounds to their dtype at each step, as Gloo does: the
    sum of N float16 or bfloat16 numbers is rounded N-1 times."""
    return _UFUNCS[op]


def average(total: np.ndarray, ranks: int) -> None:
    """Turn the sum over `ranks` into the average, in place."""
    np.divide(total, total.dtype.type(ranks), out=total)


class _ReduceOpOfOld:
    """`torch.distributed.reduce_op.SUM`, the name of ReduceOp in PyTorch 0.4."""

    def __getattr__(self, name: str) -> ReduceOp:
        op = getattr(ReduceOp, name)
        warnings.warn(
            "`torch.distributed.reduce_op` is deprecated, please use "
            "`torch.distributed.ReduceOp` instead",
            FutureWarning,
            stacklevel=2,
        )
        return op


reduce_op = _ReduceOpOfOld()
