"""All parameters as one vector, and back. PyTorch: torch/nn/utils/convert_parameters.py."""

from __future__ import annotations

from collections.abc import Iterable

from ...dispatch.declare import functions
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """One vector with the elements of all parameters, part of the graph."""
    return functions["cat"]([p.view(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make the parameters views of the pieces of `vec`: their new memory is the vector's."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec)}")
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        parameter.data = vec[start : start + count].view_as(parameter).data
        start += count
