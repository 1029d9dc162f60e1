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
        self.weight = empty_parameter(*self._weight_shape(), device=device, dtype=dtype)
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
        if self.padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', but got "
                f"padding_mode='{self.padding_mode}'"
            )

    def _weight_shape(self) -> tuple:
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

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
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _convolved(self, operation, input):
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._widths(), self.padding_mode), 0
        sizes = (self.stride, padding, self.dilation, self.groups)
        return operation(input, self.weight, self.bias, *sizes)

    def _widths(self) -> list[int]:
        """The padding as F.pad takes it: before and after, the last dimension first."""
        if self.padding == "valid":
            return [0] * 2 * self.spatial
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(n // 2, n - n // 2) for n in total]
        else:
            pairs = [(n, n) for n in self.padding]
        return [n for pair in reversed(pairs) for n in pair]


class Conv1d(_Conv):
    """(N, C, L) -> (N, O, L'); N may be missing. Mirrors torch.nn.Conv1d."""

    spatial = 1

    def forward(self, input):
        return self._convolved(F.conv1d, input)


class Conv2d(_Conv):
    """(N, C, H, W) -> (N, O, H', W'); N may be missing. Mirrors torch.nn.Conv2d.

    Starts with uniform numbers from +-1 / sqrt(C / groups * kernel elements).
    """

    spatial = 2

    def forward(self, input):
        return self._convolved(F.conv2d, input)


class Conv3d(_Conv):
    """(N, C, D, H, W) -> (N, O, D', H', W'); N may be missing. Mirrors torch.nn.Conv3d."""

    spatial = 3

    def forward(self, input):
        return self._convolved(F.conv3d, input)


class _ConvTranspose(_Conv):
    """The derivative of a convolution for its input, as a layer."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        sizes = (kernel_size, stride, padding, dilation, groups, bias)
        super().__init__(in_channels, out_channels, *sizes, device=device, dtype=dtype)
        self.output_padding = ntuple(output_padding, self.spatial)

    def _weight_shape(self) -> tuple:
        return self.in_channels, self.out_channels // self.groups, *self.kernel_size

    def _transposed(self, operation, input, output_size):
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        sizes = (self.stride, self.padding, extra, self.groups, self.dilation)
        return operation(input, self.weight, self.bias, *sizes)

    def _extra(self, input, output_size) -> tuple:
        """The output padding that leads to `output_size`."""
        n = self.spatial
        smallest = [
            (m - 1) * s - 2 * p + d * (k - 1) + 1
            for m, s, p, d, k in zip(
                input.shape[-n:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        ]
        extra = tuple(a - b for a, b in zip(list(output_size)[-n:], smallest, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            largest = [a + s - 1 for a, s in zip(smallest, self.stride, strict=True)]
            raise ValueError(
                f"requested an output size of {list(output_size)}, but valid sizes range from "
                f"{smallest} to {largest} (for an input of {list(input.shape[-n:])})"
            )
        return extra

    def extra_repr(self) -> str:
        text = super().extra_repr()
        if self.output_padding != (0,) * self.spatial:
            at = text.find(", groups")
            at = at if at >= 0 else text.find(", bias")
            at = at if at >= 0 else len(text)
            text = text[:at] + f", output_padding={self.output_padding}" + text[at:]
        return text


class ConvTranspose1d(_ConvTranspose):
    """(N, C, L) -> (N, O, L'), larger. Mirrors torch.nn.ConvTranspose1d."""

    spatial = 1

    def forward(self, input, output_size=None):
        return self._transposed(F.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTranspose):
    """(N, C, H, W) -> (N, O, H', W'), larger. Mirrors torch.nn.ConvTranspose2d.

    output_padding: how much larger than the smallest image that is convolved to H, W.
    """

    spatial = 2

    def forward(self, input, output_size=None):
        return self._transposed(F.conv_transpose2d, input, output_size)


class ConvTranspose3d(_ConvTranspose):
    """(N, C, D, H, W) -> (N, O, D', H', W'), larger. Mirrors torch.nn.ConvTranspose3d."""

    spatial = 3

    def forward(self, input, output_size=None):
        return self._transposed(F.conv_transpose3d, input, output_size)
