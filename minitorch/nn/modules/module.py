"""Module: a tree of layers that knows its parameters.

Assigning a Parameter, a Buffer or a Module to an attribute enters it into one of three tables,
`_parameters`, `_buffers`, `_modules`; everything else (walking the tree, moving it to another type
or device, saving it) works on these tables.
Invariants: a name is in at most one of the tables or among the ordinary attributes; a parameter
stays the same object for as long as the module lives, so optimizers and hooks may hold on to it.
Saving and loading are in state.py. PyTorch: torch/nn/modules/module.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from ... import devices, dtypes
from ...autograd.graph import Handle
from ...tensor import Tensor
from ..parameter import Buffer, Parameter
from .state import Stateful

_hook_keys = itertools.count()

# What kinds of values are registered, in which table, and what PyTorch's messages call them.
_KINDS = (
    (Parameter, "_parameters", "parameter", "parameters", "torch.nn.Parameter or None"),
    (Module := None, "_modules", "child module", "module", "torch.nn.Module or None"),
)
