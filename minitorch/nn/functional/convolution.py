"""Convolutions and their transposes, and the windows they see.

All sizes are checked here, where PyTorch's users can be told what was wrong; the kernel
(kernels/cpu/conv.py) serves any number of spatial dimensions.
PyTorch: aten/src/ATen/native/Convolution.cpp, Im2Col.cpp.
"""

from __future__ import annotations

import functools
from math import prod

from ...dispatch.declare import composite
from ...ops.convolution import _fold, _unfold, convolution, convolution_input
from .padding import pad


def each(value, n: int, name: str) -> tuple[int, ...]:
    """`value` for each of n dimensions; RuntimeError if it has another number of values."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    values = values * n if len(values) == 1 else values
    if len(values) != n:
        raise RuntimeError(f"expected {name} to be a single integer or {n} values, got {value}")
    return values


def hashable(*values) -> list:
    """`values` with tuples for lists, so that they can be looked up."""
    return [tuple(v) if isinstance(v, list) else v for v in values]


def _check_types(input, weight, bias) -> None:
    kind = input.array.dtype
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.array.dtype != kind:
            raise RuntimeError(
                f"Input type ({input.dtype}) and {what} type ({other.dtype}) should be the same"
            )


@functools.lru_cache(maxsize=512)
def _arranged(name, spatial, input, weight, bias, stride, padding, dilation, groups) -> tuple:
    """(stride, padding, dilation) for each dimension; RuntimeError where they or the shapes do not
    go together. `input`, `weight`, `bias` are shapes. (Once for each combination: for a small
    convolution this would be most of the work.)
    """
    if len(weight) != spatial + 2:
        raise RuntimeError(
            f"Expected {spatial + 2}-dimensional weight for {name}, but got weight of size "
            f"{list(weight)}"
        )
    if len(input) not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input)}"
        )
    stride, dilation = each(stride, spatial, "stride"), each(dilation, spatial, "dilation")
    if isinstance(padding, str):
        padding = _padding_by_name(padding, weight[2:], stride, dilation)
    else:
        padding = each(padding, spatial, "padding")
        if min(padding) < 0:
            raise RuntimeError("negative padding is not supported")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")
    if weight[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {list(weight)} instead"
        )
    transposed = name.startswith("conv_transpose")
    channels = weight[0] if transposed else weight[1] * groups
    if input[-spatial - 1] != channels:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight)}, expected input{list(input)} to "
            f"have {channels} channels, but got {input[-spatial - 1]} channels instead"
        )
    channels_out = weight[1] * groups if transposed else weight[0]
    if bias not in (None, (channels_out,)):
        raise RuntimeError(
            f"Given weight of size {list(weight)}, expected bias to be 1-dimensional with "
            f"{channels_out} elements, but got bias of size {list(bias)} instead"
        )
    return stride, padding, dilation


def _padding_by_name(padding, kernel, stride, dilation) -> tuple:
    """ "valid" or "same" as numbers; as pairs where "same" needs one more at the end."""
    if padding == "valid":
        return (0,) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}', should be 'same' or 'valid'")
    if set(stride) != {1}:
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(n % 2 for n in total):
        return tuple((n // 2, n - n // 2) for n in total)
    return tuple(n // 2 for n in total)


def _conv(name: str, spatial: int):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        _check_types(input, weight, bias)
        shapes = [None if t is None else t.array.shape for t in (input, weight, bias)]
        options = hashable(stride, padding, dilation)
        stride, padding, dilation = _arranged(name, spatial, *shapes, *options, groups)
        if type(padding[0]) is tuple:  # which the kernel cannot express
            input = pad(input, [width for pair in reversed(padding) for width in pair])
            padding = (0,) * spatial
        unbatched = len(shapes[0]) == spatial + 1
        if unbatched:
            input = input.unsqueeze(0)
        out = convolution(input, weight, bias, stride, padding, dilation, groups)
        return out.squeeze(0) if unbatched else out

    conv.__name__ = conv.__qualname__ = name
    conv.__doc__ = f"""Slide `weight` over `input`: (N, C, *) with (O, C / groups, *) -> (N, O, *).

    {spatial} spatial dimensions; the batch dimension may be missing. stride, padding, dilation: an
    integer, or one for each; padding also "valid" or "same". Mirrors torch.nn.functional.{name}.
    """
    return composite(conv, method=False)


conv1d, conv2d, conv3d = (_conv(f"conv{n}d", n) for n in (1, 2, 3))


def _conv_transpose(name: str, spatial: int):
    def conv_transpose(
        input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    ):
        _check_types(input, weight, bias)
        shapes = [None if t is None else t.array.shape for t in (input, weight, bias)]
        options = hashable(stride, padding, dilation)
        sizes = _arranged(name, spatial, *shapes, *options, groups)
        stride, padding, dilation = sizes
        extra = each(output_padding, spatial, "output_padding")
        channels_out = weight.shape[1] * groups
        unbatched = input.ndim == spatial + 1
        if unbatched:
            input = input.unsqueeze(0)
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding: {extra}, stride: {stride}, dilation: {dilation}"
            )
        whole = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(input.shape[2:], stride, dilation, weight.shape[2:], strict=True)
        ]
        shape = [m - 2 * p + e for m, p, e in zip(whole, padding, extra, strict=True)]
        if min(shape) < 0 or (min(shape) == 0 and min(input.shape[2:]) > 0):
            raise RuntimeError(
                f"Given input size per channel: {list(input.shape[2:])}. Calculated output size "
                f"per channel: {shape}. Output size is too small"
            )
        outer = (input.shape[0], channels_out)
        if all(e < s for e, s in zip(extra, stride, strict=True)):
            out = convolution_input(input, weight, (*outer, *shape), *sizes, groups)
        else:  # there would be room for another window: the padding is cut off later
            out = convolution_input(input, weight, (*outer, *whole), stride, 0, dilation, groups)
            ends = zip(reversed(padding), reversed(extra), strict=True)
            out = pad(out, [width for p, e in ends for width in (-p, e - p)])
        if bias is not None:
            out = out + bias.reshape(-1, *[1] * spatial)
        return out.squeeze(0) if unbatched else out

    conv_transpose.__name__ = conv_transpose.__qualname__ = name
    conv_transpose.__doc__ = f"""The derivative of conv{spatial}d for its input, as a layer.

    (N, C, *) with weight (C, O / groups, *) -> (N, O, *). output_padding: how much larger the
    result is than the smallest image that would be convolved to `input`'s size. Mirrors
    torch.nn.functional.{name}.
    """
    return composite(conv_transpose, method=False)


conv_transpose1d, conv_transpose2d, conv_transpose3d = (
    _conv_transpose(f"conv_transpose{n}d", n) for n in (1, 2, 3)
)


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of (N, C, H, W) as columns (N, C * kernel elements, windows).

    Mirrors torch.nn.functional.unfold.
    """
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )
    sizes = _window_sizes(kernel_size, stride, padding, dilation)
    _count_windows(input.shape[-2:], *sizes)
    if input.ndim == 3:
        return _unfold(input.unsqueeze(0), *sizes).squeeze(0)
    return _unfold(input, *sizes)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Add the columns of `unfold` to their places: (N, C * kernel elements, windows) -> (N, C, *).

    output_size: of the image, (H, W). Mirrors torch.nn.functional.fold.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input, but got: {list(input.shape)}"
        )
    sizes = _window_sizes(kernel_size, stride, padding, dilation)
    output_size = each(output_size, 2, "output_size")
    rows, columns = input.shape[-2:]
    elements, windows = prod(sizes[0]), _count_windows(output_size, *sizes)
    if rows % elements or columns != windows:
        raise RuntimeError(
            f"fold: for output_size={output_size} and kernel_size={sizes[0]} expected input of "
            f"size (N, a multiple of {elements}, {windows}), but got {list(input.shape)}"
        )
    x = input if input.ndim == 3 else input.unsqueeze(0)
    out = _fold(x, (x.shape[0], rows // elements, *output_size), *sizes)
    return out if input.ndim == 3 else out.squeeze(0)


def _window_sizes(kernel_size, stride, padding, dilation) -> tuple:
    named = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    sizes = {n: each(v, 2, n) for n, v in (named | {"dilation": dilation}).items()}
    for name, values in sizes.items():
        if min(values) < (name != "padding"):
            raise RuntimeError(f"{name} should be greater than zero, but got {values}")
    return tuple(sizes.values())


def _count_windows(spatial, kernel, stride, padding, dilation) -> int:
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True)
    ]
    if min(counts) < 1:
        raise RuntimeError(
            f"Given spatial size {tuple(spatial)}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, calculated shape of the array of sliding blocks "
            f"as {counts}, but its components must be at least one."
        )
    return prod(counts)
