"""The names of layouts and memory formats, for scripts that ask for one.

There is one layout, strided, and new tensors are contiguous whatever format is asked for: results
are the same, only strides differ. PyTorch: c10/core/Layout.h, c10/core/MemoryFormat.h.
"""

from __future__ import annotations


class _Name:
    """One of a few names that only compare and print."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # copies and pickles are the one of this name in this module


class layout(_Name):
    """How elements lie in memory. Mirrors torch.layout."""

    __slots__ = ()


class memory_format(_Name):
    """The order of dimensions in memory. Mirrors torch.memory_format."""

    __slots__ = ()


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
