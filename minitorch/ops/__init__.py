"""The operations: one file per family, every forward with its derivatives beside it.

This file gives tensors Python's operators.
Where to start reading: op.py says what an op is; elementwise.py is the largest table of them.
"""

import numpy as np

from ..tensor import Tensor
from . import (  # importing a family registers its operations
    choose,
    convert,
    convolution,
    creation,
    elementwise,
    extremes,
    index,
    inplace,
    linalg,
    loss,
    nn,
    random,
    reduce,
    shape,
)
from .declare import functions

# Python's operators. The functions themselves are the methods: nothing stands between * and mul.
_ARITHMETIC = {
    "add": elementwise.add,
    "sub": elementwise.sub,
    "mul": elementwise.mul,
    "truediv": elementwise.true_divide,
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "pow": elementwise.pow,
    "matmul": linalg.matmul,
    "and": functions["bitwise_and"],
    "or": functions["bitwise_or"],
    "xor": functions["bitwise_xor"],
}


def _reflected(function):
    return lambda self, other: function(other, self)


for _name, _function in _ARITHMETIC.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
    if hasattr(Tensor, _function.__name__ + "_"):  # all but matmul
        setattr(Tensor, f"__i{_name}__", getattr(Tensor, _function.__name__ + "_"))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Tensor, f"__{_name}__", functions[_name])


def _equality(function):
    """Tensors equal numbers and tensors element by element, and no other thing at all."""
    known = (Tensor, int, float, complex, np.ndarray, np.generic)

    def compare(self, other):
        return function(self, other) if isinstance(other, known) else NotImplemented

    return compare


_OTHERS = {
    "eq": _equality(functions["eq"]),
    "ne": _equality(functions["ne"]),
    "neg": elementwise.neg,
    "abs": elementwise.abs,
    "invert": functions["bitwise_not"],
}
for _name, _function in _OTHERS.items():
    setattr(Tensor, f"__{_name}__", _function)
