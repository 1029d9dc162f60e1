"""gather, which takes elements along one dimension, and scatter, which puts them there.

All of these are one thing in flat memory: `_numbers` says which elements an index means, NumPy's
take fetches them, and put, or ufunc.at where one may be named twice, changes them. What
is made of these two is in functional/indexing.py.
PyTorch: aten/src/ATen/native/TensorAdvancedIndexing.cpp.
"""

from __future__ import annotations

import numpy as np

from ..dispatch.declare import composite, op
from ..dispatch.dims import axis
from ..dispatch.errors import require
from ..dispatch.gathering import at, extreme
from ..dispatch.op import plain, zeros
from .index import index_put, unindex


def _numbers(name: str, index, dim: int, shape):
    """For dim 1: the numbers, in flat memory, of the elements (i, index[i, j, k], k).

    Raises RuntimeError unless `index` suits: unlike in x[index], nothing is counted from the end.
    """
    ndim, dim = len(shape), axis(dim, len(shape))
    wide = index.dtype.kind == "i" and index.itemsize > 2
    require(wide or not index.size, "{}(): Expected dtype int32/int64 for index", name)
    index = index.astype(np.int64, copy=False)
    if not index.size:
        return index
    if (index.ndim or 1) != (ndim or 1):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as input tensor: "
            f"{index.ndim} and {ndim}"
        )
    extent = shape[dim] if ndim else 1
    # As unsigned numbers the negative ones are too large as well.
    if extreme(np.maximum, index.view(np.uint64), None) >= extent:
        wrong = index[(index < 0) | (index >= extent)].reshape(-1)[0]
        raise RuntimeError(
            f"{name}(): index {wrong} is out of bounds for dimension {dim} with size {extent}"
        )
    if index.ndim < 2:
        return index
    numbers, step = None, 1
    for d in reversed(range(ndim)):
        if d == dim:
            places = index if step == 1 else index * step
        else:
            if index.shape[d] > shape[d]:
                raise RuntimeError(
                    f"{name}(): Size does not match at dimension {d}: expected index {index.shape} "
                    f"to be no larger than {shape} apart from dimension {dim}"
                )
            places = np.arange(0, index.shape[d] * step, step, like=index).reshape(
                -1, *(1,) * (ndim - 1 - d)
            )
        numbers = places if numbers is None else numbers + places
        step *= shape[d]
    return numbers


def _corner(shape) -> tuple[slice, ...]:
    """The index of the first elements in every dimension, as many as `shape` says."""
    return tuple([slice(n) for n in shape])


def _widened(value, shape):
    """Zeros of `shape`, with `value` in the first places."""
    if value.shape == tuple(shape):
        return value
    return index_put(zeros(shape, value), _corner(value.shape), value)


def _part(name: str, input, index, src):
    """The elements of `src` that `index` has places for; a number stands for all of them."""
    if not np.ndim(src):
        like = None if isinstance(input, np.generic) else input
        return np.asarray(src, like=like).astype(input.dtype)
    require(src.dtype == input.dtype, "{}(): Expected self.dtype to be equal to src.dtype", name)
    if src.shape == index.shape:
        return src
    fits = src.ndim == index.ndim and all(n <= m for n, m in zip(index.shape, src.shape))  # noqa: B905
    require(
        fits or not index.size,
        "{}(): Expected index {} to have as many dimensions as src {} and be no larger",
        *(name, list(index.shape), list(src.shape)),
    )
    return src[_corner(index.shape)]


@op
def gather(input, dim, index, *, sparse_grad=False):
    """out[i][j] = input[index[i][j]][j] for dim 0; out has the shape of `index`.

    Mirrors torch.gather.
    """
    return input.take(_numbers("gather", index, dim, input.shape))


@op(function=False, method=False, alone=True)
def _gathered_back(grad, dim, index, shape):
    """Zeros of `shape`, with `grad` added where `gather` took it from."""
    out = np.zeros_like(grad, shape=shape, order="C")
    numbers = _numbers("gather", index, dim, shape).reshape(-1)
    at(np.add, out.reshape(-1), numbers, grad.reshape(-1))
    return out


gather.derivatives(
    input=lambda grad, input_shape, dim, index: _gathered_back(grad, dim, plain(index), input_shape)
)
_gathered_back.derivatives(grad=lambda grad, dim, index: gather(grad, dim, index))


@op(function=False, method=False, node="Scatter")
def _scatter(input, dim, index, src):
    out = np.copy(input, order="C")
    np.put(out, _numbers("scatter", index, dim, input.shape), _part("scatter", input, index, src))
    return out


def _scatter_by_src(grad, dim, index, src_shape):
    if not src_shape:  # a number, at all of these places
        return np.sum(grad - _scatter(grad, dim, index, 0))
    return _widened(gather(grad, dim, index), src_shape)


_scatter.derivatives(
    input=lambda grad, dim, index: _scatter(grad, dim, index, 0), src=_scatter_by_src
)


