"""Convolutions. PyTorch: torch/nn/modules/conv.py."""

from __future__ import annotations

from .. import functional as F
from .linear import init_like_linear
from .module import Module
from .utils import empty_parameter, ntuple


class _Conv(Module):
    """A convolution over `spatial` dimensions, 1, 2 or 3."""

    spatial: int

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, self.spatial)
        self.stride = ntuple(stride, self.spatial)
        self.padding = padding if isinstance(padding, str) else ntuple(padding, self.spatial)
        self.dilation = ntuple(dilation, self.spatial)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check()
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = empty_parameter(*shape, device=device, dtype=dtype)
        if bias:
            self.bias = empty_parameter(out_channels, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check(self) -> None:
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string '{self.padding}', should be one of 'same', 'valid'"
                )
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode in ("reflect", "replicate", "circular"):
            raise NotImplementedError(
                f"padding_mode='{self.padding_mode}' is not here yet, only 'zeros'"
            )
        if self.padding_mode != "zeros":
            raise ValueError(
                "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', but got "
                f"padding_mode='{self.padding_mode}'"
            )

    def reset_parameters(self) -> None:
        init_like_linear(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.spatial:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text

    def _arguments(self) -> tuple:
        return self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups


class Conv1d(_Conv):
    """(N, C, L) -> (N, O, L'); N may be missing. Mirrors torch.nn.Conv1d."""

    spatial = 1

    def forward(self, input):
        return F.conv1d(input, *self._arguments())


class Conv2d(_Conv):
    """(N, C, H, W) -> (N, O, H', W'); N may be missing. Mirrors torch.nn.Conv2d.

    Starts with uniform numbers from +-1 / sqrt(C / groups * kernel elements).
    """

    spatial = 2

    def forward(self, input):
        return F.conv2d(input, *self._arguments())


class Conv3d(_Conv):
    """(N, C, D, H, W) -> (N, O, D', H', W'); N may be missing. Mirrors torch.nn.Conv3d."""

    spatial = 3

    def forward(self, input):
        return F.conv3d(input, *self._arguments())
