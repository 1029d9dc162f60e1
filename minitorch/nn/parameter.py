"""Parameter and Buffer: tensors that a Module recognises when they are assigned to it.

Invariant: both share the memory of the tensor they are made from; what makes them special is their
type alone. PyTorch: torch/nn/parameter.py.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes
from ..tensor import Tensor, wrap


class Parameter(Tensor):
    """A tensor that a module learns: a leaf of the graph. Mirrors torch.nn.Parameter.

    `data`: a tensor, whose memory is shared (none: an empty one). `requires_grad`: whether backward
    fills .grad, also if the parameter is made under no_grad.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True):
        parameter = _sharing(data, cls)
        if requires_grad:
            parameter.requires_grad = True
        return parameter

    def __deepcopy__(self, memo):
        if id(self) not in memo:  # as in PyTorch, the copy starts without a gradient
            with devices.guard(self.array):
                memo[id(self)] = copy = type(self)(wrap(self.array.copy()), self._requires_grad)
            if hasattr(self, "_sharding"):  # a part of a parameter remains one
                copy._sharding = self._sharding
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """State of a module that is not learned, such as a running mean. Mirrors torch.nn.Buffer.

    `persistent`: whether it is part of the module's state_dict.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True):
        buffer = _sharing(data, cls)
        buffer.persistent = persistent
        return buffer


def _sharing(data: Tensor | None, cls: type):
    """A `cls` with the memory of `data`; in-place changes of either are noticed through both."""
    if data is None:
        return wrap(np.empty(0, dtypes.get_default_dtype().numpy), cls)
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{cls.__name__} is made of a Tensor, got {type(data).__name__}: use tensor(...) first"
        )
    made = wrap(data.array, cls)
    made._storage = data._storage
    return made