@composite(inplace=True, out=True)
def scatter(input, dim, index, src=None, *, value=None, reduce=None):
    """`input` with src[i][j] at [index[i][j]][j], for dim 0; `src` may be a number, called value.

    `reduce`: "add" or "multiply" to what is there. Mirrors torch.scatter.
    """
    src = value if src is None else src
    if reduce is None:
        return _scatter(input, dim, index, src)
    reduce = {"add": "sum", "multiply": "prod"}.get(reduce)
    require(reduce, "reduce argument must be either add or multiply.")
    return scatter_reduce(input, dim, index, src, reduce)


@op(inplace=True)
def scatter_add(input, dim, index, src):
    """`input` with src[i][j] added at [index[i][j]][j], for dim 0. Mirrors torch.scatter_add."""
    return _reduced("scatter_add", input, dim, index, src, "sum", True)


scatter_add.derivatives(input=lambda grad: grad, src=_scatter_by_src)

_UFUNCS: dict[str, np.ufunc] = {"sum": np.add, "mean": np.add, "prod": np.multiply}
_UFUNCS |= {"amax": np.maximum, "amin": np.minimum}


def _reduced(name, input, dim, index, src, reduce, include_self):
    require(reduce in _UFUNCS, "reduce argument must be one of {}, got {}", [*_UFUNCS], reduce)
    out = np.copy(input, order="C")
    flat, numbers = out.reshape(-1), _numbers(name, index, dim, input.shape)
    src = _part(name, input, index, src)
    if not include_self:  # begin with what leaves the result to the others
        flat[numbers] = {"sum": 0, "mean": 0, "prod": 1}.get(reduce, src)
    if np.ndim(src):
        numbers, src = numbers.reshape(-1), src.reshape(-1)  # ufunc.at is quick for vectors alone
    at(_UFUNCS[reduce], flat, numbers, src)
    if reduce == "mean":
        counts = np.full_like(input, int(include_self), int, "C")
        at(np.add, counts.reshape(-1), numbers, 1)
        divide = np.floor_divide if input.dtype.kind in "iu" else np.true_divide
        out = divide(out, np.maximum(counts, 1).astype(out.dtype))
    return out


@op(inplace=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """At each place the sum, prod, mean, amax or amin of all of `src` that `index` sends there.

    `include_self`: and of what `input` has there. Mirrors torch.scatter_reduce.
    """
    return _reduced("scatter_reduce", input, dim, index, src, reduce, include_self)


@scatter_reduce.joint_derivative("input", "src")
def _scatter_reduce_backward(grad, wanted, input, dim, index, src, reduce, include_self, out):
    shape = getattr(src, "shape", ())
    src = src[_corner(index.shape)] if shape else src

    def there(value):
        return gather(value, dim, index)

    def own(value):  # 0 where the input's elements do not count
        return value if include_self else _scatter(value, dim, index, 0)

    if reduce == "prod":  # the gradient of each is the product of the others
        zero = src == 0
        none = np.zeros_like(plain(input), int)
        count = scatter_add(none, dim, index, zero + 0)
        only = np.logical_and(zero, there(count) == 1)  # dividing by it will not do
        rest = np.where(only, 1, src)
        others = scatter_reduce(input, dim, index, rest, "prod", include_self=include_self)
        to_src = np.where(only, there(grad * others), there(grad * out) / np.where(zero, 1, src))
        to_input = own(grad * scatter_reduce(np.ones_like(input), dim, index, src, "prod"))
    else:
        mine, theirs = (np.ones_like(plain(a), int) for a in (input, index))
        if reduce in ("amax", "amin"):  # shared by all that are the extreme
            mine, theirs = (input == out) + 0, (src == there(out)) + 0
        if reduce != "sum":
            grad = grad / scatter_add(own(mine), dim, index, theirs)
        to_input, to_src = own(grad * mine), there(grad) * theirs
    return [to_input, _widened(to_src, shape)]


# Whole slices


@op
def index_select(input, dim, index):
    """The slices of `input` along `dim` that `index`, a vector, names. Mirrors torch.index_select.

    Raises IndexError for one that is not there.
    """
    require(index.ndim < 2, "index_select(): Index is supposed to be a vector", error=IndexError)
    wide = index.dtype.kind == "i" and index.itemsize > 2
    require(wide, "index_select(): Expected dtype int32 or int64 for index")
    dim, index = axis(dim, input.ndim), np.atleast_1d(index)
    extent = input.shape[dim] if input.ndim else 1
    require(
        not index.size or 0 <= index.min() <= index.max() < extent,
        "index out of range in self: dimension {} has size {}",
        *(dim, extent),
        error=IndexError,
    )
    return np.take(input, index, axis=dim) if input.ndim else np.copy(input)


def _index_select_by_input(grad, input_shape, dim, index):
    shape = tuple(input_shape) or (1,)
    place = (slice(None),) * axis(dim, len(shape)) + (plain(index).reshape(-1),)
    return unindex(grad, place, shape).reshape(input_shape)


index_select.derivatives(input=_index_select_by_input)
