"""Where a tensor's memory is. PyTorch: c10/core/Device.h.

Only the CPU exists so far; the names of CUDA devices are understood, so that a script that asks
for one gets a sentence and not a surprise.
"""

from __future__ import annotations

import numpy as np


class device:
    """A device such as "cpu" or "cuda:1". Mirrors torch.device.

    Takes a string, a type and an index, or another device. Raises RuntimeError for an unknown type.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: str | device | int, index: int | None = None):
        if isinstance(type, device):
            kind, index = type.type, type.index
        elif isinstance(type, int):  # PyTorch: a bare number is an accelerator's
            kind, index = "cuda", type
        else:
            kind, _, number = type.partition(":")
            if number:
                if not number.isdigit():
                    raise RuntimeError(f"Invalid device string: '{type}'")
                index = int(number)
        if kind not in ("cpu", "cuda", "meta"):
            raise RuntimeError(
                f"Expected one of cpu, cuda device type at start of device string: {type}"
            )
        self.type: str = kind
        self.index: int | None = index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __eq__(self, other) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        """`with torch.device("cpu"):` new tensors are there. RuntimeError if it is not here."""
        check(self)
        return self

    def __exit__(self, *exception) -> None:
        pass  # there is one device, so nothing was changed

    def __reduce__(self):
        return device, (self.type, self.index)


CPU = device("cpu")


def check(where) -> device:
    """`where` as a device that exists here; None is the CPU. Raises RuntimeError otherwise."""
    if where is None:
        return CPU
    found = where if isinstance(where, device) else device(where)
    if found.type != "cpu":
        raise RuntimeError(
            f"device '{found}' is not available: this version of minitorch computes on the CPU "
            "only; use device='cpu', or choose by torch.cuda.is_available()"
        )
    return CPU


def of(array) -> device:
    """The device that holds an array: the CPU for NumPy's, otherwise the GPU that it names."""
    return CPU if isinstance(array, np.ndarray) else device("cuda", array.device.id)
