"""Padding as layers: `padding` is a width, or (left, right, top, bottom, ...).

PyTorch: torch/nn/modules/padding.py.
"""

from __future__ import annotations

from .. import functional as F
from .module import Module
from .utils import ntuple


class _Pad(Module):
    spatial: int
    mode: str

    def __init__(self, padding):
        super().__init__()
        self.padding = ntuple(padding, 2 * self.spatial)

    def forward(self, input):
        if self.mode != "constant" and input.dim() - self.spatial not in (1, 2):
            raise ValueError(
                f"expected {self.spatial + 1}D or {self.spatial + 2}D input "
                f"(got {input.dim()}D input)"
            )
        return F.pad(input, self.padding, self.mode, getattr(self, "value", None))

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


_KINDS = {
    "ConstantPad": (_ConstantPad, "constant", "Fills with `value`."),
    "ZeroPad": (_ZeroPad, "constant", "Fills with zeros."),
    "ReflectionPad": (_Pad, "reflect", "Mirrors the inside."),
    "ReplicationPad": (_Pad, "replicate", "Repeats the border."),
    "CircularPad": (_Pad, "circular", "Continues with the other end."),
}


def _class(kind: str, spatial: int) -> type:
    base, mode, meaning = _KINDS[kind]
    name = f"{kind}{spatial}d"
    body = {"spatial": spatial, "mode": mode, "__module__": __name__}
    return type(name, (base,), body | {"__doc__": f"{meaning} Mirrors torch.nn.{name}."})


ConstantPad1d, ConstantPad2d, ConstantPad3d = (_class("ConstantPad", n) for n in (1, 2, 3))
ZeroPad1d, ZeroPad2d, ZeroPad3d = (_class("ZeroPad", n) for n in (1, 2, 3))
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (_class("ReflectionPad", n) for n in (1, 2, 3))
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (
    _class("ReplicationPad", n) for n in (1, 2, 3)
)
CircularPad1d, CircularPad2d, CircularPad3d = (_class("CircularPad", n) for n in (1, 2, 3))
