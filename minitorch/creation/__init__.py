"""Tensors made from values, shapes, ranges and random numbers.

What is made here does not come from another tensor by a formula, so there is nothing to
differentiate: that is why these functions are not among the operations (ops/). Importing a file
registers what it makes. PyTorch: aten/src/ATen/native/TensorFactories.cpp, torch/random.py.
"""

from .random import Generator, get_rng_state, randperm, set_rng_state
from .ranges import arange
from .shapes import full
from .values import as_tensor, tensor
