"""Views of a tensor's memory by sizes and steps: windows, and whatever else one asks for.

PyTorch: aten/src/ATen/native/TensorShape.cpp, as_strided_backward in FunctionsManual.cpp.
"""

from __future__ import annotations

from ..dispatch.declare import composite, view_op
from ..dispatch.dims import axis
from ..dispatch.errors import require
from ..dispatch.inplace import view_in_place
from ..dispatch.memory import address, owner, strided
from .index import put_back


@view_op
def unfold(input, dimension, size, step):
    """Windows of `size` elements of `dimension`, `step` apart, in a new last dimension: a view.

    Mirrors torch.Tensor.unfold.
    """
    dim = axis(dimension, input.ndim)
    extent = input.shape[dim] if input.ndim else 1
    fits = size <= extent
    require(fits, "maximum size for tensor at dimension {} is {} but size is {}", dim, extent, size)
    require(step > 0, "step is {} but must be > 0", step)
    shape, strides = [*input.shape, size], [*input.strides, input.itemsize]
    if input.ndim:
        shape[dim], strides[dim] = (extent - size) // step + 1, input.strides[dim] * step
        strides[-1] = input.strides[dim]
    return strided(input, shape, strides)


unfold.derivatives(
    input=lambda grad, input_shape, dimension, size, step: put_back(
        grad, input_shape, unfold.op, (dimension, size, step), size > step
    )
)


@view_op(function=False, method=False, node="AsStrided")
def _as_strided(input, size, stride, offset, layout):
    whole = owner(input)
    steps = [n * input.itemsize for n in stride]
    start = offset * input.itemsize - (address(input) - address(whole))
    return strided(input, size, steps, start)


def _as_strided_by_input(grad, size, stride, offset, layout):
    """Through the memory, of which input and result are two views."""
    extent, *of_input = layout
    plain = (extent, (extent,), (1,), 0)
    memory = put_back(grad, (extent,), _as_strided.op, (size, stride, offset, plain), True)
    return _as_strided(memory, *of_input, plain)


_as_strided.derivatives(input=_as_strided_by_input)


@composite
def as_strided(input, size, stride, storage_offset=None):
    """The tensor's memory from element `storage_offset` on (default: where the tensor begins), of
    shape `size` with `stride` elements from one to the next: a view.

    Raises RuntimeError where that leads out of the memory. Mirrors torch.as_strided.
    """
    size, stride = tuple(size), tuple(stride)
    start = input.storage_offset()
    offset = start if storage_offset is None else storage_offset
    require(min(stride, default=0) >= 0, "as_strided: Negative strides are not supported")
    require(len(size) == len(stride), "mismatch in length of strides and shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    extent = owner(input.array).size
    require(
        offset >= 0 and (last < extent or 0 in size),
        "setStorage: sizes {}, strides {}, storage offset {} are out of bounds for storage of {}",
        *(list(size), list(stride), offset, extent),
    )
    layout = (extent, tuple(input.shape), input.stride(), start)
    return _as_strided(input, size, stride, offset, layout)


view_in_place("as_strided")
