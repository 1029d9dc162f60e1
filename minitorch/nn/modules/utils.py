"""Helpers of the layers. PyTorch: torch/nn/modules/utils.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ... import dtypes
from ...dispatch.declare import functions
from ..parameter import Parameter


def empty_parameter(*shape: int, device=None, dtype: dtypes.dtype | None = None) -> Parameter:
    """A parameter whose values are still to be set."""
    return Parameter(functions["empty"](*shape, device=device, dtype=dtype))


def ntuple(value: Any, n: int) -> tuple:
    """(value, ..., value), or the n values that are given."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * n
