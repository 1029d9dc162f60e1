"""Tuples whose places have names, as some operations return. PyTorch: torch.return_types."""

from __future__ import annotations

import collections
from typing import Any


def named_result(name: str, fields: str):
    """A tuple type with `fields`, printed as PyTorch prints torch.return_types.`name`."""

    def represent(self) -> str:
        lines = [f"{f}={v!r}" for f, v in zip(self._fields, self, strict=True)]
        return f"torch.return_types.{name}(\n" + ",\n".join(lines) + ")"

    base: Any = collections.namedtuple(name, fields)  # type: ignore[misc]
    return type(name, (base,), {"__slots__": (), "__repr__": represent})
