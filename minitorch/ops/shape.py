"""The same elements in other shapes, most without a copy.

The ops marked @view_op share their argument's memory, as NumPy's views do. Their derivatives put
the gradient's elements back where they came from.
PyTorch: aten/src/ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from .. import dtypes
from ..dispatch.declare import composite, view_op
from ..dispatch.dims import axes, axis, sizes
from ..dispatch.errors import require
from ..dispatch.inplace import view_in_place
from ..tensor import Tensor, wrap


def _misfit(input, shape) -> RuntimeError:
    """PyTorch's words for the elements of `input` not filling `shape`."""
    shape = sizes(shape)
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) > 1:
        return RuntimeError("only one dimension can be inferred")
    if min(shape, default=0) < -1:
        return RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 in shape and not known:
        return RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
            "dimension size -1 can be any value and is ambiguous"
        )
    if input.size % known if -1 in shape else input.size != known:
        return RuntimeError(f"shape '{list(shape)}' is invalid for input of size {input.size}")
    return RuntimeError(
        "view size is not compatible with input tensor's size and stride (at least one dimension "
        "spans across two contiguous subspaces). Use .reshape(...) instead."
    )


@view_op(numpy=np.reshape)
def reshape(input, *shape):
    """The same elements in another shape, -1 for one extent to be found; a view where possible.

    Raises RuntimeError if the elements do not fill the shape. Mirrors torch.reshape.
    """
    try:
        return input.reshape(*shape)
    except ValueError:
        raise _misfit(input, shape) from None


@view_op(function=False, method=False)
def _view(input, *shape):
    try:
        return input.reshape(*shape, copy=False)
    except ValueError:
        raise _misfit(input, shape) from None


for reshaping in (reshape, _view):
    reshaping.derivatives(input=lambda grad, input_shape: grad.reshape(input_shape))


@composite(function=False)
def view(input, *shape, dtype=None):
    """The same memory in another shape, or its bits as another dtype: view(dtype).

    Raises RuntimeError where that would take a copy. Bits have no gradient. Mirrors
    torch.Tensor.view.
    """
    if dtype is None and type(shape[0]) is not dtypes.dtype:
        return _view(input, *shape)
    dtype = dtype or shape[0]
    try:
        result = wrap(input.array.view(dtype.numpy))
    except ValueError as error:
        raise RuntimeError(f"cannot view {input.dtype} as {dtype}: {error}") from None
    result._storage = input._storage
    return result


# Order of dimensions


@view_op(numpy=np.swapaxes, aliases=("swapaxes", "swapdims"))
def transpose(input, dim0, dim1):
    """Dimensions `dim0` and `dim1` swapped, as a view. Mirrors torch.transpose."""
    if input.ndim == 0:
        axis(dim0, 0), axis(dim1, 0)  # only 0 and -1 will do
        return input[...]
    return input.swapaxes(dim0, dim1)


transpose.derivatives(input=lambda grad, dim0, dim1: transpose(grad, dim0, dim1))


@view_op
def permute(input, *dims):
    """The dimensions in the order `dims`, as a view. Mirrors torch.permute."""
    dims = sizes(dims)
    require(
        len(dims) == input.ndim,
        "permute: input.dim() = {} is not equal to len(dims) = {}",
        *(input.ndim, len(dims)),
    )
    return input.transpose(dims)


def _inverse(dims) -> list[int]:
    """The order of dimensions that undoes the order `dims`."""
    dims = [d % len(dims) for d in dims]
    return [dims.index(i) for i in range(len(dims))]


permute.derivatives(input=lambda grad, dims: permute(grad, _inverse(sizes(dims))))


@composite
def t(input):
    """The transpose of a matrix; a vector stays itself. Mirrors torch.t."""
    require(
        input.ndim < 3, "t() expects a tensor with <= 2 dimensions, but self is {}D", input.ndim
    )
    return transpose(input, 0, -1)


@composite
def adjoint(input):
    """Matrices in the last two dimensions, transposed and conjugated. Mirrors torch.adjoint."""
    return _swapped(input, "adjoint()").conj()


def _swapped(input, name: str, most=math.inf):
    fits = input.ndim != 1 and input.ndim <= most
    require(fits, "tensor.{} is only supported on matrices, not {}-D tensors", name, input.ndim)
    return transpose(input, -2, -1) if input.ndim else input


def _reversed(self):
    """All dimensions in reverse order, as a view."""
    if self.ndim not in (0, 2):
        warnings.warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated: use x.mT for batches of matrices, or x.permute().",
            stacklevel=2,
        )
    return permute(self, tuple(range(self.ndim))[::-1])


_PROPERTIES = {"T": _reversed, "mH": adjoint}
_PROPERTIES |= {"mT": lambda self: _swapped(self, "mT")}
_PROPERTIES |= {"H": lambda self: _swapped(self, "H", 2).conj()}
for _name, _get in _PROPERTIES.items():
    setattr(Tensor, _name, property(_get))


# Dimensions of extent 1, and stretched ones


@view_op(numpy=np.expand_dims)
def unsqueeze(input, dim):
    """A dimension of extent 1 put in before `dim`, as a view. Mirrors torch.unsqueeze."""
    return input[(slice(None),) * axis(dim, input.ndim + 1) + (None,)]


unsqueeze.derivatives(input=lambda grad, input_shape: grad.reshape(input_shape))


@view_op(numpy=np.squeeze)
def squeeze(input, dim=None):
    """Without the dimensions of extent 1 (those in `dim`), as a view. Mirrors torch.squeeze."""
    dims = [d for d in axes(dim, input.ndim) if input.shape[d] == 1] if dim != () else []
    return input.squeeze(tuple(dims))


squeeze.derivatives(input=lambda grad, input_shape: grad.reshape(input_shape))


@view_op(function=False)
def expand(input, *shape):
    """Stretched to `shape` without a copy; -1 keeps an extent. Mirrors torch.Tensor.expand."""
    shape = sizes(shape)
    added = len(shape) - input.ndim
    require(
        added >= 0,
        "expand: the number of sizes provided ({}) must be greater or equal to the number of "
        "dimensions in the tensor ({})",
        *(len(shape), input.ndim),
    )
    full = shape
    if -1 in shape:
        old = (-1,) * added + input.shape
        full = tuple([m if n == -1 else n for n, m in zip(shape, old, strict=True)])
    try:
        out = np.broadcast_to(input, full)
    except ValueError:
        pairs = zip(full[added:], input.shape, strict=True)
        i, n, m = next((i, n, m) for i, (n, m) in enumerate(pairs) if m not in (n, 1))
        raise RuntimeError(
            f"The expanded size of the tensor ({n}) must match the existing size ({m}) at "
            f"non-singleton dimension {i + added}.  Target sizes: {list(shape)}.  Tensor sizes: "
            f"{list(input.shape)}"
        ) from None
    if type(out) is np.ndarray:  # where nothing was stretched, it can be changed
        out.flags.writeable = input.flags.writeable
    return out


expand.derivatives(input=lambda grad: grad)  # the engine sums over what was stretched


@composite(numpy=np.broadcast_to)
def broadcast_to(input, size):
    """Another name of `expand`. Mirrors torch.broadcast_to."""
    return expand(input, tuple(size))


# In place: the same memory, and from now on another shape

for _name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
    view_in_place(_name)
