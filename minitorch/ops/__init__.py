"""The operations: one file per family, every forward with its derivatives beside it.

This file gives tensors Python's operators and the in-place forms, from one table each.
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

for alias, name in {
    "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "absolute": "abs",
    "clip": "clamp", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt",
    "greater_equal": "ge",
}.items():  # fmt: skip
    functions[alias] = functions[name]
    setattr(Tensor, alias, functions[name])
del alias, name


# The graph calls these operations by the names of PyTorch's that do the same.
_NODE_NAMES = {
    elementwise.true_divide: "Div",
    nn.linear: "Addmm",
    nn._layer_norm: "NativeLayerNorm",
    loss._cross_entropy: "NllLoss",
    convolution._max_pool2d: "MaxPool2DWithIndices",
    reduce._variance: "Var",
}
for _operation, _name in _NODE_NAMES.items():
    _operation.op.node_name = _name + "Backward0"

# The in-place forms, with the ufunc that can write straight into the memory where there is one.
_IN_PLACE: dict = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide}
_IN_PLACE |= {"true_divide": np.true_divide}
_IN_PLACE |= dict.fromkeys(("floor_divide", "bitwise_and", "bitwise_or", "bitwise_xor"))
_IN_PLACE |= dict.fromkeys(("pow", "remainder", "neg", "abs", "sign", "reciprocal", "square"))
_IN_PLACE |= dict.fromkeys(("floor", "ceil", "trunc", "round", "exp", "expm1", "log", "log1p"))
_IN_PLACE |= dict.fromkeys(("sqrt", "rsqrt", "sin", "cos", "tan", "tanh", "sigmoid", "relu"))
_IN_PLACE |= dict.fromkeys(("clamp", "masked_fill", "scatter_add", "tril", "triu", "addmm"))
for _name, _ufunc in _IN_PLACE.items():
    inplace.inplace(_name, _ufunc)

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
    if _function.__name__ in _IN_PLACE:  # all but matmul
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
