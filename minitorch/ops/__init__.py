"""The operations: one file per family, every forward with its derivatives beside it.

This file gives tensors Python's operators.
Where to start reading: elementwise.py is the largest table of them; dispatch/op.py says what an op
is.
"""

import numpy as np

from .. import dtypes
from ..dispatch.declare import functions
from ..tensor import Tensor
from . import (  # importing a family registers its operations
    activation,
    attention,
    choose,
    complex_numbers,
    convert,
    convolution,
    diagonal,
    elementwise,
    extremes,
    index,
    join,
    linalg,
    loss,
    nn,
    normalization,
    pieces,
    pool,
    rearrange,
    recurrent,
    reduce,
    resample,
    scan,
    scatter,
    shape,
    sorting,
    special,
    strided,
    ufuncs,
)

# Python's operators. The functions themselves are the methods: nothing stands between * and mul.
_ARITHMETIC = {
    "add": elementwise.add,
    "sub": elementwise.sub,
    "mul": elementwise.mul,
    "truediv": elementwise.true_divide,
    "div": elementwise.true_divide,  # its name in Python 2, which PyTorch has kept
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "pow": elementwise.pow,
    "matmul": linalg.matmul,
    "and": functions["bitwise_and"],
    "or": functions["bitwise_or"],
    "xor": functions["bitwise_xor"],
    "lshift": functions["bitwise_left_shift"],
    "rshift": functions["bitwise_right_shift"],
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


def _invert(self):
    """~tensor. TypeError unless it holds integers or booleans."""
    if self.dtype.category > dtypes.INTEGER:
        raise TypeError("~ is only implemented on integer and Boolean-type tensors")
    return functions["bitwise_not"](self)


_OTHERS = {
    "eq": _equality(functions["eq"]),
    "ne": _equality(functions["ne"]),
    "neg": elementwise.neg,
    "abs": elementwise.abs,
    "invert": _invert,
    "pos": elementwise.positive,
}
for _name, _function in _OTHERS.items():
    setattr(Tensor, f"__{_name}__", _function)

# The in-place forms that PyTorch has as functions too: torch.exp_(x).
_CHANGING = """
abs acos acosh alpha_dropout arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil
clamp clamp_max clamp_min clip conj_physical cos cosh deg2rad detach erf erfc exp exp2 expm1 fill
fix floor frac gcd i0 index_put lcm ldexp log log10 log1p log2 logit nan_to_num neg negative rad2deg
reciprocal relu round rsqrt sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy zero
"""
for _name in _CHANGING.split():
    if hasattr(Tensor, _name + "_"):
        functions.setdefault(_name + "_", getattr(Tensor, _name + "_"))
