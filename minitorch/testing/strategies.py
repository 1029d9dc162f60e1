"""hypothesis strategies for tensors, their shapes, dtypes and layouts in memory.

    from minitorch.testing import strategies

    @given(strategies.tensors(dtype=torch.float64, layout=strategies.layouts()))
    def test_sum(x): ...

Why: what breaks an operation is seldom its formula, and often an odd shape, stride or value. A
failing example shrinks to few elements with simple values, in the simplest layout, and is printed
as Python that makes the tensor. Wherever an argument is described as a value, a strategy for such
values will do as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes as _dtypes
from ..tensor import Tensor, wrap
from .reproduce import written_out

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as arrays
    from hypothesis.vendor import pretty
except ImportError as error:
    raise ImportError(
        "minitorch.testing.strategies needs the package hypothesis: pip install hypothesis"
    ) from error

__all__ = ["LAYOUTS", "broadcastable_shapes", "dtypes", "layouts", "shapes", "tensors"]

LAYOUTS = ("contiguous", "transposed", "offset", "gaps", "expanded", "overlapping")
MARGIN = 1e-3  # how far values stay away from the points in `avoid`

_CATEGORIES = {"bool": 0, "integer": 1, "floating": 2, "complex": 3}


def shapes(*, min_dims=0, max_dims=3, min_side=1, max_side=4):
    """Shapes as tuples, from () on. With min_side=0 also those of tensors without elements."""
    return arrays.array_shapes(
        min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )


def broadcastable_shapes(n: int, *, max_dims=3, min_side=1, max_side=4):
    """Tuples of n shapes that broadcast to a common one."""
    made = arrays.mutually_broadcastable_shapes(
        num_shapes=n, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return made.map(lambda found: found.input_shapes)


def dtypes(*categories: str):
    """Dtypes of these categories: "floating", "integer", "bool" (the default), "complex".

    float32, or else the first one, is what examples shrink to.
    """
    wanted = [_CATEGORIES[name] for name in categories or ("floating", "integer", "bool")]
    kinds = [d for d in _dtypes.ALL if d.category in wanted and _available(d)]
    return st.sampled_from(sorted(kinds, key=lambda d: d is not _dtypes.float32))


def layouts():
    """The names in LAYOUTS, from the plainest on.

    "contiguous"; "transposed": the first dimension is the fastest; "offset": contiguous, but not
    from the start of its memory; "gaps": every second element in each dimension, with nan or 99
    between them; "expanded": stride 0 in one dimension; "overlapping": all strides are 1.
    """
    return st.sampled_from(LAYOUTS)


@st.composite
def tensors(
    draw,
    dtype=_dtypes.float32,
    shape=None,
    layout="contiguous",
    requires_grad=False,
    *,
    low=-10.0,
    high=10.0,
    ties=False,
    avoid=(),
    include=(),
    allow_nan=False,
    allow_infinity=False,
) -> Tensor:
    """Tensors with these properties, each a value or a strategy; shape: by default `shapes()`.

    Elements are finite and from [low, high]. `ties`: from a few values only, so that equal ones are
    common. `avoid`: values from which elements keep a distance of 1e-3, such as kinks. `include`:
    values that are drawn often, and their nearest neighbours. `requires_grad` is for floating
    dtypes; others ignore it.
    """
    dtype = _drawn(draw, dtype)
    shape = tuple(_drawn(draw, shapes() if shape is None else shape))
    layout = _drawn(draw, layout)
    requires_grad = _drawn(draw, requires_grad)
    elements = _elements(dtype, low, high, ties, avoid, include, allow_nan, allow_infinity)
    array = _arranged(layout, shape, lambda size: _values(draw, dtype, size, elements))
    tensor = wrap(array)
    tensor.requires_grad = requires_grad and dtype.category >= _dtypes.FLOATING
    return tensor


def _drawn(draw, value):
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _available(dtype) -> bool:
    try:
        return dtype.numpy is not None
    except TypeError:  # bfloat16 without ml_dtypes
        return False


def _values(draw, dtype, shape: tuple, elements):
    """An array of drawn values; the types that hypothesis does not know are made of wider ones."""
    known = dtype.numpy if dtype.name != "bfloat16" else np.dtype(np.float32)
    return draw(arrays.arrays(known, shape, elements=elements)).astype(dtype.numpy)


def _elements(dtype, low, high, ties, avoid, include, allow_nan, allow_infinity):
    """A strategy for single elements."""
    if dtype.category == _dtypes.BOOL:
        return st.booleans()
    if dtype.category == _dtypes.INTEGER:
        limits = _dtypes.iinfo(dtype)
        low, high = max(math.ceil(low), limits.min), min(math.floor(high), limits.max)
        return st.integers(max(low, -2), min(high, 2)) if ties else st.integers(low, high)
    width = {2: 16, 4: 32, 8: 64}[dtype.itemsize // (2 if dtype.is_complex else 1)]
    width = 32 if dtype.name == "bfloat16" else width
    if ties:
        some = st.sampled_from([v for v in (0.0, 1.0, -1.0, 2.0, -2.0) if low <= v <= high])
    else:
        kind = np.dtype(f"f{width // 8}").type
        some = st.floats(float(kind(low)), float(kind(high)), width=width, allow_subnormal=False)
    some = some.filter(lambda value: all(abs(value - point) > MARGIN for point in avoid))
    special = [v for point in include for v in _neighbours(point, width)]
    special += [math.nan] * allow_nan + [math.inf, -math.inf] * allow_infinity
    if special:
        some |= st.sampled_from(special)
    return st.builds(complex, some, some) if dtype.is_complex else some


def _neighbours(point: float, width: int) -> list[float]:
    kind = np.dtype(f"f{width // 8}").type
    ends = (kind(-np.inf), kind(np.inf))
    return [float(kind(point)), *[float(np.nextafter(kind(point), end)) for end in ends]]


def _arranged(layout: str, shape: tuple, values) -> np.ndarray:
    """An array of this shape and layout; `values(shape)` draws those that are independent."""
    if layout == "contiguous":
        return values(shape)
    if layout == "transposed":
        return np.ascontiguousarray(values(shape).T).T
    if layout == "offset":
        array = values(shape)
        memory = np.concatenate([array.reshape(-1)[:1], array.reshape(-1)])
        return memory[min(1, array.size) :].reshape(shape)
    if layout == "gaps":
        array = values(shape)
        between = np.nan if array.dtype.kind in "fcV" else 99
        memory = np.full([2 * n + 1 for n in shape], between, array.dtype)
        every_second: Any = (..., *[slice(1, None, 2)] * len(shape))
        view = memory[every_second]
        view[...] = array
        return view
    if layout == "expanded":
        dim = next((i for i, n in enumerate(shape) if n > 1), None)
        if dim is None:
            return values(shape)
        return _strided(values((*shape[:dim], 1, *shape[dim + 1 :])), shape, dim)
    if layout == "overlapping":
        if 0 in shape or not shape:
            return values(shape)
        memory = values((1 + sum(n - 1 for n in shape),))
        return np.lib.stride_tricks.as_strided(memory, shape, [memory.itemsize] * len(shape))
    raise ValueError(f"layout must be one of {LAYOUTS}, not {layout!r}")


def _strided(array, shape: tuple, dim: int):
    """`array`, of extent 1 in `dim`, repeated there without copying."""
    steps = [0 if i == dim else step for i, step in enumerate(array.strides)]
    return np.lib.stride_tricks.as_strided(array, shape, steps)


def _print(tensor: Tensor, printer, cycle: bool) -> None:
    """Exactly, as an expression: what a failing example prints is to be copied."""
    printer.text(written_out(tensor) or repr(tensor))


pretty.for_type_by_name(Tensor.__module__, Tensor.__name__, _print)
